//! The names of all Redis keys and channels, made in one place.
//!
//! Names come from kombu's and Celery's Redis transports, so that Python shares them. All broker
//! names of one [`Keys`] share its prefix; a prefix with a hash tag puts them all into one slot of
//! a cluster. The names of queues and tasks become part of keys: [`names`](crate::names) says what
//! they may be.

use std::collections::HashMap;

use crate::names::{CONTROL_EXCHANGE, EVENT_EXCHANGE};
use crate::priorities::{PrioritySteps, Separator};

/// The names of keys and channels under one prefix.
///
/// ```
/// use celery_protocol::redis_keys::Keys;
/// let keys = Keys::new("shop:");
/// assert_eq!(keys.queue("celery", 0), "shop:celery");
/// assert_eq!(keys.queue("celery", 3), "shop:celery\u{6}\u{16}3");
/// assert_eq!(keys.result("42"), "shop:celery-task-meta-42");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keys {
    prefix: String,
    result_prefix: String,
    steps: PrioritySteps,
    separator: Separator,
}

impl Keys {
    /// Makes names under a prefix, which may be empty.
    ///
    /// Broker names begin with the prefix unchanged (kombu's `global_keyprefix`). In result names
    /// an underscore follows it unless it ends in one of `:_-.`, as Celery's result backend does.
    pub fn new(prefix: &str) -> Self {
        Self::with_prefixes(prefix, prefix)
    }

    /// Makes names with one prefix for queues and another for results.
    pub fn with_prefixes(broker: &str, results: &str) -> Self {
        let mut result_prefix = results.to_owned();
        if !results.is_empty() && !results.ends_with([':', '_', '-', '.']) {
            result_prefix.push('_');
        }
        Self {
            prefix: broker.to_owned(),
            result_prefix,
            steps: PrioritySteps::default(),
            separator: Separator::default(),
        }
    }

    /// Sets kombu's transport options `priority_steps` and `sep`.
    #[must_use]
    pub fn with_priorities(mut self, steps: PrioritySteps, separator: Separator) -> Self {
        (self.steps, self.separator) = (steps, separator);
        self
    }

