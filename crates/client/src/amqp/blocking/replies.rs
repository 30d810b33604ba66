//! Replies of workers that have arrived and were not asked for yet.
//!
//! A process has one queue for the replies to all tasks that it posts. While a call waits for one of
//! them, others arrive. They are kept here, with limits, the newest state of each task.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher as _;

use celery_protocol::amqp::{Delivery, Short};
use celery_protocol::result::ResultDoc;

/// Limit for the tasks whose replies are known to be awaited. Each costs about 50 bytes.
const MOST_TASKS: usize = 100_000;
/// Limit for the number of replies that are kept.
const MOST_REPLIES: usize = 10_000;
/// Limit for their bytes.
const MOST_BYTES: usize = 16 << 20;

/// What is known of the reply to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'r> {
    /// The task was not posted here, or longer ago than is remembered.
    Nothing,
    /// The task was posted, and no reply is kept.
    Awaited,
    /// A reply has arrived, and was dropped because it was too large or too many others were kept.
    Dropped,
    /// A reply is kept.
    Arrived(Arrived<'r>),
}

/// The newest reply to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrived<'r> {
    /// The task.
    pub task_id: &'r str,
    /// The document as the worker wrote it.
    pub document: &'r [u8],
    /// Whether no other state follows: this one is final, or the document cannot be decoded.
    pub is_last: bool,
    /// The number of the arrival, which rises.
    pub number: u64,
}

/// The replies to the tasks of a process.
#[derive(Debug, Default)]
pub struct Replies {
    /// The tasks by the hash of their ids, which are long.
    tasks: HashMap<u64, Task>,
    /// The hashes in the order in which the tasks were posted.
    posted: VecDeque<u64>,
    /// The hashes of the tasks with a reply, by the number of its arrival.
    arrivals: BTreeMap<u64, u64>,
    bytes: usize,
    last: u64,
    hasher: RandomState,
}

#[derive(Debug)]
enum Task {
    Awaited,
    Dropped,
    Arrived(Box<Reply>),
}

#[derive(Debug)]
struct Reply {
    task_id: String,
    document: Vec<u8>,
    is_last: bool,
    number: u64,
}

impl Reply {
    fn seen(&self) -> Arrived<'_> {
        Arrived {
            task_id: &self.task_id,
            document: &self.document,
            is_last: self.is_last,
            number: self.number,
        }
    }
}

impl Replies {
    /// Notes that a task is posted and its replies are awaited.
    pub fn expect(&mut self, task_id: &str) {
        let key = self.hasher.hash_one(task_id);
        if let Entry::Vacant(place) = self.tasks.entry(key) {
            place.insert(Task::Awaited);
            self.posted.push_back(key);
        }
        if self.posted.len() > MOST_TASKS
            && let Some(oldest) = self.posted.pop_front()
        {
            self.remove(oldest);
        }
    }

    /// Returns `true` if no replies are awaited.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Keeps a message from the queue for replies. An older state never replaces the last one, which
    /// a broken connection may let happen.
    ///
    /// # Errors
    /// The message itself if its task is not awaited here.
    pub fn take(&mut self, delivery: Delivery) -> Result<(), Delivery> {
        let id = delivery.content.properties().ok();
        let id = id.and_then(|it| it.correlation_id.map(Short::text));
        let id = id.map(std::borrow::Cow::into_owned);
        match id {
            Some(id) if self.get(&id) != Known::Nothing => {
                if delivery.content.is_left_out() {
                    self.drop_reply(&id);
                } else {
                    self.keep(id, delivery.content.body);
                }
                Ok(())
            }
            _ => Err(delivery),
        }
    }

    fn keep(&mut self, task_id: String, document: Vec<u8>) {
        let key = self.hasher.hash_one(&task_id);
        match self.tasks.get(&key) {
            None => return,
            Some(Task::Arrived(reply)) if reply.is_last => return,
            Some(_) => {}
        }
        self.remove_reply(key);
        let is_last = ResultDoc::decode_any(&document).map_or(true, |doc| doc.status.ready());
        self.last += 1;
        let number = self.last;
        self.bytes += document.len();
        self.arrivals.insert(number, key);
        let reply = Reply {
            task_id,
            document,
            is_last,
            number,
        };
        self.tasks.insert(key, Task::Arrived(Box::new(reply)));
        // The newest one stays, however large it is.
        while self.arrivals.len() > MOST_REPLIES
            || (self.bytes > MOST_BYTES && self.arrivals.len() > 1)
        {
            let Some((_, &oldest)) = self.arrivals.first_key_value() else {
                break;
            };
            self.remove_reply(oldest);
            self.tasks.insert(oldest, Task::Dropped);
        }
    }

    /// Notes that a reply to a task has arrived and cannot be kept. A last state stays.
    fn drop_reply(&mut self, task_id: &str) {
        let key = self.hasher.hash_one(task_id);
        if !matches!(self.tasks.get(&key), Some(Task::Arrived(reply)) if reply.is_last) {
            self.remove_reply(key);
            self.tasks.insert(key, Task::Dropped);
        }
    }

