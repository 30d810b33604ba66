//! Unique calls: of those with the same arguments, one waits or runs in all workers.

use std::fmt;
use std::time::Duration;

use celery_protocol::duration;

use crate::broker::Lock;

/// What makes a call unique: the lock of its arguments, and for how long it has the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unique {
    /// The lock of its arguments.
    pub lock: Lock,
    /// How long it has the lock.
    pub until: Until,
}

/// How long a call is the only one with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// Until its code begins.
    Started,
    /// Until it has ended, retries included.
    Done,
    /// Until this time has passed since a worker received it, and it is not held any more.
    Time(Duration),
}

impl Until {
    /// Reads the value of the option `unique`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "until_started" => return Ok(Until::Started),
            "until_done" => return Ok(Until::Done),
            _ => {}
        }
        match duration::parse(text) {
            Ok(time) if !time.is_zero() => Ok(Until::Time(time)),
            _ => Err(format!(
                "{text:?} is not a value of unique; write until_started, until_done or a time such as 10m"
            )),
        }
    }

    /// Returns the time for which a lock is live in any case.
    pub(crate) fn time(self) -> Option<Duration> {
        match self {
            Until::Time(time) => Some(time),
            Until::Started | Until::Done => None,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Started => f.write_str("until_started"),
            Until::Done => f.write_str("until_done"),
            Until::Time(time) => write!(f, "{}s", time.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_a_word_or_a_time() {
        for (text, until) in [
            ("until_started", Until::Started),
            ("until_done", Until::Done),
            ("10m", Until::Time(Duration::from_mins(10))),
            ("1.5", Until::Time(Duration::from_millis(1_500))),
        ] {
            assert_eq!(Until::parse(text), Ok(until));
        }
        for wrong in ["", "0", "true", "until done", "-1"] {
            assert!(Until::parse(wrong).is_err(), "{wrong}");
        }
    }
}
