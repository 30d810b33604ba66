//! Throwing PHP exceptions.

use std::ffi::c_char;
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::types::{ZendObject, ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ExecutorGlobals, ce};

use super::bailout::{self, Bailout};

unsafe extern "C" {
    fn zend_update_property(
        scope: *mut ClassEntry,
        object: *mut ZendObject,
        name: *const c_char,
        len: usize,
        value: *mut Zval,
    );
}

/// Our exception classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Celery,
    Timeout,
    Publish,
    Connection,
}

impl Kind {
    fn class_name(self) -> &'static str {
        match self {
            Kind::Celery => "CeleryException",
            Kind::Timeout => "CeleryTimeoutException",
            Kind::Publish => "CeleryPublishException",
            Kind::Connection => "CeleryConnectionException",
        }
    }
}

/// Why a method ends without a value.
#[derive(Debug)]
pub(crate) enum Thrown {
    /// PHP code that we called has thrown, or has bailed out: what is pending goes on when the method has ended.
    Pending,
    /// One of ours, still to be thrown.
    Ours(Box<Exception>),
}

/// An exception to be thrown.
#[derive(Debug)]
pub(crate) struct Exception {
    kind: Kind,
    message: String,
    code: i64,
    properties: Vec<(&'static str, Zval)>,
}

impl From<Bailout> for Thrown {
    fn from(_: Bailout) -> Self {
        Thrown::Pending
    }
}

impl Thrown {
    /// An exception of one of our classes.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Thrown::Ours(Box::new(Exception {
            kind,
            message: message.into(),
            code: 0,
            properties: Vec::new(),
        }))
    }

    /// A `CeleryException`.
    pub(crate) fn celery(message: impl Into<String>) -> Self {
        Thrown::new(Kind::Celery, message)
    }

    /// Sets the exception's code.
    pub(crate) fn with_code(mut self, code: i64) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.code = code;
        }
        self
    }

    /// Sets a property that the exception's class declares.
    pub(crate) fn with_property(mut self, name: &'static str, value: Zval) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.properties.push((name, value));
        }
        self
    }

    /// Throws, unless an exception is pending.
    pub(crate) fn throw(self) {
        let Thrown::Ours(exception) = self else {
            return;
        };
        if is_pending() {
            return;
        }
        // Looked up each time: a module may be stopped and started again, which frees its classes.
        let name = exception.kind.class_name();
        let Some(class) = ClassEntry::try_find(name) else {
            return;
        };
        let mut object = class.new();
        let message = ZendStr::new(exception.message.as_bytes(), false);
        let mut value = Zval::new();
        value.set_zend_string(message);
        set_property(ce::exception(), &mut object, "message", value);
        if exception.code != 0 {
            let mut value = Zval::new();
            value.set_long(exception.code);
            set_property(ce::exception(), &mut object, "code", value);
        }
        for (name, value) in exception.properties {
            set_property(class, &mut object, name, value);
        }
        let mut thrown = std::mem::ManuallyDrop::new(Zval::new());
        thrown.set_object(&mut object);
        // SAFETY: the engine takes over the reference that `thrown` holds.
        unsafe { ffi::zend_throw_exception_object(ptr::from_mut::<Zval>(&mut thrown)) };
    }
}

/// Whether PHP code has thrown or bailed out.
pub(crate) fn is_pending() -> bool {
    bailout::is_caught() || ExecutorGlobals::has_exception()
}

/// Sets a property from within the scope of `class`.
fn set_property(class: &ClassEntry, object: &mut ZendObject, name: &str, mut value: Zval) {
    // SAFETY: class, object and value are live; the engine copies name and value.
    unsafe {
        zend_update_property(
            ptr::from_ref(class).cast_mut(),
            object,
            name.as_ptr().cast(),
            name.len(),
            &raw mut value,
        );
    }
}

/// Reads a property of an exception of ours, from within its own scope.
pub(crate) fn read_property(class_name: &str, object: &mut ZendObject, name: &str) -> Zval {
    let Some(class) = ClassEntry::try_find(class_name) else {
        return Zval::null();
    };
    let mut slot = Zval::new();
    // SAFETY: class and object are live; the result is either the object's own value or `slot`, copied before either
    // goes.
    unsafe {
        ffi::zend_read_property(
            ptr::from_ref(class).cast_mut(),
            object,
            name.as_ptr().cast(),
            name.len(),
            true,
            &raw mut slot,
        )
        .as_ref()
        .map_or_else(Zval::null, Zval::shallow_clone)
    }
}

/// Raises an `E_WARNING` that PHP code does not hear of: the error handler of a request that has ended is gone.
pub(crate) fn late_warning(message: &str) {
    // SAFETY: the executor's globals live as long as the thread. While the handler's type is nought (`IS_UNDEF`), the
    // engine takes it for none, and nothing else looks at it.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        let kind = &raw mut (*globals).user_error_handler.u1.type_info;
        let set = kind.replace(0);
        warning(message);
        kind.write(set);
    }
}

/// Raises an `E_WARNING`.
pub(crate) fn warning(message: &str) {
    let Ok(text) = std::ffi::CString::new(message.replace('\0', "\\0")) else {
        return;
    };
    let warning = i32::try_from(ffi::E_WARNING).unwrap_or(2);
    // SAFETY: the format takes one C string, which outlives the call.
    unsafe { ffi::php_error_docref(ptr::null(), warning, c"%s".as_ptr(), text.as_ptr()) };
}
