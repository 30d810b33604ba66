//! How failures of a task are retried: what its definition and the headers of its message say.
//!
//! Jobs of Laravel bring two headers of their own. A message without them is retried as its task's
//! definition says, and a Python worker ignores them.

use std::time::Duration;

use celery_protocol::message::Task;
use serde::de::DeserializeOwned;

/// The header with the number of runs that a task may have in all, like `$tries` of a job. 0 means
/// no limit.
const TRIES: &str = "tries";

/// The header with the seconds before a retry: a number, or a list with a number for each retry,
/// whose last one holds for all that follow. Like `$backoff` of a job.
const BACKOFF: &str = "backoff";

/// The way in which failures of a task are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The largest number of retries. `None` means no limit.
    pub most: Option<u32>,
    /// How long to wait before each, unless there is a backoff.
    pub delay: Duration,
    /// A wait that grows.
    pub backoff: Option<Backoff>,
}

impl Retries {
    /// Returns how long to wait before the next retry of a task that was retried this often.
    /// `random` is in 0..1.
    pub(crate) fn wait(&self, retries: u32, random: f64) -> Duration {
        let wait = self.backoff.map(|backoff| backoff.wait(retries, random));
        wait.unwrap_or(self.delay)
    }
}

/// A wait that doubles with each retry. The fields are Celery's `retry_backoff`,
/// `retry_backoff_max` and `retry_jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait, in seconds.
    pub factor: u32,
    /// The longest wait.
    pub most: Duration,
    /// `true` if the wait is a random number of seconds from 0 to its length.
    pub jitter: bool,
}

impl Default for Backoff {
    /// Returns Celery's defaults: from 1 second to 10 minutes, with jitter.
    fn default() -> Self {
        Backoff {
            factor: 1,
            most: Duration::from_mins(10),
            jitter: true,
        }
    }
}

impl Backoff {
    /// Returns the wait as Celery computes it (`get_exponential_backoff_interval` in
    /// `celery/utils/time.py`): whole seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "`as` saturates, and a wait of 2^53 s is never reached"
    )]
    fn wait(&self, retries: u32, random: f64) -> Duration {
        let doubled = 2_u64.saturating_pow(retries);
        let wait = doubled.saturating_mul(u64::from(self.factor));
        let wait = wait.min(self.most.as_secs());
        let wait = if self.jitter {
            (random * wait.saturating_add(1) as f64) as u64
        } else {
            wait
        };
        Duration::from_secs(wait)
    }
}

/// The largest number of retries of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxRetries {
    Limited(u32),
    Unlimited,
}

impl MaxRetries {
    /// Returns the limit of a task that may run this often in all. 0 means no limit.
    fn of_tries(tries: u32) -> Self {
        tries
            .checked_sub(1)
            .map_or(MaxRetries::Unlimited, MaxRetries::Limited)
    }

    /// Returns the number; `None` means no limit.
    pub(crate) fn number(self) -> Option<u32> {
        match self {
            MaxRetries::Limited(most) => Some(most),
            MaxRetries::Unlimited => None,
        }
    }
}

/// What the headers of a message say about retries. They override the task's definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryHeaders {
    /// The largest number of retries. `None`: as the definition says.
    pub(crate) most: Option<MaxRetries>,
    /// How long to wait before the next retry. `None`: as the definition says.
    pub(crate) wait: Option<Duration>,
}

impl RetryHeaders {
    /// Reads the headers. One that has no meaning is logged and ignored: the message may come from
    /// a program that uses its name for something else.
    pub(crate) fn of(task: &Task) -> Self {
        RetryHeaders {
            most: read(task, TRIES, |tries: u32| Some(MaxRetries::of_tries(tries))),
            wait: read(task, BACKOFF, |waits: Waits| waits.before(task.retries)),
        }
    }
}

/// The form of the header `backoff`.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Waits {
    Each(f64),
    List(Vec<f64>),
}

impl Waits {
    /// Returns the wait before the next retry of a task that was retried this often.
    fn before(self, retries: u32) -> Option<Duration> {
        let seconds = match self {
            Waits::Each(seconds) => seconds,
            Waits::List(list) => {
                let place = usize::try_from(retries).unwrap_or(usize::MAX);
                *list.get(place).or(list.last())?
            }
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn read<T: DeserializeOwned, V>(
    task: &Task,
    name: &str,
    meaning: impl FnOnce(T) -> Option<V>,
) -> Option<V> {
    let text = task.headers.get(name)?.get();
    if text == "null" {
        return None;
    }
    let value = serde_json::from_str(text).ok().and_then(meaning);
    if value.is_none() {
        let Task { name: of, id, .. } = task;
        tracing::warn!("Task {of}[{id}]: the header {name:?} cannot be read and is ignored");
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::task::testing;

    fn headers(retries: u32, tries: &str, backoff: &str) -> RetryHeaders {
        let mut task = testing::task("t", "[]");
        task.retries = retries;
        for (name, text) in [(TRIES, tries), (BACKOFF, backoff)] {
            if !text.is_empty() {
                let value = RawValue::from_string(text.to_owned()).unwrap();
                task.headers.insert(name, value);
            }
        }
        RetryHeaders::of(&task)
    }

    #[test]
    fn the_number_of_runs_becomes_a_number_of_retries() {
        for (text, most) in [
            ("3", Some(MaxRetries::Limited(2))),
            ("1", Some(MaxRetries::Limited(0))),
            ("0", Some(MaxRetries::Unlimited)),
            ("4294967295", Some(MaxRetries::Limited(u32::MAX - 1))),
            ("", None),
            ("null", None),
            ("-1", None),
            ("1.5", None),
            ("4294967296", None),
            ("\"3\"", None),
            ("[3]", None),
        ] {
            assert_eq!(headers(0, text, "").most, most, "{text}");
        }
    }

    #[test]
    fn each_retry_has_its_wait() {
        for (retries, text, millis) in [
            (0, "7", Some(7_000)),
            (9, "0.5", Some(500)),
            (0, "0", Some(0)),
            (0, "[1, 2]", Some(1_000)),
            (1, "[1, 2]", Some(2_000)),
            (u32::MAX, "[1, 2]", Some(2_000)),
            (0, "[]", None),
            (0, "[-1]", None),
            (0, "1e300", None),
            (0, "\"1,2\"", None),
            (0, "[\"1\"]", None),
            (0, "", None),
        ] {
            let wait = headers(retries, "", text).wait;
            assert_eq!(wait, millis.map(Duration::from_millis), "{retries} {text}");
        }
    }
}
