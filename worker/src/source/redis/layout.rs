//! Names and texts that are the same for every call: keys, lists, tails, tags.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celery_protocol::keys::Keys;

use super::order::Turns;
use crate::source::QueueOrder;
use crate::source::Tag;

/// What all tags of ours begin with, and no tag of a Python worker's does (those are UUIDs).
pub(crate) const TAG_PREFIX: &str = "rs:";

/// A queue that is consumed.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    /// What follows the message in its entry: `,"","<name>"]`. The exchange is always the anonymous one: kombu's restore
    /// drops, silently, a message whose named exchange has no binding.
    pub(crate) tail: String,
    /// Its lists, one for each priority step, the most urgent first.
    lists: Vec<String>,
}

/// Everything a call needs besides its own data. One a worker, shared by its roles.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) keys: Keys,
    pub(crate) unacked: String,
    pub(crate) index: String,
    pub(crate) dead: String,
    pub(crate) queues: Vec<Queue>,
    turns: Turns,
    /// `rs:<instance>:`, random for each start of a worker, so that no tag is ever used twice.
    instance: String,
    /// The worker's node name, for dead letters.
    pub(crate) node: String,
    /// Seconds a result lives; 0 is for ever.
    pub(crate) result_ttl: u64,
    /// Keys of queues that are something else than lists, as the last claim found.
    passed_over: Mutex<BTreeSet<String>>,
}

impl Layout {
    pub(crate) fn new(
        keys: Keys,
        queues: &[Arc<str>],
        order: &QueueOrder,
        instance: &str,
        node: &str,
        result_ttl: u64,
    ) -> Self {
        let turns = Turns::new(queues, order);
        let queues = queues
            .iter()
            .map(|name| Queue {
                name: Arc::clone(name),
                tail: format!(r#","",{}]"#, serde_json::Value::from(&**name)),
                lists: keys.queue_lists(name),
            })
            .collect();
        Layout {
            unacked: keys.unacked(),
            index: keys.unacked_index(),
            dead: keys.dead(),
            queues,
            turns,
            instance: format!("{TAG_PREFIX}{instance}:"),
            node: node.to_owned(),
            result_ttl,
            passed_over: Mutex::default(),
            keys,
        }
    }

    /// How many lists there are.
    pub(crate) fn lists(&self) -> usize {
        self.queues.len() * self.keys.steps()
    }

    /// The lists in the order in which a claim empties them, as (place of the queue, key): all queues at their most
    /// urgent step, then at the next – kombu's order. Each turn has its order of queues.
    pub(crate) fn claim_order(&self, turn: usize) -> impl Iterator<Item = (usize, &str)> + Clone {
        let queues = self.turns.order(turn);
        (0..self.keys.steps()).flat_map(move |step| {
            queues
                .clone()
                .map(move |queue| (queue, self.queues[queue].lists[step].as_str()))
        })
    }

    /// Notes that nothing can be claimed from this key. Said once.
    pub(crate) fn pass_over(&self, key: &str, why: &str) {
        if self.passed_over().insert(key.to_owned()) {
            let key = key.escape_debug();
            tracing::error!(
                "consumer: The key {key} of a queue is no list, and is passed over: {why}"
            );
        }
    }

    /// Notes that this key is a list with messages.
    pub(crate) fn take_in(&self, key: &str) {
        self.passed_over().remove(key);
    }

    /// The lists from which messages can come.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &str> {
        let passed_over = self.passed_over().clone();
        let keys = self.claim_order(0).map(|(_, key)| key);
        keys.filter(move |key| !passed_over.contains(*key))
    }

