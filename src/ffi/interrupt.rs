//! Serves PHP's interrupts during a wait: signals (`pcntl`), time limits, an `exit` in a handler.

use std::time::{Duration, Instant};

use ext_php_rs::ffi;

use super::bailout;
use super::throw;

unsafe extern "C" {
    fn zend_timeout() -> !;
}

/// The error of a served interrupt that must end the wait: PHP code has thrown or asked to exit, or
/// a time limit was reached.
#[derive(Debug)]
pub(crate) struct Raised;

/// Serves pending interrupts. It runs PHP code, so the caller must not hold a borrow.
pub(crate) fn serve() -> Result<(), Raised> {
    if !is_pending() {
        return Ok(());
    }
    // A deferred fatal error is an interrupt, too. It is raised after the end of the call, and no
    // handler runs before.
    if throw::is_pending() {
        return Err(Raised);
    }
    match bailout::catch(run) {
        Ok(()) if !throw::is_pending() => Ok(()),
        _ => Err(Raised),
    }
}

/// The longest time for which a pause may keep PHP from serving signals.
const SLICE: Duration = Duration::from_millis(50);

/// Sleeps, and serves interrupts meanwhile. It runs PHP code, so the caller must not hold a borrow.
pub(crate) fn pause(duration: Duration) -> Result<(), Raised> {
    let start = Instant::now();
    loop {
        let rest = duration.saturating_sub(start.elapsed());
        if rest.is_zero() {
            return Ok(());
        }
        std::thread::sleep(rest.min(SLICE));
        serve()?;
    }
}

fn is_pending() -> bool {
    // SAFETY: as in `run`.
    unsafe {
        let globals = ffi::ext_php_rs_executor_globals();
        (&raw const (*globals).vm_interrupt)
            .cast::<bool>()
            .read_volatile()
    }
}

/// Runs the pending interrupts. A time limit ends the call with a bailout.
fn run() {
    // SAFETY: the executor's globals live as long as the thread. A signal handler sets the flags,
    // which are accessed here by volatile reads and writes of single bytes. The engine's own
    // atomics do just that here.
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
