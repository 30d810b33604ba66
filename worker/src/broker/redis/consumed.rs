//! The lists of the queues that are consumed, in the order in which claims empty them.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use celery_protocol::redis_keys::Keys;

use crate::broker::options::QueueOrder;
use crate::broker::order::Turns;
use crate::broker::queues::{Groups, Names, Queues};

/// A queue that is or was consumed, or a group of a fair queue. A group has the name of its queue,
/// because a message that was claimed from it belongs to the queue, and lists of its own.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    /// The text that follows the message in its entry: `,"","<name>"]`. The exchange is always the
    /// anonymous one: kombu's restore silently drops a message whose named exchange has no binding.
    pub(crate) tail: String,
    /// The lists, one for each priority step, the most urgent first.
    lists: Vec<String>,
    /// The mean size of its last messages in bytes. Only the fetch role writes it.
    size: AtomicUsize,
    /// When its last message was claimed.
    last: Mutex<Option<Instant>>,
}

/// For how long the size of messages is known after the last one. Other messages may follow a pause.
const KNOWN: Duration = Duration::from_secs(1);

impl Queue {
    fn new(name: &Arc<str>, lists: Vec<String>) -> Self {
        Queue {
            name: Arc::clone(name),
            tail: format!(r#","",{}]"#, serde_json::Value::from(&**name)),
            lists,
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
    groups: Groups,
    /// The queues, and after each one its groups.
    pub(crate) queues: Vec<Arc<Queue>>,
    /// The places in `queues` of each named queue and its groups.
    places: Vec<Range<usize>>,
    turns: Turns,
    steps: usize,
}

impl Consumed {
    /// Returns the number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.queues.len() * self.steps
    }

    /// Returns the list to which messages of this one go back: that of the queue itself, from which
    /// they are sorted again. A group may be forgotten by then.
    pub(super) fn home<'l>(&'l self, place: usize, list: &'l str) -> &'l str {
        let lists = |place: usize| self.queues.get(place).map(|queue| &queue.lists);
        let own = self.places.iter().find(|places| places.contains(&place));
        let step = lists(place).and_then(|lists| lists.iter().position(|it| it == list));
        let home = own.and_then(|places| lists(places.start)?.get(step?));
        home.map_or(list, String::as_str)
    }

    /// Returns the lists in the order in which a claim empties them, as (place of the queue, key).
    /// As in kombu, all queues come at their most urgent step, then at the next one. Each turn has
    /// its own order of queues. Within a fair queue, each turn begins with another group: the queue's
    /// own lists count as one.
    pub(crate) fn claim_order(&self, turn: usize) -> impl Iterator<Item = (usize, &str)> + Clone {
        let queues = self.turns.order(turn);
        let round = turn / self.places.len().max(1);
        (0..self.steps).flat_map(move |step| {
            let groups = queues.clone().flat_map(move |queue| {
                let places = self.places[queue].clone();
                let count = places.len();
                (0..count).map(move |at| places.start + (round + at) % count)
            });
            groups.map(move |place| (place, self.queues[place].lists[step].as_str()))
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
            latest: RwLock::new(Latest::new(
                keys,
                (list.names(), list.groups()),
                order,
                None,
            )),
        }
    }

    /// Returns the queues that are consumed now.
    pub(super) fn consumed(&self, keys: &Keys) -> Arc<Consumed> {
        let (names, groups) = (self.list.names(), self.list.groups());
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        let consumed = &latest.consumed;
        if Arc::ptr_eq(&consumed.names, &names) && Arc::ptr_eq(&consumed.groups, &groups) {
            return Arc::clone(consumed);
        }
        drop(latest);
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        let next = Latest::new(keys, (names, groups), &self.order, Some(&*latest));
        *latest = next;
        Arc::clone(&latest.consumed)
    }

    /// Returns the first queue that was ever consumed and fits.
    pub(super) fn find(&self, fits: impl Fn(&Queue) -> bool) -> Option<Arc<Queue>> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.known.iter().find(|queue| fits(queue)).cloned()
    }
}

impl Latest {
    fn new(
        keys: &Keys,
        (names, groups): (Names, Groups),
        order: &QueueOrder,
        before: Option<&Latest>,
    ) -> Self {
        let mut known = before.map_or_else(Vec::new, |before| before.known.clone());
        let mut queues = Vec::with_capacity(names.len() + groups.len());
        let mut places = Vec::with_capacity(names.len());
        for name in &*names {
            let first = queues.len();
            let of_before = known.iter().find(|queue| queue.name == *name).cloned();
            let queue = of_before.unwrap_or_else(|| {
                let queue = Arc::new(Queue::new(name, keys.queue_lists(name)));
                known.push(Arc::clone(&queue));
                queue
            });
            queues.push(queue);
            for group in groups.iter().filter(|group| group.queue == *name) {
                let lists = keys.fair_group(name, group.number);
                // A group that goes on knows the size of its messages.
                let same = |queue: &&Arc<Queue>| queue.lists == lists;
                let of_before = before.and_then(|it| it.consumed.queues.iter().find(same));
                queues.push(match of_before {
                    Some(queue) => Arc::clone(queue),
                    None => Arc::new(Queue::new(name, lists)),
                });
            }
            places.push(first..queues.len());
        }
        let consumed = Consumed {
            turns: Turns::new(&names, order),
            steps: keys.steps(),
            names,
            groups,
            queues,
            places,
        };
        Latest {
            consumed: Arc::new(consumed),
            known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_queue_take_turns() {
        let keys = Keys::new("p:").with_priorities("0".parse().unwrap(), ":".parse().unwrap());
        let list = Arc::new(Queues::new(["a", "b"]));
        let following = Following::new(&keys, &list, &QueueOrder::RoundRobin);
        list.set_groups(&"a".into(), vec![0, 7]);
        let consumed = following.consumed(&keys);
        let order = |turn| {
            let lists = consumed.claim_order(turn).map(|(_, list)| list);
            lists.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(0), "p:a p:a.fair.0 p:a.fair.7 p:b");
        assert_eq!(order(1), "p:b p:a p:a.fair.0 p:a.fair.7");
        assert_eq!(order(2), "p:a.fair.0 p:a.fair.7 p:a p:b");
        assert_eq!(order(4), "p:a.fair.7 p:a p:a.fair.0 p:b");
        assert_eq!(order(6), order(0));
        // What is claimed from a group belongs to the queue.
        let of_group = consumed.claim_order(2).next().unwrap().0;
        assert_eq!(&*consumed.queues[of_group].name, "a");
        assert_eq!(consumed.queues[of_group].tail, consumed.queues[0].tail);
        assert_eq!(consumed.home(of_group, "p:a.fair.0"), "p:a");
        assert_eq!(consumed.home(3, "p:b"), "p:b");
        list.set_groups(&"a".into(), vec![7]);
        let after = following.consumed(&keys);
        assert!(Arc::ptr_eq(&after.queues[1], &consumed.queues[2]));
        assert_eq!((after.lists(), consumed.lists()), (3, 4));
    }
}
