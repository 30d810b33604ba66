//! Serving PHP's interrupts while we wait: signals (`pcntl`), time limits, an `exit` in a handler.

use ext_php_rs::ffi;

use super::bailout;
use super::throw;

unsafe extern "C" {
    fn zend_timeout() -> !;
}

/// PHP code has thrown (or asked to end), or a time limit was reached, while an interrupt was served; the wait must end.
#[derive(Debug)]
pub(crate) struct Raised;

/// Serves pending interrupts. Runs PHP code: hold no borrow.
pub(crate) fn serve() -> Result<(), Raised> {
    if !is_pending() {
        return Ok(());
    }
    // A fatal error that is put off is an interrupt, too. It is raised when the call has ended; no handler runs before.
    if throw::is_pending() {
        return Err(Raised);
    }
    match bailout::catch(run) {
        Ok(()) if !throw::is_pending() => Ok(()),
        _ => Err(Raised),
    }
}

fn is_pending() -> bool {
    // SAFETY: as below.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        (&raw const (*globals).vm_interrupt)
            .cast::<bool>()
            .read_volatile()
    }
}

/// May leave by a bailout: a time limit.
fn run() {
    // SAFETY: the executor's globals live as long as the thread. The flags are read as plain bytes although a signal
    // handler sets them: volatile reads and writes of single bytes, which is what the engine's own atomics are here.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        (&raw mut (*globals).vm_interrupt)
            .cast::<bool>()
            .write_volatile(false);
        if (&raw const (*globals).timed_out)
            .cast::<bool>()
            .read_volatile()
        {
            zend_timeout();
        }
        if let Some(interrupt) = ffi::zend_interrupt_function {
            interrupt((*globals).current_execute_data);
        }
    }
}
