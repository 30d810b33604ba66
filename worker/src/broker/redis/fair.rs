//! Sorts the messages of fair queues into groups, so that claims serve the keys of messages in turn.
//!
//! A queue on Redis is a list, whose messages are claimed in their order. Behind ten thousand messages
//! of one tenant, those of another one would wait. A fair queue therefore has further lists, its
//! groups: this role moves each message from the head of the queue's own list to the group of its key.
//! Each claim then begins after the group that was served last (see [`consumed`](super::consumed)).
//!
//! * A message is always in one list, because a script moves it in one step. A worker that is killed
//!   loses and doubles nothing, and nothing has to be restored.
//! * Claims also take from the queue's own list, in its turn. If no worker sorts, messages wait in
//!   their old order.
//! * Once claimed, a message of a group is like any other of the queue: it is given back and restored
//!   to the queue's own list, and sorted again.
//! * Workers may sort while others claim. The script moves what is at the head now, as far as this
//!   worker has read it before. One worker sorts a queue at a time, by a lease. That only saves work:
//!   if two do, nothing is moved twice.
//! * A key has a group while messages of it wait. There are at most [`MOST_FAIR_GROUPS`]; further keys
//!   share groups.
//! * A worker that does not sort a queue still empties its groups. Other workers may sort it, or have
//!   sorted it before the setting was removed. The sweep role looks for [such queues](Found).
//! * A worker that claims no more does not sort either.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use celery_client::aio::{Failure, Pipeline, Value, scripts};
use celery_client::redis::sha1;
use celery_protocol::message::Task;
use celery_protocol::redis_keys::MOST_FAIR_GROUPS;
use tokio::sync::Notify;

use super::answer::{bytes, number};
use super::session::Session;
use crate::broker::options::FairQueue;
use crate::failpoint::failpoint;
use crate::monitor::Pulse;
use crate::{Phase, Shutdown};

/// The most messages that one call moves.
const BATCH: usize = 250;

/// About how many bytes of messages are read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// The most calls for one queue before the others get their turn.
const ROUNDS: usize = 40;

/// How long a worker has the lease of a queue that it sorts. It is longer than the wait between two
/// looks, so that a worker keeps it while there is something to sort.
const LEASE: Duration = Duration::from_secs(1);

/// The wait between two looks: it grows to the longest while there is nothing to sort.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);

/// How often lists are looked for that are not in the hash of the groups.
const TRY: Duration = Duration::from_mins(1);

/// How often queues are looked for that have groups although this worker does not sort them.
pub(super) const LOOK: Duration = Duration::from_mins(1);

/// The digest of the key of messages that cannot be read.
const UNREADABLE: &str = "unreadable";

/// The queues that have groups although this worker does not sort them. The sweep role finds them.
#[derive(Debug, Default)]
pub(super) struct Found {
    queues: Mutex<BTreeSet<Arc<str>>>,
    /// Notified when a queue was found.
    more: Notify,
}

impl Found {
    fn queues(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        // A thread that panics while it holds the lock cannot leave the set half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, queue: Arc<str>) {
        self.queues().insert(queue);
        self.more.notify_one();
    }

    fn remove(&self, queue: &str) {
        self.queues().remove(queue);
    }

    fn all(&self) -> Vec<Arc<str>> {
        self.queues().iter().cloned().collect()
    }
}

/// Sorts the messages of these queues, and follows the groups of all queues. Ends when the worker
/// claims no more.
pub(super) async fn sort(
    session: Session,
    queues: Vec<FairQueue>,
    found: Arc<Found>,
    pulse: Arc<Pulse>,
    shutdown: Shutdown,
) {
    let mut sorting = Sorting {
        session,
        shutdown,
        tried: None,
    };
    let mut wait = SHORTEST;
    while sorting.shutdown.is_running() {
        let others = found.all();
        if queues.is_empty() && others.is_empty() {
            let more = async {
                tokio::select! {
                    () = found.more.notified() => {}
                    () = sorting.shutdown.reached(Phase::Draining) => {}
                }
            };
            pulse.idle(more).await;
            continue;
        }
        let moved = sorting.round(&queues, &others, &found).await;
        wait = if moved > 0 {
            SHORTEST
        } else {
            (wait * 2).min(LONGEST)
        };
        let pause = async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = sorting.shutdown.reached(Phase::Draining) => {}
            }
        };
        pulse.idle(pause).await;
    }
}

/// The role that sorts.
struct Sorting {
    session: Session,
    shutdown: Shutdown,
    /// When lists were last looked for that are not in the hash of the groups.
    tried: Option<Instant>,
}

