//! Names and texts that do not depend on the call: keys, lists, tails, tags.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celery_protocol::redis_keys::Keys;
use celery_protocol::result::StoredForm;

use super::consumed::{Consumed, Following};
use crate::broker::held::Envelope;
use crate::broker::options::Subscription;
use crate::broker::queues::Queues;
use crate::broker::settlement::Document;
use crate::broker::tag::Tag;

/// The prefix of our tags. The tags of Python workers, which are UUIDs, never begin with it.
pub(crate) const TAG_PREFIX: &str = "rs:";

/// Everything that a call needs besides its own data. A worker has one, and its roles share it.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) keys: Keys,
    pub(crate) unacked: String,
    pub(crate) index: String,
    pub(crate) dead: String,
    queues: Following,
    /// `rs:<instance>:`, random for each start of a worker, so that a tag is never used twice.
    instance: String,
    /// The list of the messages that this worker moves at the moment.
    pub(crate) held: String,
    /// The set of the instances that have such a list.
    pub(crate) owners: String,
    /// The worker's node name, for dead letters.
    pub(crate) node: String,
    /// How many seconds a result lives; 0 means without limit.
    pub(crate) result_ttl: u64,
    /// How many seconds a failure lives; 0 means without limit.
    failure_ttl: u64,
    /// How many seconds the members and the size of a chord live; 0 means without limit.
    pub(super) chord_ttl: u64,
    /// How many seconds the saved result of a chord's group lives; 0 means without limit. As in
    /// Celery, that is not less than results live, because clients read it, too.
    pub(super) saved_ttl: u64,
    /// The form in which results are stored.
    pub(super) form: StoredForm,
    /// Keys of queues that were not lists at the last claim.
    passed_over: Mutex<BTreeSet<String>>,
}

impl Layout {
    pub(super) fn new(keys: Keys, subscription: &Subscription<'_>) -> Self {
        // The instance is new for each start of a worker.
        let instance = uuid::Uuid::new_v4().simple().to_string();
        Layout::of_instance(keys, subscription, &instance)
    }

    fn of_instance(keys: Keys, subscription: &Subscription<'_>, instance: &str) -> Self {
        let result_ttl = seconds(subscription.result_expires);
        let chord_ttl = seconds(subscription.chord_expires);
        Layout {
            unacked: keys.unacked(),
            index: keys.unacked_index(),
            dead: keys.dead(),
            queues: Following::new(&keys, subscription.queues, subscription.order),
            instance: format!("{TAG_PREFIX}{instance}:"),
            held: keys.held(instance),
            owners: keys.held_owners(),
            node: subscription.node.to_owned(),
            result_ttl,
            chord_ttl,
            saved_ttl: match (chord_ttl, result_ttl) {
                (0, _) | (_, 0) => 0,
                (chord, result) => chord.max(result),
            },
            failure_ttl: seconds(subscription.failure_expires),
            form: subscription.form,
            passed_over: Mutex::default(),
            keys,
        }
    }

    /// Returns the queues that are consumed now.
    pub(crate) fn consumed(&self) -> Arc<Consumed> {
        self.queues.consumed(&self.keys)
    }

    /// Returns the list of queues, which can change.
    pub(crate) fn queues(&self) -> &Arc<Queues> {
        &self.queues.list
    }

    /// Notes that messages cannot be claimed from this key, and logs it once.
    pub(crate) fn pass_over(&self, key: &str, why: &str) {
        if self.passed_over().insert(key.to_owned()) {
            let key = key.escape_debug();
            tracing::error!(
                "consumer: The key {key} of a queue is not a list, and is passed over: {why}"
            );
        }
    }

    /// Notes that this key is a list with messages.
    pub(crate) fn take_in(&self, key: &str) {
        self.passed_over().remove(key);
    }

    /// Returns `true` if messages can come from this list of a queue.
    pub(crate) fn is_readable(&self, key: &str) -> bool {
        !self.passed_over().contains(key)
    }

