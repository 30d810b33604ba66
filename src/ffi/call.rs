//! A call of a method: its arguments, its object and its return value.
//!
//! The engine does not check the arguments of internal methods. [`run`] does, by the declared types
//! ([`arguments`](super::arguments)), before the body runs. Surplus arguments are ignored, as
//! methods written in PHP do.

use std::panic::AssertUnwindSafe;

use ext_php_rs::class::RegisteredClass;
use ext_php_rs::ffi;
use ext_php_rs::types::{ZendHashTable, ZendObject, Zval};
use ext_php_rs::zend::{ExecuteData, run_handler};

use super::throw::Thrown;
use super::{arguments, bailout, invoke, object};

/// The body of a method: it sets the return value (otherwise null) or throws.
pub(crate) type Body = fn(&mut Call<'_>) -> Result<(), Thrown>;

/// The function that PHP calls. Windows has another calling convention and is not supported.
pub(crate) type Handler = extern "C" fn(&mut ExecuteData, &mut Zval);

/// Creates the C function that runs a [`Body`].
macro_rules! handler {
    ($body:path) => {{
        extern "C" fn handler(
            execute_data: &mut ext_php_rs::zend::ExecuteData,
            return_value: &mut ext_php_rs::types::Zval,
        ) {
            $crate::ffi::call::run(execute_data, return_value, $body);
        }
        handler as $crate::ffi::call::Handler
    }};
}
pub(crate) use handler;

/// A call in progress.
pub(crate) struct Call<'a> {
    arguments: &'a [Zval],
    /// The arguments with names that no parameter has, for a variadic parameter.
    named: Option<&'a ZendHashTable>,
    object: Option<&'a mut ZendObject>,
    return_value: &'a mut Zval,
}

/// Runs `body` for a call from PHP. No panic leaves it, and PHP's bailouts pass through.
pub(crate) fn run(execute_data: &mut ExecuteData, return_value: &mut Zval, body: Body) {
    run_handler(AssertUnwindSafe(|| {
        // SAFETY: the engine sets the number of arguments for every call. They lie side by side in
        // the frame, which outlives the call. `func` is the function being called.
        let (arguments, required) = unsafe {
            let count = execute_data.This.u2.num_args as usize;
            let arguments = match execute_data.zend_call_arg(0) {
                Some(first) if count > 0 => {
                    std::slice::from_raw_parts(std::ptr::from_mut(first).cast_const(), count)
                }
                _ => &[],
            };
            (
                arguments,
                (*execute_data.func).common.required_num_args as usize,
            )
        };
        if arguments.len() < required {
            // SAFETY: the function throws an ArgumentCountError that names the called function.
            unsafe { ffi::zend_wrong_parameters_count_error(to_u32(required), u32::MAX) };
            return;
        }
        // SAFETY: the frame is that of the call in progress.
        if !unsafe { arguments::check(execute_data) } {
            return;
        }
        let mut call = Call {
            arguments,
            // SAFETY: as above; the table outlives the call.
            named: unsafe { arguments::named(execute_data).as_ref() },
            object: execute_data.This.object_mut(),
            return_value,
        };
        if let Err(thrown) = body(&mut call) {
            thrown.throw();
        }
        bailout::resume();
    }));
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl<'a> Call<'a> {
    /// Returns an argument, or `None` if it was not passed.
    pub(crate) fn argument(&self, index: usize) -> Option<&'a Zval> {
        self.arguments.get(index).map(Zval::dereference)
    }

    /// Returns how many arguments were passed.
    pub(crate) fn count(&self) -> usize {
        self.arguments.len()
    }

    /// Returns the arguments of a variadic parameter that were passed without a name.
    pub(crate) fn rest(&self, index: usize) -> &'a [Zval] {
        self.arguments.get(index..).unwrap_or_default()
    }

    /// Returns the arguments of a variadic parameter that were passed by name.
    pub(crate) fn named(&self) -> Option<&'a ZendHashTable> {
        self.named
    }

    /// Throws a `ValueError` that names an argument, as the engine does: "Argument #1 ($task) …".
    #[expect(
        clippy::unused_self,
        reason = "only during a call is there an argument to name"
    )]
    pub(crate) fn refuse(&self, index: usize, why: &str) -> Thrown {
        arguments::refuse(index, why)
    }

    /// Returns the object of the call.
    pub(crate) fn object(&mut self) -> Result<&mut ZendObject, Thrown> {
        self.object
            .as_deref_mut()
            .ok_or_else(|| Thrown::celery("This method was called without an object."))
    }

    /// Returns the Rust state of the object. Hold it only while no PHP code can run.
    pub(crate) fn state<T: RegisteredClass>(&mut self) -> Result<&mut T, Thrown> {
        object::state_of(self.object()?)
    }

    /// Returns `true` if a subclass written in PHP has overridden a method.
    pub(crate) fn overrides(&mut self, method: &str) -> Result<bool, Thrown> {
        let lower = method.to_ascii_lowercase();
        let object = self.object()?;
        // SAFETY: a live object has a class, whose function table maps lower-case names to functions.
        Ok(unsafe {
            let functions = &raw const (*object.ce).function_table;
            ffi::zend_hash_str_find(functions, lower.as_ptr().cast(), lower.len())
                .as_ref()
                .and_then(|slot| slot.value.func.as_ref())
                .is_some_and(|function| u32::from(function.type_) != ffi::ZEND_INTERNAL_FUNCTION)
        })
    }

    /// Calls a method without arguments if a subclass has overridden it.
    pub(crate) fn invoke_override(&mut self, method: &str) -> Result<Option<Zval>, Thrown> {
        self.invoke(method, Vec::new())
    }

    /// Calls a method with the arguments of this call if a subclass has overridden it.
    pub(crate) fn invoke_override_with_arguments(
        &mut self,
        method: &str,
    ) -> Result<Option<Zval>, Thrown> {
        let arguments: Vec<Zval> = self.arguments.iter().map(Zval::shallow_clone).collect();
        self.invoke(method, arguments)
    }

    /// Calls a method with the given arguments if a subclass has overridden it.
    pub(crate) fn invoke(
        &mut self,
        method: &str,
        arguments: Vec<Zval>,
    ) -> Result<Option<Zval>, Thrown> {
        if !self.overrides(method)? {
            return Ok(None);
        }
        invoke::method(self.object()?, method, &arguments).map(Some)
    }

    /// Sets the return value.
    pub(crate) fn give(&mut self, value: Zval) {
        *self.return_value = value;
    }

    /// Returns an integer to PHP.
    pub(crate) fn give_long(&mut self, value: i64) {
        self.return_value.set_long(value);
    }

    /// Returns a boolean to PHP.
    pub(crate) fn give_bool(&mut self, value: bool) {
        self.return_value.set_bool(value);
    }

    /// Returns a string to PHP.
    pub(crate) fn give_string(&mut self, value: &str) {
        self.return_value
            .set_zend_string(ext_php_rs::types::ZendStr::new(value, false));
    }
}
