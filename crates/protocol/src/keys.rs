//! Every Redis key and channel name, made in one place.
//!
//! Names come from kombu's and Celery's Redis transports, so that Python shares them. All broker names of
//! one [`Keys`] share its prefix; one with a hash tag would put them all into one slot of a cluster.
//! Queue and task names become part of keys and of log lines: [`check_queue_name`], [`check_task_name`]
//! and [`check_task_id`] refuse what would make them mean something else.

use std::fmt;

use crate::json::swar::{plain_run, unprintable};

/// What kombu puts between the parts of a name (its transport option `sep`).
pub const SEPARATOR: &str = "\u{6}\u{16}";

/// The lists a queue is made of, the most urgent first (kombu's `priority_steps`).
///
/// On Redis a lower number is more urgent, the reverse of RabbitMQ.
pub const PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];

/// The step whose list holds messages of this priority: the nearest one below.
pub fn step(priority: u8) -> u8 {
    PRIORITY_STEPS
        .iter()
        .rev()
        .copied()
        .find(|step| *step <= priority)
        .unwrap_or(0)
}

/// The member of a binding set that sends `routing_key` to `queue`.
pub fn binding_member(routing_key: &str, pattern: &str, queue: &str) -> String {
    format!("{routing_key}{SEPARATOR}{pattern}{SEPARATOR}{queue}")
}

/// The member that binds a queue to the exchange of its own name, as Celery declares every queue.
pub fn own_binding_member(queue: &str) -> String {
    binding_member(queue, "", queue)
}

/// Names of keys and channels under one prefix.
///
/// ```
/// use celery_protocol::keys::Keys;
/// let keys = Keys::new("shop:");
/// assert_eq!(keys.queue("celery", 0), "shop:celery");
/// assert_eq!(keys.queue("celery", 3), "shop:celery\u{6}\u{16}3");
/// assert_eq!(keys.result("42"), "shop:celery-task-meta-42");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keys {
    prefix: String,
    result_prefix: String,
}

impl Keys {
    /// Names under a prefix, which may be empty.
    ///
    /// Broker names get it as it is (kombu's `global_keyprefix`); result names get an underscore between
    /// unless it ends in one of `:_-.`, as Celery's result backend does.
    pub fn new(prefix: &str) -> Self {
        Self::with_prefixes(prefix, prefix)
    }

    /// Names whose results lie under another prefix than the queues.
    pub fn with_prefixes(broker: &str, results: &str) -> Self {
        let mut result_prefix = results.to_owned();
        if !results.is_empty() && !results.ends_with([':', '_', '-', '.']) {
            result_prefix.push('_');
        }
        Self {
            prefix: broker.to_owned(),
            result_prefix,
        }
    }

    /// The prefix of broker names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn broker(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The list of a queue's messages of one priority step.
    pub fn queue(&self, queue: &str, step: u8) -> String {
        if step == 0 {
            self.broker(queue)
        } else {
            format!("{}{queue}{SEPARATOR}{step}", self.prefix)
        }
    }

    /// All lists of a queue, the most urgent first.
    pub fn queue_lists(&self, queue: &str) -> [String; 4] {
        PRIORITY_STEPS.map(|step| self.queue(queue, step))
    }

    /// The set of an exchange's bindings.
    pub fn binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// The set of an exchange's bindings that never expire (new in kombu 5.7).
    pub fn binding_permanent(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// The sorted set of exchanges whose bindings expire (new in kombu 5.7).
    pub fn binding_deadlines(&self) -> String {
        self.broker("_kombu.binding_deadlines")
    }

    /// The hash of messages that a worker holds.
    pub fn unacked(&self) -> String {
        self.broker("unacked")
    }

    /// The sorted set of the held messages' times.
    pub fn unacked_index(&self) -> String {
        self.broker("unacked_index")
    }

    /// kombu's lock around its restoring of orphans.
    pub fn unacked_mutex(&self) -> String {
        self.broker("unacked_mutex")
    }

    /// The key of a task's result, and the channel on which each state is published.
    pub fn result(&self, id: &str) -> String {
        format!("{}celery-task-meta-{id}", self.result_prefix)
    }

    /// The key of a saved group result.
    pub fn group(&self, group_id: &str) -> String {
        format!("{}celery-taskset-meta-{group_id}", self.result_prefix)
    }

    /// A part of a chord's state.
    pub fn chord(&self, group_id: &str, part: ChordPart) -> String {
        format!(
            "{}celery-taskset-meta-{group_id}{}",
            self.result_prefix,
            part.suffix()
        )
    }

    /// The channel of remote control requests.
    pub fn pidbox_channel(&self, db: u32) -> String {
        format!("{}/{db}.celery.pidbox", self.prefix)
    }

    /// The stream of messages that could not be run. Celery has no such thing; the name is ours.
    pub fn dead(&self) -> String {
        self.broker("celery.dead")
    }

    /// The count of deliveries of a message marked redelivered, by its own delivery tag.
    pub fn redelivered(&self, delivery_tag: &str) -> String {
        format!("{}rs.redelivered.{delivery_tag}", self.prefix)
    }

    /// The guard of a post that must happen once (`celery.publish=once`).
    pub fn published(&self, id: &str) -> String {
        format!("{}rs.published.{id}", self.prefix)
    }
}

/// Parts of a chord's state, each a key of its own beside the group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChordPart {
    /// Results of the header tasks that ended (sorted set).
    Joined,
    /// How many header tasks there are.
    Size,
    /// How many were added while it ran.
    Delta,
    /// Which results were counted already (5.7).
    Deduplication,
    /// Who publishes the body, then the word `done` (5.7).
    Claim,
}

