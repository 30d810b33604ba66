//! The lists of the queues that are consumed, in the order in which claims empty them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use celery_protocol::redis_keys::Keys;

use crate::broker::options::QueueOrder;
use crate::broker::order::Turns;
use crate::broker::queues::{Names, Queues};

/// A queue that is or was consumed.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    /// The text that follows the message in its entry: `,"","<name>"]`. The exchange is always the
    /// anonymous one: kombu's restore silently drops a message whose named exchange has no binding.
    pub(crate) tail: String,
    /// The queue's lists, one for each priority step, the most urgent first.
    lists: Vec<String>,
    /// The mean size of its last messages in bytes. Only the fetch role writes it.
    size: AtomicUsize,
    /// When its last message was claimed.
    last: Mutex<Option<Instant>>,
}

/// For how long the size of messages is known after the last one. Other messages may follow a pause.
const KNOWN: Duration = Duration::from_secs(1);

impl Queue {
    fn new(keys: &Keys, name: &Arc<str>) -> Self {
        Queue {
            name: Arc::clone(name),
            tail: format!(r#","",{}]"#, serde_json::Value::from(&**name)),
            lists: keys.queue_lists(name),
            size: AtomicUsize::new(0),
            last: Mutex::default(),
        }
    }

    /// Notes the size of a message that was claimed.
    pub(super) fn saw(&self, size: usize) {
        let mean = match self.size() {
            0 => size,
            mean => mean - mean / 8 + size / 8,
        };
        self.size.store(mean, Ordering::Relaxed);
    }

    /// Notes that messages were claimed.
    pub(super) fn was_claimed(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns `true` if the size of the next messages is probably that of the last ones.
    pub(super) fn knows_size(&self, now: Instant) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| now.saturating_duration_since(last) < KNOWN)
    }

    /// Returns the mean size of the last messages, each of which counts more than those before it.
    /// 0: none has been claimed.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }
}

/// The queues that are consumed at a moment. A claim keeps it from its call to its answer, so that
/// both mean the same lists.
#[derive(Debug)]
pub(crate) struct Consumed {
    names: Names,
    pub(crate) queues: Vec<Arc<Queue>>,
    turns: Turns,
    steps: usize,
}

impl Consumed {
    /// Returns the number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.queues.len() * self.steps
    }

    /// Returns the lists in the order in which a claim empties them, as (place of the queue, key).
    /// As in kombu, all queues come at their most urgent step, then at the next one. Each turn has
    /// its own order of queues.
    pub(crate) fn claim_order(&self, turn: usize) -> impl Iterator<Item = (usize, &str)> + Clone {
        let queues = self.turns.order(turn);
        (0..self.steps).flat_map(move |step| {
            queues
                .clone()
                .map(move |queue| (queue, self.queues[queue].lists[step].as_str()))
        })
    }
}

/// Follows the list of queues, which remote control changes.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) list: Arc<Queues>,
    order: QueueOrder,
    latest: RwLock<Latest>,
}

#[derive(Clone, Debug)]
struct Latest {
    consumed: Arc<Consumed>,
    /// Every queue that was consumed. Messages of a queue that was cancelled may still be held.
    known: Vec<Arc<Queue>>,
}

impl Following {
    pub(super) fn new(keys: &Keys, list: &Arc<Queues>, order: &QueueOrder) -> Self {
        Following {
            list: Arc::clone(list),
            order: order.clone(),
            latest: RwLock::new(Latest::new(keys, list.names(), order, Vec::new())),
        }
    }

    /// Returns the queues that are consumed now.
    pub(super) fn consumed(&self, keys: &Keys) -> Arc<Consumed> {
        let names = self.list.names();
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&latest.consumed.names, &names) {
            return Arc::clone(&latest.consumed);
        }
        drop(latest);
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut latest.known);
        *latest = Latest::new(keys, names, &self.order, known);
        Arc::clone(&latest.consumed)
    }

    /// Returns the first queue that was ever consumed and fits.
    pub(super) fn find(&self, fits: impl Fn(&Queue) -> bool) -> Option<Arc<Queue>> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.known.iter().find(|queue| fits(queue)).cloned()
    }
}

impl Latest {
    fn new(keys: &Keys, names: Names, order: &QueueOrder, mut known: Vec<Arc<Queue>>) -> Self {
        let mut queues = Vec::with_capacity(names.len());
        for name in &*names {
            let of_before = known.iter().find(|queue| queue.name == *name).cloned();
            let queue = of_before.unwrap_or_else(|| {
                let queue = Arc::new(Queue::new(keys, name));
                known.push(Arc::clone(&queue));
                queue
            });
            queues.push(queue);
        }
        let consumed = Consumed {
            turns: Turns::new(&names, order),
            steps: keys.steps(),
            names,
            queues,
        };
        Latest {
            consumed: Arc::new(consumed),
            known,
        }
    }
}
