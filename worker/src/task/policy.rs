//! How a task is run: its limits, its retries, the size of its batches.

use std::time::Duration;

use super::rate::Rate;

/// The options of a batch. It is complete with `size` calls, or `linger` after its first call.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// The number of calls that completes a batch.
    pub size: usize,
    /// How long after its first call a batch is complete, whatever its size.
    pub linger: Duration,
}

/// The settings that apply to every call of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) soft_time_limit: Option<Duration>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) rate_limit: Option<Rate>,
    /// `true` if the state STARTED is stored when the code begins.
    pub(crate) track_started: bool,
    /// `true` if results are not stored unless the message asks for it.
    pub(crate) ignore_result: bool,
    /// `true` if errors are stored even where results are not.
    pub(crate) store_errors: bool,
}
