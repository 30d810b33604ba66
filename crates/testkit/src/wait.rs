//! Waiting with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// The interval between checks: short enough not to delay a test, long enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` is true.
///
/// # Errors
///
/// Returns [`Error::Timeout`], with `what` in its text, when the condition is still false after
/// `deadline`.
pub fn wait_for(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<(), Error> {
    let until = Instant::now() + deadline;
    loop {
        if condition() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::Timeout {
                what: what.to_owned(),
                after: deadline,
                log: String::new(),
            });
        }
        thread::sleep(LOOK_EVERY);
    }
}
