//! The lists of the queues that are consumed, in the order in which claims empty them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
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
    /// Its place in the turns of its queue.
    rank: u32,
    /// For each priority step, the rank of the lists that last gave messages. Only the fetch role
    /// writes it, and only for the queue itself.
    served: Vec<AtomicU32>,
    /// The mean size of its last messages in bytes. Only the fetch role writes it.
    size: AtomicUsize,
    /// When its last message was claimed.
    last: Mutex<Option<Instant>>,
}

/// For how long the size of messages is known after the last one. Other messages may follow a pause.
const KNOWN: Duration = Duration::from_secs(1);

/// The rank of a queue's own lists. The groups follow by their numbers.
const OWN: u32 = 0;

/// The rank behind all groups: no list has given messages yet.
const LAST: u32 = u32::MAX;

impl Queue {
    fn new(name: &Arc<str>, lists: Vec<String>, rank: u32) -> Self {
        let served = lists.iter().map(|_| AtomicU32::new(LAST)).collect();
        Queue {
            rank,
            served,
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
    /// its own order of queues. Within a fair queue, the list after the last one that gave messages
    /// comes first: the queue's own list, then those of its groups.
    ///
    /// The order stays the same until [`served`](Self::served) is called.
    pub(crate) fn claim_order(&self, turn: usize) -> impl Iterator<Item = (usize, &str)> + Clone {
        let queues = self.turns.order(turn);
        (0..self.steps).flat_map(move |step| {
            let groups = queues.clone().flat_map(move |queue| {
                let places = self.places[queue].clone();
                let first = self.first(&places, step);
                (first..places.end).chain(places.start..first)
            });
            groups.map(move |place| (place, self.queues[place].lists[step].as_str()))
        })
    }

    /// Returns the place of a queue and its groups whose turn it is at a priority step.
    fn first(&self, places: &Range<usize>, step: usize) -> usize {
        let all = &self.queues[places.clone()];
        let [queue, _, ..] = all else {
            return places.start;
        };
        let served = queue.served[step].load(Ordering::Relaxed);
        let next = all.iter().position(|group| group.rank > served);
        places.start + next.unwrap_or(0)
    }

    /// Notes that messages were taken from this list, so that the next group has its turn. Each
    /// priority step has turns of its own: otherwise, urgent messages of some groups could take up
    /// the turns of others.
    pub(super) fn served(&self, place: usize, list: &str) {
        let groups = |places: &&Range<usize>| places.len() > 1 && places.contains(&place);
        let Some(places) = self.places.iter().find(groups) else {
            return;
        };
        let (queue, group) = (&self.queues[places.start], &self.queues[place]);
        if let Some(step) = group.lists.iter().position(|it| it == list) {
            queue.served[step].store(group.rank, Ordering::Relaxed);
        }
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
        // A claim that named a list twice would take its messages twice. A group whose list is also
        // that of a queue belongs to that queue.
        let own = names.iter().flat_map(|name| keys.queue_lists(name));
        let mut taken: HashSet<String> = own.collect();
        for name in &*names {
            let first = queues.len();
            let of_before = known.iter().find(|queue| queue.name == *name).cloned();
            let queue = of_before.unwrap_or_else(|| {
                let queue = Arc::new(Queue::new(name, keys.queue_lists(name), OWN));
                known.push(Arc::clone(&queue));
                queue
            });
            queues.push(queue);
            for group in groups.iter().filter(|group| group.queue == *name) {
                let lists = keys.fair_group(name, group.number);
                if lists.iter().any(|list| taken.contains(list)) {
                    continue;
                }
                taken.extend(lists.iter().cloned());
                // A group that goes on knows the size of its messages.
                let same = |queue: &&Arc<Queue>| queue.lists == lists;
                let of_before = before.and_then(|it| it.consumed.queues.iter().find(same));
                queues.push(match of_before {
                    Some(queue) => Arc::clone(queue),
                    None => Arc::new(Queue::new(name, lists, OWN + 1 + u32::from(group.number))),
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

    fn following(names: &[&str], order: &QueueOrder) -> (Keys, Arc<Queues>, Following) {
        let keys = Keys::new("p:").with_priorities("0,5".parse().unwrap(), ":".parse().unwrap());
        let list = Arc::new(Queues::new(names));
        let following = Following::new(&keys, &list, order);
        (keys, list, following)
    }

    /// Returns the most urgent lists in the order of a turn.
    fn urgent(consumed: &Consumed, turn: usize) -> String {
        let lists = consumed.claim_order(turn).take(consumed.queues.len());
        lists.map(|(_, list)| list).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_groups_of_a_queue_take_turns() {
        let (keys, list, following) = following(&["a", "b"], &QueueOrder::RoundRobin);
        list.set_groups(&"a".into(), vec![0, 7]);
        let consumed = following.consumed(&keys);
        let serve = |place, list| consumed.served(place, list);
        assert_eq!(urgent(&consumed, 0), "p:a p:a.fair.0 p:a.fair.7 p:b");
        assert_eq!(urgent(&consumed, 2), urgent(&consumed, 0));
        serve(0, "p:a");
        assert_eq!(urgent(&consumed, 0), "p:a.fair.0 p:a.fair.7 p:a p:b");
        assert_eq!(urgent(&consumed, 1), "p:b p:a.fair.0 p:a.fair.7 p:a");
        // The turns of a priority say nothing about those of another one.
        serve(2, "p:a.fair.7:5");
        assert_eq!(urgent(&consumed, 0), "p:a.fair.0 p:a.fair.7 p:a p:b");
        serve(1, "p:a.fair.0");
        assert_eq!(urgent(&consumed, 0), "p:a.fair.7 p:a p:a.fair.0 p:b");
        serve(3, "p:b");
        // What is claimed from a group belongs to the queue.
        let of_group = consumed.claim_order(2).next().unwrap().0;
        assert_eq!(&*consumed.queues[of_group].name, "a");
        assert_eq!(consumed.queues[of_group].tail, consumed.queues[0].tail);
        assert_eq!(consumed.home(of_group, "p:a.fair.7"), "p:a");
        assert_eq!(consumed.home(3, "p:b"), "p:b");
        // Groups come and go without a change of the turn.
        list.set_groups(&"a".into(), vec![3, 7]);
        let after = following.consumed(&keys);
        assert!(Arc::ptr_eq(&after.queues[2], &consumed.queues[2]));
        assert_eq!(urgent(&after, 0), "p:a.fair.3 p:a.fair.7 p:a p:b");
        list.set_groups(&"a".into(), vec![0]);
        let after = following.consumed(&keys);
        assert_eq!(urgent(&after, 0), "p:a p:a.fair.0 p:b");
        assert_eq!((after.lists(), consumed.lists()), (6, 8));
    }

    #[test]
    fn each_group_has_its_turn_whatever_the_weights() {
        let weights = [("a".to_owned(), 3), ("b".to_owned(), 1)].into();
        for order in [
            QueueOrder::Weighted(weights),
            QueueOrder::Priority,
            QueueOrder::RoundRobin,
        ] {
            for fair in ["a", "b"] {
                let (keys, list, following) = following(&["a", "b"], &order);
                list.set_groups(&fair.into(), vec![0, 1, 2]);
                let consumed = following.consumed(&keys);
                // Every list has messages, and each claim takes one.
                let mut served = HashSet::new();
                for turn in 0..40 {
                    let (place, list) = consumed.claim_order(turn).next().unwrap();
                    consumed.served(place, list);
                    served.insert(list);
                }
                assert_eq!(served.len(), 5, "{order:?} {fair} {served:?}");
            }
        }
    }

    #[test]
    fn no_list_is_named_twice() {
        let (keys, list, following) = following(&["a", "a.fair.1"], &QueueOrder::RoundRobin);
        list.set_groups(&"a".into(), vec![1, 2, 2]);
        let consumed = following.consumed(&keys);
        assert_eq!(urgent(&consumed, 0), "p:a p:a.fair.2 p:a.fair.1");
        let queue = consumed.claim_order(0).nth(2).unwrap().0;
        assert_eq!(&*consumed.queues[queue].name, "a.fair.1");
    }
}