impl ChordPart {
    fn suffix(self) -> &'static str {
        match self {
            Self::Joined => ".j",
            Self::Size => ".s",
            Self::Delta => ".t",
            Self::Deduplication => ".d",
            Self::Claim => ".c",
        }
    }
}

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("{0} is empty")]
    Empty(NameKind),
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("{0} is longer than {MAX_NAME_BYTES} bytes")]
    TooLong(NameKind),
    /// The name has a control character, such as a line break or a part of kombu's separator.
    #[error("{kind} has the control character {character:?} at byte {at}")]
    Control {
        /// What the name names.
        kind: NameKind,
        /// The first offending character.
        character: char,
        /// Where it stands.
        at: usize,
    },
}

/// What a refused name was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A queue.
    Queue,
    /// A task type.
    Task,
    /// One task's id.
    TaskId,
    /// The broker's name of one message.
    DeliveryTag,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue name",
            Self::Task => "task name",
            Self::TaskId => "task id",
            Self::DeliveryTag => "delivery tag",
        })
    }
}

/// The longest name that is accepted. Redis allows far more; RabbitMQ's queue names end at 255 bytes, and
/// a task name or id that long is already a mistake.
pub const MAX_NAME_BYTES: usize = 255;

/// Refuses a queue name that is empty, too long or has control characters.
pub fn check_queue_name(name: &str) -> Result<(), NameError> {
    check(NameKind::Queue, name)
}

/// Refuses a task name that is empty, too long or has control characters.
pub fn check_task_name(name: &str) -> Result<(), NameError> {
    check(NameKind::Task, name)
}

/// Refuses a task id that is empty, too long or has control characters.
pub fn check_task_id(id: &str) -> Result<(), NameError> {
    check(NameKind::TaskId, id)
}

/// Refuses a delivery tag that is empty, too long or has control characters.
pub fn check_delivery_tag(tag: &str) -> Result<(), NameError> {
    check(NameKind::DeliveryTag, tag)
}

fn check(kind: NameKind, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(kind));
    }
    if plain_run(name.as_bytes(), unprintable) == name.len() {
        return Ok(());
    }
    match name
        .char_indices()
        .find(|(_, character)| character.is_control())
    {
        Some((at, character)) => Err(NameError::Control {
            kind,
            character,
            at,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kombus() {
        let keys = Keys::default();
        assert_eq!(
            keys.queue_lists("celery"),
            [
                "celery",
                "celery\u{6}\u{16}3",
                "celery\u{6}\u{16}6",
                "celery\u{6}\u{16}9"
            ]
        );
        assert_eq!(keys.binding("celery"), "_kombu.binding.celery");
        assert_eq!(
            own_binding_member("celery"),
            "celery\u{6}\u{16}\u{6}\u{16}celery"
        );
        assert_eq!(keys.pidbox_channel(0), "/0.celery.pidbox");
        assert_eq!(
            keys.chord("g", ChordPart::Joined),
            "celery-taskset-meta-g.j"
        );
    }

    #[test]
    fn a_result_prefix_gets_an_underscore_unless_it_ends_a_word() {
        assert_eq!(Keys::new("myapp").result("1"), "myapp_celery-task-meta-1");
        assert_eq!(Keys::new("myapp:").result("1"), "myapp:celery-task-meta-1");
        assert_eq!(Keys::new("myapp").queue("celery", 0), "myappcelery");
    }

    #[test]
    fn priorities_fall_to_the_step_below() {
        assert_eq!(
            [0, 1, 2, 3, 4, 6, 8, 9, 255].map(step),
            [0, 0, 0, 3, 3, 6, 6, 9, 9]
        );
    }

    #[test]
    fn names_that_would_mean_something_else_are_refused() {
        for bad in ["", "a\r", "a\nb", "a\0b", "q\u{6}\u{16}3", "\u{7f}"] {
            assert!(check_queue_name(bad).is_err(), "{bad:?}");
            assert!(check_task_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_task_id(&"x".repeat(256)).is_err());
        assert!(check_queue_name("fotos für später").is_ok());
    }
}
