//! Serving PHP's interrupts while we wait: signals (`pcntl`), time limits, an `exit` in a handler.

use ext_php_rs::ffi;

use super::throw;

unsafe extern "C" {
    fn zend_timeout() -> !;
}

/// PHP code has thrown (or asked to end) while an interrupt was served; the wait must end.
#[derive(Debug)]
pub(crate) struct Raised;

/// Serves pending interrupts. Runs PHP code, and may leave by a bailout (a time limit): hold no borrow.
pub(crate) fn serve() -> Result<(), Raised> {
    // SAFETY: the executor's globals live as long as the thread. The flags are read as plain bytes although a signal
    // handler sets them: volatile reads and writes of single bytes, which is what the engine's own atomics are here.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        let pending = (&raw mut (*globals).vm_interrupt).cast::<bool>();
        if !pending.read_volatile() {
            return Ok(());
        }
        pending.write_volatile(false);
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
    if throw::is_pending() {
        Err(Raised)
    } else {
        Ok(())
    }
}
