//! PHP's bailout: a `longjmp` on a fatal error, the memory limit or a time limit, which skips Rust's destructors.
//!
//! Whatever may leave that way – PHP code, large allocations – is run by [`catch`]. Rust then returns in order, closing
//! and freeing what it holds, and at the end of the call from PHP the jump goes on where it was bound.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, resume_unwind};

use ext_php_rs::zend::{CatchError, try_catch};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// A bailout was caught: return without running PHP code or allocating PHP memory.
#[derive(Debug)]
pub(crate) struct Bailout;

/// Runs what may bail out.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Bailout> {
    match try_catch(AssertUnwindSafe(call)) {
        Ok(value) => Ok(value),
        Err(CatchError::Panic(message)) => resume_unwind(Box::new(message)),
        Err(_) => {
            CAUGHT.set(true);
            Err(Bailout)
        }
    }
}

/// Whether a bailout was caught that has still to go on.
pub(crate) fn is_caught() -> bool {
    CAUGHT.get()
}

/// Lets a caught bailout go on. Call it when nothing is left to destroy.
pub(crate) fn resume() {
    if CAUGHT.replace(false) {
        // SAFETY: the caller holds nothing any more, and is itself inside PHP's own catch.
        unsafe { ext_php_rs::zend::bailout() };
    }
}