    fn passed_over(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A thread that panics while it holds the lock cannot leave the set half changed.
        self.passed_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a tag in the form that Redis stores.
    pub(crate) fn tag(&self, tag: Tag) -> String {
        let mut text = self.base(tag.call);
        // Padded, so that entries with equal scores keep the order of the claim. Writing to a
        // string does not fail.
        let _ = write!(text, "{:04}", tag.index);
        text
    }

    /// Returns the text with which the tags of one claim begin.
    pub(crate) fn base(&self, call: u64) -> String {
        format!("{}{call}:", self.instance)
    }

    /// Returns the name of this start of the worker in the set of owners and in its tags.
    pub(crate) fn instance(&self) -> &str {
        let name = self.instance.strip_prefix(TAG_PREFIX);
        name.unwrap_or_default().trim_end_matches(':')
    }

    /// Returns `true` if a worker of this kind made the tag.
    pub(crate) fn is_ours(tag: &[u8]) -> bool {
        tag.starts_with(TAG_PREFIX.as_bytes())
    }

    /// Returns the delivery of this very worker that a tag in the index names, if it names one.
    pub(crate) fn own(&self, tag: &[u8]) -> Option<Tag> {
        let tag = std::str::from_utf8(tag).ok()?;
        let (call, index) = tag.strip_prefix(&*self.instance)?.split_once(':')?;
        Some(Tag {
            call: call.parse().ok()?,
            index: index.parse().ok()?,
        })
    }

    /// Returns the length of the text that follows a held message of this queue in its entry.
    /// Returns 0 for a queue that was never consumed, because its messages are not held.
    pub(crate) fn tail_length(&self, queue: &str) -> usize {
        let queue = self.queues.find(|known| &*known.name == queue);
        queue.map_or(0, |queue| queue.tail.len())
    }

    /// Returns the queue and the message of an entry that a worker of this kind wrote.
    pub(crate) fn open_entry(&self, mut entry: Vec<u8>) -> Option<(Arc<str>, Envelope)> {
        let queue = self
            .queues
            .find(|known| entry.ends_with(known.tail.as_bytes()))?;
        entry.truncate(entry.len() - queue.tail.len());
        if entry.first() != Some(&b'[') {
            return None;
        }
        entry.remove(0);
        Some((Arc::clone(&queue.name), Envelope(entry)))
    }

    /// Returns how many seconds this document lives; 0 means without limit.
    pub(super) fn ttl_of(&self, document: &Document) -> u64 {
        if document.failed {
            self.failure_ttl
        } else {
            self.result_ttl
        }
    }

    /// Returns the list for a message of this priority.
    pub(crate) fn list(&self, queue: &str, priority: u8) -> String {
        self.keys.queue(queue, priority)
    }
}

/// Returns a time in whole seconds, as Redis counts. Rounding down to 0 would keep results without
/// limit.
fn seconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod testing {
    use celery_client::redis::RedisEndpoint;
    use celery_testkit::Redis;

    use super::*;
    use crate::broker::options::{QueueOrder, Results};
    use crate::broker::redis::connector::Connector;

    /// Returns the layout of a worker of instance `abc` that consumes these queues.
    pub(in crate::broker::redis) fn layout(
        keys: Keys,
        queues: &[&str],
        order: &QueueOrder,
    ) -> Layout {
        let subscription = Subscription {
            queues: &Arc::new(Queues::new(queues)),
            order,
            fair: &[],
            node: "celery@test",
            results: &Results::Broker,
            result_expires: Duration::from_mins(1),
            failure_expires: Duration::from_mins(1),
            chord_expires: Duration::from_mins(1),
            form: StoredForm::default(),
        };
        Layout::of_instance(keys, &subscription, "abc")
    }

    /// Returns a connector to a server, with the layout that [`layout`] returns.
    pub(in crate::broker::redis) fn connector(
        redis: &Redis,
        keys: Keys,
        queues: &[&str],
        order: &QueueOrder,
    ) -> Connector {
        let endpoint = Arc::new(RedisEndpoint::from_url(&redis.url()).unwrap());
        Connector::new(&endpoint, Arc::new(layout(keys, queues, order)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::options::QueueOrder;

    fn layout(queues: &[&str]) -> Layout {
        testing::layout(Keys::new("p:"), queues, &QueueOrder::RoundRobin)
    }

    #[test]
    fn queues_take_turns_within_a_step() {
        let layout = layout(&["a", "b"]);
        let names = |turn| {
            let consumed = layout.consumed();
            consumed
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
        let layout = testing::layout(keys, &["a", "a:b"], &QueueOrder::Priority);
        let consumed = layout.consumed();
        let lists: Vec<_> = consumed.claim_order(0).map(|(_, list)| list).collect();
        assert_eq!(lists, ["p:a", "p:a:b", "p:a:9", "p:a:b:9"]);
        assert_eq!((consumed.lists(), &*layout.list("a:b", 8)), (4, "p:a:b"));
        assert_eq!(layout.list("a:b", 9), "p:a:b:9");
    }

    #[test]
    fn keys_that_are_not_lists_are_passed_over() {
        let layout = layout(&["a", "b"]);
        layout.pass_over("p:a", "WRONGTYPE");
        assert!(!layout.is_readable("p:a") && layout.is_readable("p:b"));
        layout.take_in("p:a");
        assert!(layout.is_readable("p:a"));
    }

    #[test]
    fn tags_sort_in_the_order_of_their_claims() {
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
        let consumed = layout.consumed();
        assert_eq!(consumed.queues[0].tail, r#","","a\"b"]"#);
        let length = consumed.queues[0].tail.len();
        assert_eq!(layout.tail_length("a\"b"), length);
        assert_eq!(layout.tail_length("other"), 0);
    }

    #[test]
    fn a_queue_that_was_cancelled_still_opens_its_entries() {
        let layout = layout(&["a", "b"]);
        let before = layout.consumed();
        assert!(layout.queues().cancel("a"));
        layout.queues().add("c").unwrap();
        let after = layout.consumed();
        assert!(Arc::ptr_eq(&after, &layout.consumed()));
        let names = |consumed: &Consumed| -> Vec<String> {
            let queues = consumed.queues.iter();
            queues.map(|queue| queue.name.to_string()).collect()
        };
        // A claim that is under way keeps its own lists.
        assert_eq!(names(&before), ["a", "b"]);
        assert_eq!(names(&after), ["b", "c"]);
        for queue in ["a", "b", "c"] {
            let entry = format!(r#"[{{}},"","{queue}"]"#).into_bytes();
            let (name, _) = layout.open_entry(entry).unwrap();
            assert_eq!((&*name, layout.tail_length(queue)), (queue, 8));
        }
    }
}
