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

/// A bailout was caught, or a fatal error is deferred: return without running PHP code or
/// allocating PHP memory.
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

/// Support for a PHP that defers the fatal error of the memory limit. The build script detects it
/// in PHP's headers.
#[cfg(php_delayed_oom)]
mod put_off {
    use ext_php_rs::ffi;

    unsafe extern "C" {
        fn zend_handle_delayed_oom();
    }

    /// Returns `ZEND_HAS_OOM()`.
    pub(super) fn is_pending() -> bool {
        // SAFETY: the executor's globals live as long as the thread, which alone sets the state.
        unsafe {
            let globals = ffi::ext_php_rs_executor_globals();
            (&raw const (*globals).delayed_oom.state).read()
                != ffi::_zend_oom_state_ZEND_OOM_STATE_NONE
        }
    }

    /// Raises the error. PHP then unwinds as after `exit`, or bails out if no PHP code is running.
    pub(super) fn raise() {
        if is_pending() {
            // SAFETY: the caller holds nothing any more. The engine ignores an error that it has
            // raised before.
            unsafe { zend_handle_delayed_oom() };
        }
    }
}

/// Support for a PHP whose allocator bails out itself.
#[cfg(not(php_delayed_oom))]
mod put_off {
    pub(super) fn is_pending() -> bool {
        false
    }

    pub(super) fn raise() {}
}
