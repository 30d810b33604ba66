//! PHP's bailout: a `longjmp` on a fatal error, the memory limit or a time limit, which skips
//! Rust's destructors.
//!
//! [`catch`] runs everything that may bail out: PHP code and large allocations. After a bailout,
//! Rust returns normally and closes and frees what it holds. At the end of the call from PHP,
//! [`resume`] continues the jump.
//!
//! Some builds of PHP defer the fatal error of the memory limit. The allocation succeeds, and the
//! engine raises the error at its next safe point. Until then memory may grow to twice the limit.
//! Beyond that the process ends at once, with code 137 and without shutdown functions. [`catch`]
//! reports a deferred error like a bailout, so loops that allocate PHP memory run each step in it.
//! [`resume`] is a safe point: it raises the error at the end of the call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, resume_unwind};

use ext_php_rs::zend::{CatchError, try_catch};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// The error after a caught bailout or a deferred fatal error: the caller must return without
/// running PHP code or allocating PHP memory.
#[derive(Debug)]
pub(crate) struct Bailout;

/// Runs code that may bail out.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Bailout> {
    match try_catch(AssertUnwindSafe(call)) {
        Ok(_) if put_off::is_pending() => Err(Bailout),
        Ok(value) => Ok(value),
        Err(CatchError::Panic(message)) => resume_unwind(Box::new(message)),
        Err(_) => {
            CAUGHT.set(true);
            Err(Bailout)
        }
    }
}

/// Returns `true` if a caught bailout must still continue, or a fatal error is deferred.
pub(crate) fn is_pending() -> bool {
    CAUGHT.get() || put_off::is_pending()
}

/// Continues a caught bailout, or raises a deferred error. Call it when no value is left to be
/// dropped.
pub(crate) fn resume() {
    if CAUGHT.replace(false) {
        // SAFETY: the caller holds nothing any more, and is itself inside PHP's own catch.
        unsafe { ext_php_rs::zend::bailout() };
    }
    put_off::raise();
}

/// Looks up the function that only some patch levels of PHP have. Call it when the module starts:
/// later, memory may be short.
pub(crate) fn prepare() {
    put_off::prepare();
}

/// Support for a PHP that defers the fatal error of the memory limit. The build script detects it
/// in PHP's headers.
///
/// Distributions add it within a minor version, so the extension may be loaded into a PHP that
/// lacks it. Naming PHP's function in an `extern` block would keep the extension from loading
/// there. It is looked up instead.
#[cfg(php_delayed_oom)]
mod put_off {
    use std::ffi::{c_char, c_void};
    use std::ptr;
    use std::sync::OnceLock;

    use ext_php_rs::ffi;

    /// `void zend_handle_delayed_oom(void)`. `ZEND_FASTCALL` changes nothing without arguments.
    type Handler = unsafe extern "C" fn();

    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    /// `RTLD_DEFAULT`: every object that the process has loaded.
    #[cfg(target_os = "linux")]
    const EVERYWHERE: *mut c_void = ptr::null_mut();
    #[cfg(not(target_os = "linux"))]
    const EVERYWHERE: *mut c_void = ptr::without_provenance_mut(usize::MAX - 1);

    pub(super) fn prepare() {
        let _ = handler();
    }

    /// Returns PHP's function that raises the error, if this PHP has it.
    fn handler() -> Option<Handler> {
        static HANDLER: OnceLock<Option<Handler>> = OnceLock::new();
        *HANDLER.get_or_init(|| {
            // SAFETY: the name ends with a zero byte.
            let found = unsafe { dlsym(EVERYWHERE, c"zend_handle_delayed_oom".as_ptr()) };
            // SAFETY: a function of this name has this type in every PHP that has it.
            (!found.is_null())
                .then(|| unsafe { std::mem::transmute::<*mut c_void, Handler>(found) })
        })
    }

    /// Returns `ZEND_HAS_OOM()`.
    pub(super) fn is_pending() -> bool {
        // The state is the last field of the executor's globals. A PHP without the function has
        // shorter globals, without this field.
        handler().is_some()
            // SAFETY: this PHP has the field. The executor's globals live as long as the thread,
            // which alone sets the state.
            && unsafe {
                let globals = ffi::ext_php_rs_executor_globals();
                (&raw const (*globals).delayed_oom.state).read()
                    != ffi::_zend_oom_state_ZEND_OOM_STATE_NONE
            }
    }

    /// Raises the error. PHP then unwinds as after `exit`, or bails out if no PHP code is running.
    pub(super) fn raise() {
        if is_pending()
            && let Some(handler) = handler()
        {
            // SAFETY: the caller holds nothing any more. The engine ignores an error that it has
            // raised before.
            unsafe { handler() };
        }
    }
}

/// Support for a PHP whose allocator bails out itself.
#[cfg(not(php_delayed_oom))]
mod put_off {
    pub(super) fn prepare() {}

    pub(super) fn is_pending() -> bool {
        false
    }

    pub(super) fn raise() {}
}