impl Sorting {
    /// Sorts these queues and follows the groups of others. Returns how many messages were moved.
    async fn round(&mut self, queues: &[FairQueue], others: &[Arc<str>], found: &Found) -> usize {
        // The hash of the groups may have been deleted by hand.
        let tries = self.tried.is_none_or(|then| then.elapsed() >= TRY);
        if tries {
            self.tried = Some(Instant::now());
        }
        let session = &mut self.session;
        let mut moved = 0;
        let consumed = session.layout.queues().names();
        // A queue that was cancelled is left to the workers that still consume it.
        for queue in queues.iter().filter(|it| consumed.contains(&it.name)) {
            let lists = Lists::of(session, &queue.name);
            moved += session.sort_queue(queue, &lists, &self.shutdown).await;
            session.follow_groups(&queue.name, &lists, tries).await;
        }
        for queue in others {
            let is_sorted = queues.iter().any(|sorted| sorted.name == *queue);
            let is_followed = !is_sorted && consumed.contains(queue) && {
                let lists = Lists::of(session, queue);
                session.follow_groups(queue, &lists, false).await
            };
            if !is_followed {
                found.remove(queue);
            }
        }
        moved
    }
}

/// The names of the lists of a fair queue.
struct Lists {
    /// Its own, the most urgent first.
    own: Vec<String>,
    /// The hash of its groups.
    groups: String,
    /// The lease of the worker that sorts it.
    sorter: String,
    /// What the names of the lists of groups begin with.
    before: String,
    /// What follows the number, for each priority step.
    after: Vec<String>,
}

impl Lists {
    fn of(session: &Session, queue: &str) -> Self {
        let keys = &session.layout.keys;
        Lists {
            groups: keys.fair(queue),
            sorter: keys.fair_sorter(queue),
            before: keys.fair_lists(queue),
            after: keys.step_suffixes(),
            own: keys.queue_lists(queue),
        }
    }
}

impl Session {
    /// Moves messages to their groups, and returns their number.
    async fn sort_queue(&mut self, queue: &FairQueue, lists: &Lists, shutdown: &Shutdown) -> usize {
        let mut all = 0;
        for _ in 0..ROUNDS {
            let (step, messages) = self.peek(lists).await;
            if messages.is_empty() || !shutdown.is_running() {
                break;
            }
            failpoint!("fair_sort");
            let moved = self.move_to_groups(queue, lists, step, &messages).await;
            failpoint!("fair_sorted");
            if moved == 0 {
                break;
            }
            all += moved;
        }
        all
    }

    /// Returns the messages at the head of the most urgent list that has any, and its step. While
    /// another worker sorts the queue, there are none.
    async fn peek(&mut self, lists: &Lists) -> (usize, Vec<Vec<u8>>) {
        let count = lists.own.len();
        let mut call = scripts::call(&scripts::FAIR_PEEK, count + 1, count + 5, 64 * count);
        call.arg(&lists.own).arg(&lists.sorter);
        call.arg(BATCH).arg(BATCH_BYTES);
        call.arg(self.layout.instance()).arg(LEASE.as_millis());
        let read = |value| {
            let Value::Array(items) = value else {
                return None;
            };
            let mut items = items.into_iter();
            let Some(step) = items.next() else {
                return Some((0, Vec::new()));
            };
            let step = number(&step)?.checked_sub(1)?;
            Some((step, items.filter_map(bytes).collect()))
        };
        let peeked = self.until_told(&scripts::FAIR_PEEK, &call, read, "fair_peek");
        match peeked.await {
            Ok((found, _)) => found,
            Err(refused) => {
                warn(&lists.groups, &refused);
                (0, Vec::new())
            }
        }
    }

    /// Moves those of these messages that are still in the list. Returns how many were moved.
    async fn move_to_groups(
        &mut self,
        queue: &FairQueue,
        lists: &Lists,
        step: usize,
        messages: &[Vec<u8>],
    ) -> usize {
        let (Some(list), Some(after)) = (lists.own.get(step), lists.after.get(step)) else {
            return 0;
        };
        let arguments = 5 + 2 * messages.len();
        let mut call = scripts::call(&scripts::FAIR_SORT, 2, arguments, 80 * arguments);
        call.arg(list).arg(&lists.groups);
        call.arg(&lists.before).arg(after).arg(MOST_FAIR_GROUPS);
        for message in messages {
            let key = Task::decode_redis(message).map(|task| queue.key(&task));
            call.arg(sha1(message));
            match &key {
                Ok(key) => call.arg(&**key),
                // The claim that takes it says what is wrong.
                Err(_) => call.arg(UNREADABLE),
            };
        }
        let read = |value| number(&value);
        let moved = self.until_told(&scripts::FAIR_SORT, &call, read, "fair_sort");
        match moved.await {
            Ok((moved, _)) => moved,
            Err(refused) => {
                warn(&lists.groups, &refused);
                0
            }
        }
    }