    fn passed_over(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A plain value: whoever panicked with it left it whole.
        self.passed_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A tag as Redis knows it.
    pub(crate) fn tag(&self, tag: Tag) -> String {
        let mut text = self.base(tag.call);
        // Writing to a string does not fail. Padded, so that ties in the index keep the order of the claim.
        let _ = write!(text, "{:04}", tag.index);
        text
    }

    /// What the tags of one claim begin with.
    pub(crate) fn base(&self, call: u64) -> String {
        format!("{}{call}:", self.instance)
    }

    /// Whether a tag in the index was made by any worker of ours.
    pub(crate) fn is_ours(tag: &[u8]) -> bool {
        tag.starts_with(TAG_PREFIX.as_bytes())
    }

    /// The delivery of this very worker that a tag in the index names, if it is one.
    pub(crate) fn own(&self, tag: &[u8]) -> Option<Tag> {
        let tag = std::str::from_utf8(tag).ok()?;
        let (call, index) = tag.strip_prefix(&*self.instance)?.split_once(':')?;
        Some(Tag {
            call: call.parse().ok()?,
            index: index.parse().ok()?,
        })
    }

    /// The length of what follows a held message of this queue in its entry. Messages of a queue that is not consumed
    /// are not held.
    pub(crate) fn tail_length(&self, queue: &str) -> usize {
        self.queues
            .iter()
            .find(|q| &*q.name == queue)
            .map_or(0, |q| q.tail.len())
    }

    /// The queue and the message of an entry that a worker like this one wrote.
    pub(crate) fn open_entry(&self, mut entry: Vec<u8>) -> Option<(Arc<str>, Vec<u8>)> {
        let queue = self
            .queues
            .iter()
            .find(|q| entry.ends_with(q.tail.as_bytes()))?;
        entry.truncate(entry.len() - queue.tail.len());
        if entry.first() != Some(&b'[') {
            return None;
        }
        entry.remove(0);
        Some((Arc::clone(&queue.name), entry))
    }

    /// The list for a message of this priority.
    pub(crate) fn list(&self, queue: &str, priority: u8) -> String {
        self.keys.queue(queue, priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(queues: &[&str]) -> Layout {
        let queues: Vec<Arc<str>> = queues.iter().map(|q| Arc::from(*q)).collect();
        let order = QueueOrder::RoundRobin;
        Layout::new(
            Keys::new("p:"),
            &queues,
            &order,
            "abc",
            "celery@here",
            86_400,
        )
    }

    #[test]
    fn queues_take_turns_within_a_step() {
        let layout = layout(&["a", "b"]);
        let names = |turn| {
            layout
                .claim_order(turn)
                .map(|(q, k)| (q, k.replace("\u{6}\u{16}", "/")))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(0)[..3],
            [(0, "p:a".into()), (1, "p:b".into()), (0, "p:a/3".into())]
        );
        assert_eq!(
            names(1)[..3],
            [(1, "p:b".into()), (0, "p:a".into()), (1, "p:b/3".into())]
        );
        assert_eq!(names(7).len(), 8);
    }

    #[test]
    fn lists_follow_the_steps_and_the_separator() {
        let keys = Keys::new("p:").with_priorities("0,9".parse().unwrap(), ":".parse().unwrap());
        let queues = [Arc::from("a"), Arc::from("a:b")];
        let layout = Layout::new(keys, &queues, &QueueOrder::Priority, "abc", "n", 60);
        let lists: Vec<_> = layout.claim_order(0).map(|(_, list)| list).collect();
        assert_eq!(lists, ["p:a", "p:a:b", "p:a:9", "p:a:b:9"]);
        assert_eq!((layout.lists(), &*layout.list("a:b", 8)), (4, "p:a:b"));
        assert_eq!(layout.list("a:b", 9), "p:a:b:9");
    }

    #[test]
    fn what_is_no_list_is_not_listened_to() {
        let layout = layout(&["a", "b"]);
        layout.pass_over("p:a", "WRONGTYPE");
        assert_eq!(layout.readable().next(), Some("p:b"));
        assert_eq!(layout.readable().count(), 7);
        layout.take_in("p:a");
        assert_eq!(layout.readable().count(), 8);
    }

    #[test]
    fn tags_sort_as_they_were_claimed() {
        let layout = layout(&["a"]);
        assert_eq!(layout.tag(Tag { call: 12, index: 7 }), "rs:abc:12:0007");
        assert!(Layout::is_ours(b"rs:x:1:0001") && !Layout::is_ours(b"7b6c"));
        assert_eq!(
            layout.own(b"rs:abc:12:0007"),
            Some(Tag { call: 12, index: 7 })
        );
        assert_eq!(layout.own(b"rs:other:12:0007"), None);
    }

    #[test]
    fn the_prefix_is_not_part_of_the_routing_key() {
        let layout = layout(&["a\"b"]);
        assert_eq!(layout.queues[0].tail, r#","","a\"b"]"#);
        assert_eq!(layout.tail_length("a\"b"), layout.queues[0].tail.len());
    }
}