    /// Returns the prefix of broker names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn broker(&self, name: &str) -> String {
        // Each post makes such a name, and formatting it would take three times as long.
        [&self.prefix, name].concat()
    }

    /// Returns the list for a queue's messages of this priority, as kombu's `_q_for_pri`.
    pub fn queue(&self, queue: &str, priority: u8) -> String {
        match self.steps.of(priority) {
            0 => self.broker(queue),
            step => format!("{}{queue}{}{step}", self.prefix, self.separator),
        }
    }

    /// Returns all lists of a queue, the most urgent first: one for each step.
    pub fn queue_lists(&self, queue: &str) -> Vec<String> {
        let steps = self.steps.as_slice().iter();
        steps.map(|step| self.queue(queue, *step)).collect()
    }

    /// Returns the number of lists that a queue has.
    pub fn steps(&self) -> usize {
        self.steps.as_slice().len()
    }

    /// Returns two of these queues that have a list in common, such as `mail` and `mail:3` where
    /// the separator is a colon. A message in that list could belong to either queue.
    pub fn overlap<'q>(&self, queues: &'q [String]) -> Option<(&'q str, &'q str)> {
        let mut owners = HashMap::new();
        for queue in queues {
            for list in self.queue_lists(queue) {
                match owners.insert(list, queue) {
                    Some(other) if other != queue => return Some((other, queue)),
                    _ => {}
                }
            }
        }
        None
    }

    /// Returns the text between the parts of a name.
    pub fn separator(&self) -> &str {
        self.separator.as_str()
    }

    /// Returns the member of a binding set that sends `routing_key` to `queue`.
    pub fn binding_member(&self, routing_key: &str, pattern: &str, queue: &str) -> String {
        [routing_key, pattern, queue].join(self.separator())
    }

    /// Returns the member that binds a queue to the exchange with the queue's name. Celery declares
    /// every queue like that.
    pub fn own_binding_member(&self, queue: &str) -> String {
        self.binding_member(queue, "", queue)
    }

    /// Returns the set of an exchange's bindings.
    pub fn binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// Returns the set of an exchange's bindings that never expire (new in kombu 5.7).
    pub fn binding_permanent(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// Returns the sorted set of exchanges whose bindings expire (new in kombu 5.7).
    pub fn binding_deadlines(&self) -> String {
        self.broker("_kombu.binding_deadlines")
    }

    /// Returns the hash of the messages that workers hold.
    pub fn unacked(&self) -> String {
        self.broker("unacked")
    }

    /// Returns the sorted set of the times of held messages.
    pub fn unacked_index(&self) -> String {
        self.broker("unacked_index")
    }

    /// Returns kombu's lock for restoring orphaned messages.
    pub fn unacked_mutex(&self) -> String {
        self.broker("unacked_mutex")
    }

    /// Returns the key of a task's result, which is also the channel on which each state is
    /// published.
    pub fn result(&self, id: &str) -> String {
        format!("{}celery-task-meta-{id}", self.result_prefix)
    }

    /// Returns the key of a saved group result.
    pub fn group(&self, group_id: &str) -> String {
        format!("{}celery-taskset-meta-{group_id}", self.result_prefix)
    }

    /// Returns the key of a part of a chord's state.
    pub fn chord(&self, group_id: &str, part: ChordPart) -> String {
        format!(
            "{}celery-taskset-meta-{group_id}{}",
            self.result_prefix,
            part.suffix()
        )
    }

    /// Returns the channel of remote control requests.
    pub fn pidbox_channel(&self, db: u32) -> String {
        format!("{}/{db}.{}", self.prefix, CONTROL_EXCHANGE)
    }

    /// Returns the channel of events with this routing key.
    pub fn event_channel(&self, db: u32, routing_key: &str) -> String {
        format!("{}/{db}.{}/{routing_key}", self.prefix, EVENT_EXCHANGE)
    }

    /// Returns the pattern for `PSUBSCRIBE` that matches the channels of all events whose routing key
    /// begins with `prefix`.
    pub fn event_pattern(&self, db: u32, prefix: &str) -> String {
        let mut pattern = String::new();
        for character in self.event_channel(db, prefix).chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }

    /// Returns the stream of dead letters. Celery has none; the name is ours.
    pub fn dead(&self) -> String {
        self.broker("celery.dead")
    }

    /// Returns the key that counts the deliveries of a message marked redelivered; the message's
    /// own delivery tag is part of the key.
    pub fn redelivered(&self, delivery_tag: &str) -> String {
        format!("{}rs.redelivered.{delivery_tag}", self.prefix)
    }

    /// Returns the sorted set of revoked tasks. The name is ours.
    pub fn revoked(&self) -> String {
        self.broker("rs.revoked")
    }

    /// Returns the sorted set of revoked stamps. The name is ours.
    pub fn revoked_stamps(&self) -> String {
        self.broker("rs.revoked.stamps")
    }

    /// Returns the list of the messages that a worker moves at the moment: its held list. The name is
    /// ours.
    pub fn held(&self, instance: &str) -> String {
        format!("{}rs.held.{instance}", self.prefix)
    }

    /// Returns the set of the instances that have a held list.
    pub fn held_owners(&self) -> String {
        self.broker("rs.held.owners")
    }

    /// Returns the hash of the entries of the schedules, by name. The name is ours.
    pub fn beat(&self) -> String {
        self.broker("rs.beat")
    }

    /// Returns the sorted set of the names of entries, by their next due time in Unix milliseconds.
    pub fn beat_due(&self) -> String {
        self.broker("rs.beat.due")
    }

    /// Returns the lease of the process that sends the tasks of the schedules.
    pub fn beat_leader(&self) -> String {
        self.broker("rs.beat.leader")
    }

    /// Returns the number of times that the lease of the leader was taken.
    pub fn beat_fence(&self) -> String {
        self.broker("rs.beat.fence")
    }

    /// Returns the hash of how often each entry was sent, and when.
    pub fn beat_runs(&self) -> String {
        self.broker("rs.beat.runs")
    }

    /// Returns the sorted set of the messages whose tasks run under a limit: all calls of a task, or
    /// those with one key. The name is ours.
    pub fn places(&self, task: &str, key: Option<&str>) -> String {
        self.limit("rs.slots", task, key)
    }

    /// Returns the time from which the next call of a task may begin at its rate in all workers:
    /// of all calls, or of those with one key. The name is ours.
    pub fn rate(&self, task: &str, key: Option<&str>) -> String {
        self.limit("rs.rate", task, key)
    }

    /// Returns the lock of the unique calls of a task with these arguments, whose digest is given.
    /// The name is ours.
    pub fn unique(&self, task: &str, digest: &str) -> String {
        self.limit("rs.unique", task, Some(digest))
    }

    /// Returns the hash of the groups of a fair queue: the digest of a key of messages, and the
    /// number of its group. The name is ours.
    pub fn fair(&self, queue: &str) -> String {
        format!("{}rs.fair.{queue}", self.prefix)
    }

    /// Returns the lease of the worker that sorts a fair queue. The name is ours.
    pub fn fair_sorter(&self, queue: &str) -> String {
        format!("{}rs.sorter.{queue}", self.prefix)
    }

    /// Returns what the names of the lists of a queue's groups begin with. A number follows.
    pub fn fair_lists(&self, queue: &str) -> String {
        self.queue(&format!("{queue}{FAIR}"), 0)
    }

    /// Returns the lists of a group of a fair queue, the most urgent first.
    pub fn fair_group(&self, queue: &str, number: u16) -> Vec<String> {
        self.queue_lists(&format!("{queue}{FAIR}{number}"))
    }

    /// Returns what follows the name of a queue in the names of its lists, the most urgent first.
    pub fn step_suffixes(&self) -> Vec<String> {
        let lists = self.queue_lists("").into_iter();
        let suffix = |list: String| list.get(self.prefix.len()..).map(str::to_owned);
        lists.filter_map(suffix).collect()
    }

    /// Returns what the keys of all locks begin with.
    pub fn unique_prefix(&self) -> String {
        format!("{}rs.unique.", self.prefix)
    }

    fn limit(&self, kind: &str, task: &str, key: Option<&str>) -> String {
        match key {
            Some(key) => format!("{}{kind}.{task}.{key}", self.prefix),
            None => format!("{}{kind}.{task}", self.prefix),
        }
    }

    /// Returns the guard of a post that must happen once (`celery.publish=once`).
    pub fn published(&self, id: &str) -> String {
        format!("{}rs.published.{id}", self.prefix)
    }
}

