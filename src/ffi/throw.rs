//! Throwing PHP exceptions.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::ptr;

use ext_php_rs::boxed::ZBox;
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

/// The class of an exception: one of the extension, or one of PHP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Celery,
    Timeout,
    Publish,
    Connection,
    ArgumentCount,
    /// PHP's `Error`, for what a correct program never does.
    Error,
    /// PHP's `ValueError`. Of an argument, [`Call::refuse`](super::call::Call::refuse) throws it.
    Value,
    /// PHP's `TypeError`.
    Type,
    /// PHP's `LogicException`.
    Logic,
    /// PHP's `OutOfBoundsException`.
    OutOfBounds,
    /// An exception of the API for new code, by its whole name.
    Named(&'static str),
}

impl Kind {
    fn class_name(self) -> &'static str {
        match self {
            Kind::Celery => "CeleryException",
            Kind::Timeout => "CeleryTimeoutException",
            Kind::Publish => "CeleryPublishException",
            Kind::Connection => "CeleryConnectionException",
            Kind::ArgumentCount => "ArgumentCountError",
            Kind::Error => "Error",
            Kind::Value => "ValueError",
            Kind::Type => "TypeError",
            Kind::Logic => "LogicException",
            Kind::OutOfBounds => "OutOfBoundsException",
            Kind::Named(name) => name,
        }
    }

    /// Returns the class that declares the message and the code.
    fn root(self) -> &'static ClassEntry {
        match self {
            Kind::ArgumentCount | Kind::Error | Kind::Value | Kind::Type => ce::error(),
            _ => ce::exception(),
        }
    }
}

/// The reason why a method ends without a value.
#[derive(Debug)]
pub(crate) enum Thrown {
    /// PHP code has thrown or bailed out. The pending exception or bailout continues after the
    /// method has ended.
    Pending,
    /// An exception of the extension that was not thrown yet.
    Ours(Box<Exception>),
}

/// An exception that is not thrown yet.
#[derive(Debug)]
pub(crate) struct Exception {
    kind: Kind,
    /// The beginning of the message, before the place: the action that failed.
    lead: &'static str,
    /// The place of the cause in the caller's data; empty if only one is possible.
    place: String,
    message: String,
    code: i64,
    previous: Option<Zval>,
    properties: Vec<(&'static str, Zval)>,
}

impl From<Bailout> for Thrown {
    fn from(_: Bailout) -> Self {
        Thrown::Pending
    }
}

impl Thrown {
    /// Creates an exception of the given kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Thrown::Ours(Box::new(Exception {
            kind,
            lead: "",
            place: String::new(),
            message: message.into(),
            code: 0,
            previous: None,
            properties: Vec::new(),
        }))
    }

    /// Makes the exception one of another kind.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.kind = kind;
        }
        self
    }

    /// Creates a `CeleryException`.
    pub(crate) fn celery(message: impl Into<String>) -> Self {
        Thrown::new(Kind::Celery, message)
    }

    /// Begins the message with the action that failed.
    pub(crate) fn leading(mut self, lead: &'static str) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.lead = lead;
        }
        self
    }

    /// Inserts the place of the cause in the caller's data between the lead and the message.
    pub(crate) fn at(mut self, place: &str) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.place = format!("{place}: ");
        }
        self
    }

    /// Sets the exception that was the cause.
    pub(crate) fn caused_by(mut self, previous: Zval) -> Self {
        if let Thrown::Ours(exception) = &mut self {
            exception.previous = Some(previous);
        }
        self
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

    /// Sets a property like [`with_property`](Self::with_property), if the exception is of this kind.
    pub(crate) fn with_property_of(self, kind: Kind, name: &'static str, value: Zval) -> Self {
        match &self {
            Thrown::Ours(exception) if exception.kind == kind => self.with_property(name, value),
            _ => self,
        }
    }

    /// Returns the exception as a PHP value, without throwing it.
    pub(crate) fn into_value(self) -> Result<Zval, Thrown> {
        let Thrown::Ours(exception) = self else {
            return Err(Thrown::Pending);
        };
        let made = bailout::catch(|| exception.make())?;
        let mut value = Zval::null();
        if let Some(mut object) = made {
            value.set_object(&mut object);
        }
        Ok(value)
    }

    /// Throws, unless an exception or a fatal error is pending.
    pub(crate) fn throw(self) {
        let Thrown::Ours(exception) = self else {
            return;
        };
        if is_pending() {
            return;
        }
        // If it bails out, the bailout continues after the call has ended.
        let _ = bailout::catch(|| exception.throw());
    }
}

