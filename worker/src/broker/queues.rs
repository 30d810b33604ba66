//! The queues that a worker consumes. Remote control adds and cancels them while the worker runs.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

/// The most queues that one worker consumes in its life, if remote control adds them. Each takes
/// part in every claim, and its name is a label of metrics.
const MOST: usize = 1_000;

/// The queues that are consumed, and those that were.
#[derive(Debug)]
pub(crate) struct Queues {
    inner: RwLock<Inner>,
    /// Wakes the role that waits for messages: a queue was added or cancelled.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
struct Inner {
    consumed: Names,
    /// Every queue that is or was consumed.
    known: Vec<Arc<str>>,
    /// The groups of fair queues that have messages.
    groups: Groups,
}

/// A group of a fair queue: messages with the same key, in lists of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) queue: Arc<str>,
    pub(crate) number: u16,
}

/// The groups of all fair queues, by the numbers in each queue.
pub(crate) type Groups = Arc<[Group]>;

/// The names of queues, in the order in which they were given.
pub(crate) type Names = Arc<[Arc<str>]>;

/// The worker has consumed [`MOST`] queues, and no other one can be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Queues {
    /// Makes the list of the queues that are consumed from the start. A queue that is named twice
    /// counts once: a claim that named a list twice would take its messages twice.
    pub(crate) fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut known: Vec<Arc<str>> = Vec::new();
        for name in names {
            if !known.iter().any(|known| **known == *name.as_ref()) {
                known.push(Arc::from(name.as_ref()));
            }
        }
        Queues {
            inner: RwLock::new(Inner {
                consumed: known.as_slice().into(),
                known,
                groups: Groups::default(),
            }),
            changed: Notify::new(),
        }
    }

    // No section that holds the lock for writing can panic between its two changes.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the queues that are consumed now. The same list is returned until it changes.
    pub(crate) fn names(&self) -> Names {
        Arc::clone(&self.read().consumed)
    }

    /// Returns the groups that are consumed now. The same list is returned until it changes.
    pub(crate) fn groups(&self) -> Groups {
        Arc::clone(&self.read().groups)
    }

    /// Consumes these groups of a fair queue from now on, and no others of it.
    pub(crate) fn set_groups(&self, queue: &Arc<str>, mut numbers: Vec<u16>) {
        numbers.sort_unstable();
        numbers.dedup();
        let mut inner = self.write();
        let others = inner.groups.iter().filter(|group| group.queue != *queue);
        let new = numbers.into_iter().map(|number| Group {
            queue: Arc::clone(queue),
            number,
        });
        let groups: Groups = others.cloned().chain(new).collect();
        if groups == inner.groups {
            return;
        }
        let has_new = groups.iter().any(|group| !inner.groups.contains(group));
        inner.groups = groups;
        drop(inner);
        if has_new {
            self.changed.notify_one();
        }
    }

    /// Consumes a queue from now on. Returns `false` if it is consumed already.
    pub(crate) fn add(&self, name: &str) -> Result<bool, TooMany> {
        let mut inner = self.write();
        let Inner {
            consumed, known, ..
        } = &mut *inner;
        if consumed.iter().any(|consumed| **consumed == *name) {
            return Ok(false);
        }
        let queue = match known.iter().find(|known| ***known == *name) {
            Some(queue) => Arc::clone(queue),
            None if known.len() >= MOST => return Err(TooMany),
            None => {
                let queue: Arc<str> = name.into();
                known.push(Arc::clone(&queue));
                queue
            }
        };
        *consumed = consumed.iter().cloned().chain([queue]).collect();
        drop(inner);
        self.changed.notify_one();
        Ok(true)
    }

    /// Claims no more from a queue. Messages that are held stay held. Returns `false` if the queue
    /// is not consumed.
    pub(crate) fn cancel(&self, name: &str) -> bool {
        let mut inner = self.write();
        let before = inner.consumed.len();
        let others = inner.consumed.iter().filter(|queue| ***queue != *name);
        let others: Names = others.cloned().collect();
        let cancelled = others.len() < before;
        if cancelled {
            inner.consumed = others;
            drop(inner);
            self.changed.notify_one();
        }
        cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(queues: &Queues) -> String {
        queues.names().join(" ")
    }

    #[test]
    fn queues_come_and_go_in_order() {
        let queues = Queues::new(["b", "a", "b"]);
        assert_eq!(names(&queues), "b a");
        assert_eq!(queues.add("c"), Ok(true));
        assert_eq!(queues.add("a"), Ok(false));
        assert!(queues.cancel("b") && !queues.cancel("b") && !queues.cancel("x"));
        assert_eq!(names(&queues), "a c");
        assert_eq!(queues.add("b"), Ok(true));
        assert_eq!(names(&queues), "a c b");
        for name in ["a", "b", "c"] {
            assert!(queues.cancel(name));
        }
        assert_eq!(names(&queues), "");
    }

    #[test]
    fn an_unchanged_list_is_recognised() {
        let queues = Queues::new(["a"]);
        let before = queues.names();
        assert!(!queues.cancel("b") && queues.add("a") == Ok(false));
        assert!(Arc::ptr_eq(&before, &queues.names()));
        queues.cancel("a");
        assert!(!Arc::ptr_eq(&before, &queues.names()));
    }

    #[test]
    fn groups_replace_those_of_their_queue() {
        let queues = Queues::new(["a", "b"]);
        let [a, b] = ["a", "b"].map(Arc::<str>::from);
        let shown = || {
            let groups = queues.groups();
            let groups = groups.iter().map(|it| format!("{}{}", it.queue, it.number));
            groups.collect::<Vec<_>>().join(" ")
        };
        queues.set_groups(&a, vec![2, 0]);
        queues.set_groups(&b, vec![1]);
        assert_eq!(shown(), "a0 a2 b1");
        let before = queues.groups();
        queues.set_groups(&b, vec![1]);
        assert!(Arc::ptr_eq(&before, &queues.groups()));
        queues.set_groups(&a, vec![1]);
        assert_eq!(shown(), "b1 a1");
        queues.set_groups(&b, Vec::new());
        assert_eq!(shown(), "a1");
        assert_eq!(names(&queues), "a b");
    }

    #[test]
    fn the_number_of_queues_is_limited() {
        let queues = Queues::new(["0"]);
        for name in 1..MOST {
            let name = name.to_string();
            assert_eq!(queues.add(&name), Ok(true));
            assert!(queues.cancel(&name));
        }
        assert_eq!(queues.add("new"), Err(TooMany));
        // A queue that was consumed before gets its old place again.
        assert_eq!(queues.add("7"), Ok(true));
    }
}