/// What stands between the name of a fair queue and the number of a group.
pub const FAIR: &str = ".fair.";

/// The most groups of a fair queue. Each claim names the lists of all groups with messages.
pub const MOST_FAIR_GROUPS: u16 = 128;

/// The parts of a chord's state. Each has its own key, next to the group's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChordPart {
    /// The results of the header tasks that ended (sorted set).
    Joined,
    /// The number of header tasks.
    Size,
    /// The number of tasks added while the chord ran.
    Delta,
    /// The results counted so far (5.7).
    Deduplication,
    /// The worker that publishes the body, later the word `done` (5.7).
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
            keys.own_binding_member("celery"),
            "celery\u{6}\u{16}\u{6}\u{16}celery"
        );
        assert_eq!(keys.pidbox_channel(0), "/0.celery.pidbox");
        assert_eq!(
            keys.chord("g", ChordPart::Joined),
            "celery-taskset-meta-g.j"
        );
    }

    #[test]
    fn the_pattern_of_events_takes_the_prefix_as_it_is() {
        let pattern = |prefix, key| Keys::new(prefix).event_pattern(3, key);
        assert_eq!(pattern("", ""), "/3.celeryev/*");
        assert_eq!(pattern("", "task."), "/3.celeryev/task.*");
        assert_eq!(pattern("a*[b]?:", ""), "a\\*\\[b\\]\\?:/3.celeryev/*");
        assert_eq!(pattern("", "w^\\"), "/3.celeryev/w\\^\\\\*");
    }

    #[test]
    fn a_result_prefix_gets_an_underscore_unless_it_ends_a_word() {
        assert_eq!(Keys::new("myapp").result("1"), "myapp_celery-task-meta-1");
        assert_eq!(Keys::new("myapp:").result("1"), "myapp:celery-task-meta-1");
        assert_eq!(Keys::new("myapp").queue("celery", 0), "myappcelery");
    }

    #[test]
    fn steps_and_separator_make_the_lists() {
        let keys = |steps: &str, separator: &str| {
            let (steps, separator) = (steps.parse().unwrap(), separator.parse().unwrap());
            Keys::new("p:").with_priorities(steps, separator)
        };
        assert_eq!(keys("0,9", ":").queue_lists("q"), ["p:q", "p:q:9"]);
        assert_eq!(keys("0", ":").queue_lists("a:b"), ["p:a:b"]);
        assert_eq!(keys("0,9", ":").step_suffixes(), ["", ":9"]);
        let all = keys("0,1,2,3,4,5,6,7,8,9", "-");
        assert_eq!((all.steps(), &*all.queue("q", 7)), (10, "p:q-7"));
        assert_eq!(all.queue("q", 200), "p:q-9");
        assert_eq!(all.own_binding_member("q"), "q--q");
    }

    #[test]
    fn queues_with_a_common_list_are_found() {
        let keys = |steps: &str, separator: &str| {
            let (steps, separator) = (steps.parse().unwrap(), separator.parse().unwrap());
            Keys::default().with_priorities(steps, separator)
        };
        let queues = |names: &[&str]| names.iter().map(|q| (*q).to_owned()).collect::<Vec<_>>();
        let twins = queues(&["mail", "other", "mail:3"]);
        assert_eq!(keys("0,3", ":").overlap(&twins), Some(("mail", "mail:3")));
        assert_eq!(keys("0,9", ":").overlap(&twins), None);
        assert_eq!(keys("0,3", "-").overlap(&twins), None);
        let deep = queues(&["a:3:3", "a", "a:3"]);
        assert_eq!(keys("0,3", ":").overlap(&deep), Some(("a", "a:3")));
        let harmless = queues(&["a", "a:b", "a:b:c", "a:", "a"]);
        assert_eq!(keys("0,3,6,9", ":").overlap(&harmless), None);
    }
}