impl Exception {
    fn throw(self) {
        let Some(mut object) = self.make() else {
            return;
        };
        let mut thrown = ManuallyDrop::new(Zval::new());
        thrown.set_object(&mut object);
        // SAFETY: the engine takes over the reference that `thrown` holds.
        unsafe { ffi::zend_throw_exception_object(ptr::from_mut::<Zval>(&mut thrown)) };
    }

    /// Creates the object.
    fn make(self) -> Option<ZBox<ZendObject>> {
        // The class is looked up each time, because a module may be stopped and started again,
        // which frees its classes.
        let class = ClassEntry::try_find(self.kind.class_name())?;
        let mut object = class.new();
        let message = format!("{}{}{}", self.lead, self.place, self.message);
        let mut value = Zval::new();
        value.set_zend_string(ZendStr::new(message.as_bytes(), false));
        set_property(self.kind.root(), &mut object, "message", value);
        if self.code != 0 {
            let mut value = Zval::new();
            value.set_long(self.code);
            set_property(self.kind.root(), &mut object, "code", value);
        }
        for (name, value) in self.properties {
            set_property(declaring(class, name), &mut object, name, value);
        }
        if let Some(previous) = self.previous {
            set_property(self.kind.root(), &mut object, "previous", previous);
        }
        Some(object)
    }
}

/// Throws an exception that exists already.
pub(crate) fn object(exception: Zval) -> Thrown {
    if !is_pending() && exception.is_object() {
        let mut exception = ManuallyDrop::new(exception);
        // SAFETY: the value is an object, and the engine takes over its reference.
        let throw =
            || unsafe { ffi::zend_throw_exception_object(ptr::from_mut::<Zval>(&mut exception)) };
        // If it bails out, the bailout continues after the call has ended.
        let _ = bailout::catch(throw);
    }
    Thrown::Pending
}

/// Returns `true` if PHP code has thrown or bailed out, or if a fatal error is deferred. Then no
/// further PHP code may run.
pub(crate) fn is_pending() -> bool {
    bailout::is_pending() || ExecutorGlobals::has_exception()
}

/// Returns the class that declares a property, among `class` and its parents.
fn declaring<'a>(class: &'a ClassEntry, name: &str) -> &'a ClassEntry {
    // SAFETY: the table of a linked class maps names to property infos, which live as long as the
    // class.
    unsafe {
        ffi::zend_hash_str_find(
            &raw const class.properties_info,
            name.as_ptr().cast(),
            name.len(),
        )
        .as_ref()
        .and_then(|slot| slot.value.ptr.cast::<ffi::zend_property_info>().as_ref())
        .and_then(|info| info.ce.as_ref())
        .unwrap_or(class)
    }
}

/// Sets a property from within the scope of `class`.
fn set_property(class: &ClassEntry, object: &mut ZendObject, name: &str, mut value: Zval) {
    // SAFETY: class, object and value are live. The engine copies name and value.
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

/// Writes a property of an exception, from within the scope of its class.
pub(crate) fn write_property(class_name: &str, object: &mut ZendObject, name: &str, value: Zval) {
    if let Some(class) = ClassEntry::try_find(class_name) {
        set_property(class, object, name, value);
    }
}

/// Reads a property of an exception of the extension, from within the scope of its class.
pub(crate) fn read_property(class_name: &str, object: &mut ZendObject, name: &str) -> Zval {
    let Some(class) = ClassEntry::try_find(class_name) else {
        return Zval::null();
    };
    let mut slot = Zval::new();
    // SAFETY: class and object are live. The result is either the object's own value or `slot`; it
    // is copied before either is dropped.
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

/// Raises an `E_WARNING` without calling PHP code, for a request that has ended together with its
/// error handler.
pub(crate) fn late_warning(message: &str) {
    // SAFETY: the executor's globals live as long as the thread. While the handler's type is 0
    // (`IS_UNDEF`), the engine takes it as absent, and nothing else looks at it.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        let kind = &raw mut (*globals).user_error_handler.u1.type_info;
        let set = kind.replace(0);
        warning(message);
        kind.write(set);
    }
}

/// Raises an `E_WARNING`, which PHP code may handle, unless an exception or a fatal error is
/// pending.
pub(crate) fn warning(message: &str) {
    if is_pending() {
        return;
    }
    let Ok(text) = std::ffi::CString::new(message.replace('\0', "\\0")) else {
        return;
    };
    let warning = i32::try_from(ffi::E_WARNING).unwrap_or(2);
    // SAFETY: the format takes a C string, which outlives the call.
    let raise = || unsafe {
        ffi::php_error_docref(ptr::null(), warning, c"%s".as_ptr(), text.as_ptr());
    };
    // If it bails out, the bailout continues after the call has ended.
    let _ = bailout::catch(raise);
}
