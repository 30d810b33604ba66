//! When an entry is due.

use super::crontab::Crontab;
use super::interval::Interval;

/// When an entry is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the times of a clock.
    Crontab(Crontab),
    /// Each time that some time has passed.
    Interval(Interval),
}