    /// Consumes the groups that have messages, and no others. Returns `true` if there is one.
    ///
    /// With `tries`, also those whose lists exist although the hash does not have them. A group that
    /// cannot be read now is consumed if it was consumed before.
    async fn follow_groups(&mut self, queue: &Arc<str>, lists: &Lists, tries: bool) -> bool {
        let arguments = 4 + lists.after.len();
        let mut call = scripts::call(&scripts::FAIR_GROUPS, 1, arguments, 64 * arguments);
        let tried = if tries { MOST_FAIR_GROUPS } else { 0 };
        call.arg(&lists.groups).arg(&lists.before);
        call.arg(tried).arg(MOST_FAIR_GROUPS).arg(&lists.after);
        let groups = self.until_told(&scripts::FAIR_GROUPS, &call, read_groups, "fair_groups");
        match groups.await {
            Ok((
                Groups {
                    mut kept,
                    unread,
                    why,
                },
                _,
            )) => {
                if !unread.is_empty() {
                    tracing::debug!("Groups of {} cannot be read: {why}", lists.groups);
                }
                let queues = self.layout.queues();
                let before = queues.groups();
                let is_consumed = |number: &u16| {
                    let mut of_queue = before.iter().filter(|group| group.queue == *queue);
                    of_queue.any(|group| group.number == *number)
                };
                kept.extend(unread.into_iter().filter(is_consumed));
                let any = !kept.is_empty();
                queues.set_groups(queue, kept);
                any
            }
            Err(refused) => {
                warn(&lists.groups, &refused);
                false
            }
        }
    }

    /// Looks for consumed queues that have groups.
    pub(super) async fn look_for_groups(&mut self, found: &Found) -> Result<(), Failure> {
        let names = self.layout.queues().names();
        if names.is_empty() {
            return Ok(());
        }
        let mut looks = Pipeline::new();
        for name in &*names {
            looks.cmd("EXISTS").arg(self.layout.keys.fair(name));
        }
        let answers = self.link.connection().await.each(&looks).await;
        for (name, answer) in names.iter().zip(self.noted(answers)?) {
            match answer {
                Ok(Value::Int(1)) => found.add(Arc::clone(name)),
                Err(refused) if refused.is_lasting() => {
                    warn(&self.layout.keys.fair(name), &refused);
                }
                // The next look tells.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The groups of a queue, by their numbers.
struct Groups {
    kept: Vec<u16>,
    /// Those whose lists could not be read.
    unread: Vec<u16>,
    why: String,
}

fn read_groups(value: Value) -> Option<Groups> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let mut numbers = || {
        let Value::Array(items) = parts.next()? else {
            return None;
        };
        let numbers = items.iter().map(|item| u16::try_from(number(item)?).ok());
        numbers.collect::<Option<Vec<u16>>>()
    };
    let (kept, unread) = (numbers()?, numbers()?);
    let why = String::from_utf8_lossy(&bytes(parts.next()?)?).into_owned();
    Some(Groups { kept, unread, why })
}

/// Logs, once, that Redis refuses to sort.
fn warn(groups: &str, refused: &Failure) {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        tracing::warn!(
            "The messages of a fair queue are taken in their order, because Redis refuses to sort \
             them or to name its groups ({groups}): {refused}"
        );
    });
}

#[cfg(test)]
mod tests {
    use celery_protocol::redis_keys::Keys;
    use celery_testkit::{RedisOptions, wait_for};

    use super::*;
    use crate::broker::QueueOrder;
    use crate::broker::redis::layout::testing::connector;

    const PATIENCE: Duration = Duration::from_mins(1);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_stops_does_not_sort() {
        let redis = RedisOptions::new().start().unwrap();
        let length = |list: &str| redis.cli(&["LLEN", list]).unwrap().trim().to_owned();
        redis.cli(&["LPUSH", "q", "{1}"]).unwrap();
        let connector = connector(&redis, Keys::default(), &["q"], &QueueOrder::Priority);
        let queues = vec![FairQueue::new("q", |_| "aa".into())];
        let shutdown = Shutdown::new();
        let role = sort(
            connector.session("fair"),
            queues,
            Arc::default(),
            Arc::default(),
            shutdown.clone(),
        );
        let role = tokio::spawn(role);
        wait_for(PATIENCE, "a sorted message", || length("q.fair.0") == "1").unwrap();
        shutdown.advance(Phase::Draining);
        tokio::time::timeout(PATIENCE, role).await.unwrap().unwrap();
        redis.cli(&["LPUSH", "q", "{2}"]).unwrap();
        assert_eq!(length("q"), "1");
    }
}