    /// Returns what is known of the reply to a task.
    pub fn get(&self, task_id: &str) -> Known<'_> {
        match self.tasks.get(&self.hasher.hash_one(task_id)) {
            None => Known::Nothing,
            Some(Task::Dropped) => Known::Dropped,
            Some(Task::Arrived(reply)) if reply.task_id == task_id => Known::Arrived(reply.seen()),
            Some(Task::Awaited | Task::Arrived(_)) => Known::Awaited,
        }
    }

    /// Returns the replies that arrived after this number, the oldest first.
    pub fn since(&self, number: u64) -> impl Iterator<Item = Arrived<'_>> {
        let later = self.arrivals.range(number.saturating_add(1)..);
        later.filter_map(|(_, key)| match self.tasks.get(key) {
            Some(Task::Arrived(reply)) => Some(reply.seen()),
            _ => None,
        })
    }

    /// Drops the reply to a task. The task stays known.
    pub fn forget(&mut self, task_id: &str) {
        self.remove_reply(self.hasher.hash_one(task_id));
    }

    /// Forgets all tasks and replies.
    pub fn clear(&mut self) {
        *self = Self {
            last: self.last,
            ..Self::default()
        };
    }

    fn remove(&mut self, key: u64) {
        self.remove_reply(key);
        self.tasks.remove(&key);
    }

    /// Removes a reply. Its task is awaited again.
    fn remove_reply(&mut self, key: u64) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if let Task::Arrived(reply) = std::mem::replace(task, Task::Awaited) {
            self.arrivals.remove(&reply.number);
            self.bytes -= reply.document.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(status: &str) -> Vec<u8> {
        format!(r#"{{"status":"{status}","result":1}}"#).into_bytes()
    }

    fn arrived<'r>(replies: &'r Replies, id: &str) -> Arrived<'r> {
        match replies.get(id) {
            Known::Arrived(arrived) => arrived,
            other => panic!("{id}: {other:?}"),
        }
    }

    #[test]
    fn the_newest_state_of_each_posted_task_is_kept() {
        let mut replies = Replies::default();
        replies.keep("stranger".to_owned(), document("SUCCESS"));
        assert_eq!(replies.get("stranger"), Known::Nothing);
        replies.expect("a");
        replies.expect("a");
        replies.expect("b");
        assert_eq!(replies.get("a"), Known::Awaited);
        for status in ["STARTED", "RETRY", "SUCCESS", "STARTED"] {
            replies.keep("a".to_owned(), document(status));
        }
        assert!(arrived(&replies, "a").is_last);
        assert_eq!(arrived(&replies, "a").document, document("SUCCESS"));
        replies.keep("b".to_owned(), b"unreadable".to_vec());
        assert!(arrived(&replies, "b").is_last);

        let ids = |replies: &Replies, since| -> Vec<String> {
            let arrived = replies.since(since);
            arrived.map(|reply| reply.task_id.to_owned()).collect()
        };
        assert_eq!(ids(&replies, 0), ["a", "b"]);
        assert_eq!(ids(&replies, arrived(&replies, "a").number), ["b"]);
        replies.forget("a");
        assert_eq!(replies.get("a"), Known::Awaited);
        assert_eq!(ids(&replies, 0), ["b"]);
        let last = arrived(&replies, "b").number;
        replies.clear();
        assert!(replies.is_empty());
        assert_eq!((replies.get("b"), replies.bytes), (Known::Nothing, 0));
        replies.expect("c");
        replies.keep("c".to_owned(), document("SUCCESS"));
        assert!(arrived(&replies, "c").number > last);
    }

    #[test]
    fn the_oldest_are_dropped_and_this_is_known() {
        let mut replies = Replies::default();
        for n in 0..=MOST_REPLIES {
            replies.expect(&format!("id-{n}"));
            replies.keep(format!("id-{n}"), document("SUCCESS"));
        }
        assert_eq!(replies.get("id-0"), Known::Dropped);
        assert!(matches!(replies.get("id-1"), Known::Arrived(_)));

        let mut large = Replies::default();
        for id in ["a", "b", "c"] {
            large.expect(id);
            large.keep(id.to_owned(), vec![b'x'; MOST_BYTES / 2]);
        }
        assert_eq!(large.get("a"), Known::Dropped);
        large.expect("huge");
        large.keep("huge".to_owned(), vec![b'x'; MOST_BYTES + 1]);
        assert_eq!(large.get("c"), Known::Dropped);
        assert!(matches!(large.get("huge"), Known::Arrived(_)));
        assert_eq!(large.bytes, MOST_BYTES + 1);

        let mut many = Replies::default();
        for n in 0..=MOST_TASKS {
            many.expect(&n.to_string());
        }
        assert_eq!(
            (many.get("0"), many.get("1")),
            (Known::Nothing, Known::Awaited)
        );
        assert_eq!(many.tasks.len(), MOST_TASKS);
    }
}
