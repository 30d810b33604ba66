//! A task as the inspect commands show it.

use celery_protocol::message::Task;
use celery_protocol::repr;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::broker::InHand;
use crate::control::answer::{Answer, Budget, answer};

/// The longest arguments that are shown as they are. Longer ones are shown as a shortened text,
/// because an answer about thousands of tasks must not carry their bodies.
const LONG: usize = 16 << 10;

/// A task, with the members of Python's `Request.info`.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    args: Box<RawValue>,
    kwargs: Box<RawValue>,
    #[serde(rename = "type")]
    kind: &'a str,
    hostname: &'a str,
    /// When its code began, in Unix seconds.
    time_start: Option<f64>,
    /// Always `false`: a message is acknowledged after its task has ended.
    acknowledged: bool,
    delivery_info: Origin<'a>,
    /// The process that runs it.
    worker_pid: Option<u32>,
}

#[derive(Serialize)]
struct Origin<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    /// `null` in a message without a priority, as in Python.
    priority: Option<u8>,
    redelivered: bool,
}

impl<'a> Shown<'a> {
    /// Describes a task that waits for a slot or runs. With `safe`, its arguments are shown as
    /// text.
    pub(super) fn of(held: &'a InHand, hostname: &'a str, safe: bool) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "Python's times are floats")]
        let time_start = held.began.map(|began| began.unix_micros() as f64 / 1e6);
        let worker_pid = held.began.map(|_| std::process::id());
        Shown {
            time_start,
            worker_pid,
            ..Self::waiting(&held.task, hostname, safe)
        }
    }

    /// Describes a task whose code has not begun.
    pub(super) fn waiting(task: &'a Task, hostname: &'a str, safe: bool) -> Self {
        let safe = safe || task.args.get().len() + task.kwargs.get().len() > LONG;
        let (args, kwargs) = if safe {
            (
                shown(task.argsrepr.as_deref(), || repr::args(task.args.get())),
                shown(task.kwargsrepr.as_deref(), || {
                    repr::value(task.kwargs.get(), repr::MAX_CHARS)
                }),
            )
        } else {
            (task.args.clone(), task.kwargs.clone())
        };
        Shown {
            id: &task.id,
            name: &task.name,
            args,
            kwargs,
            kind: &task.name,
            hostname,
            time_start: None,
            acknowledged: false,
            delivery_info: Origin {
                exchange: &task.delivery_info.exchange,
                routing_key: &task.delivery_info.routing_key,
                priority: task.properties.priority,
                redelivered: task.redelivered,
            },
            worker_pid: None,
        }
    }
}

/// Describes tasks that wait for a slot or run. Where the answer becomes large, the arguments of
/// further tasks are shown as text.
pub(super) fn list<'a>(
    tasks: impl Iterator<Item = &'a InHand>,
    hostname: &str,
    safe: bool,
) -> Answer {
    let mut budget = Budget::default();
    let shown = tasks.map(|task| {
        let safe = safe || budget.is_tight();
        budget.spend(answer(&Shown::of(task, hostname, safe))?)
    });
    answer(&shown.collect::<Result<Vec<_>, String>>()?)
}

/// Returns the text that the message carries, or else the one that `ours` makes, as JSON.
fn shown(sent: Option<&str>, ours: impl FnOnce() -> String) -> Box<RawValue> {
    let text = sent.map_or_else(ours, str::to_owned);
    let text: String = text.chars().take(repr::MAX_CHARS).collect();
    // A text can always be written.
    to_raw_value(&text).unwrap_or_default()
}
