//! Sorts the messages of fair queues into groups, so that claims serve the keys of messages in turn.
//!
//! A queue on Redis is a list, whose messages are claimed in their order. Behind ten thousand messages
//! of one tenant, those of another one would wait. A fair queue therefore has further lists, its
//! groups: this role moves each message from the head of the queue's own list to the group of its key.
//! A claim then begins with another group each time (see [`consumed`](super::consumed)).
//!
//! * A message is always in one list, because a script moves it in one step. A worker that is killed
//!   loses and doubles nothing, and nothing has to be restored.
//! * Claims also take from the queue's own list, in its turn. If no worker sorts, messages wait in
//!   their old order.
//! * Once claimed, a message of a group is like any other of the queue: it is given back and restored
//!   to the queue's own list, and sorted again.
//! * Any number of workers may sort at once, while others claim. The script moves what is at the head
//!   now, as far as this worker has read it before.
//! * A key has a group while messages of it wait. There are at most [`MOST_GROUPS`]; further keys
//!   share groups.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use celery_client::aio::{Failure, Value, scripts};
use celery_client::redis::sha1;
use celery_protocol::message::Task;

use super::answer::{bytes, number};
use super::session::Session;
use crate::broker::options::FairQueue;
use crate::failpoint::failpoint;
use crate::monitor::Pulse;

/// The most groups of a queue. Each claim names the lists of all groups with messages.
const MOST_GROUPS: usize = 128;

/// The most messages that one call moves.
const BATCH: usize = 250;

/// About how many bytes of messages are read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// The most calls for one queue before the others get their turn.
const ROUNDS: usize = 40;

/// The wait between two looks: it grows to the longest while there is nothing to sort.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);

/// How often lists are looked for that are not in the hash of the groups.
const TRY: Duration = Duration::from_mins(1);

/// The digest of the key of messages that cannot be read.
const UNREADABLE: &str = "unreadable";

/// Sorts the messages of these queues, again and again. Does not return.
pub(super) async fn sort(mut session: Session, queues: Vec<FairQueue>, pulse: Arc<Pulse>) {
    session.connect().await;
    let (mut wait, mut tried) = (SHORTEST, None::<Instant>);
    loop {
        // The hash of the groups may have been deleted by hand.
        let tries = tried.is_none_or(|then| then.elapsed() >= TRY);
        if tries {
            tried = Some(Instant::now());
        }
        let mut moved = 0;
        let consumed = session.layout.queues().names();
        // A queue that was cancelled is left to the workers that still consume it.
        for queue in queues.iter().filter(|it| consumed.contains(&it.name)) {
            let lists = Lists::of(&session, queue);
            moved += session.sort_queue(queue, &lists).await;
            session.follow_groups(queue, &lists, tries).await;
        }
        wait = if moved > 0 {
            SHORTEST
        } else {
            (wait * 2).min(LONGEST)
        };
        pulse.idle(tokio::time::sleep(wait)).await;
    }
}

/// The names of the lists of a fair queue.
struct Lists {
    /// Its own, the most urgent first.
    own: Vec<String>,
    /// The hash of its groups.
    groups: String,
    /// What the names of the lists of groups begin with.
    before: String,
    /// What follows the number, for each priority step.
    after: Vec<String>,
}

impl Lists {
    fn of(session: &Session, queue: &FairQueue) -> Self {
        let keys = &session.layout.keys;
        let own = keys.queue_lists(&queue.name);
        let first = own.first().map_or(0, String::len);
        let after = own.iter().map(|list| list.get(first..).unwrap_or_default());
        Lists {
            groups: keys.fair(&queue.name),
            before: keys.fair_lists(&queue.name),
            after: after.map(str::to_owned).collect(),
            own,
        }
    }
}

impl Session {
    /// Moves messages to their groups, and returns their number.
    async fn sort_queue(&mut self, queue: &FairQueue, lists: &Lists) -> usize {
        let mut all = 0;
        for _ in 0..ROUNDS {
            let (step, messages) = self.peek(lists).await;
            if messages.is_empty() {
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

    /// Returns the messages at the head of the most urgent list that has any, and its step.
    async fn peek(&mut self, lists: &Lists) -> (usize, Vec<Vec<u8>>) {
        let count = lists.own.len();
        let mut call = scripts::call(&scripts::FAIR_PEEK, count, count + 2, 64 * count);
        call.arg(&lists.own).arg(BATCH).arg(BATCH_BYTES);
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
        call.arg(&lists.before).arg(after).arg(MOST_GROUPS);
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

    /// Consumes the groups that have messages, and no others.
    ///
    /// With `tries`, also those whose lists exist although the hash does not have them.
    async fn follow_groups(&mut self, queue: &FairQueue, lists: &Lists, tries: bool) {
        let arguments = 3 + lists.after.len();
        let mut call = scripts::call(&scripts::FAIR_GROUPS, 1, arguments, 64 * arguments);
        let tried = if tries { MOST_GROUPS } else { 0 };
        call.arg(&lists.groups).arg(&lists.before);
        call.arg(tried).arg(&lists.after);
        let read = |value| {
            let Value::Array(items) = value else {
                return None;
            };
            let numbers = items.iter().map(|item| u16::try_from(number(item)?).ok());
            numbers.collect::<Option<Vec<u16>>>()
        };
        let groups = self.until_told(&scripts::FAIR_GROUPS, &call, read, "fair_groups");
        match groups.await {
            Ok((groups, _)) => {
                let queues = self.layout.queues();
                queues.set_groups(&queue.name, groups);
            }
            Err(refused) => warn(&lists.groups, &refused),
        }
    }
}

/// Logs, once, that Redis refuses to sort.
fn warn(groups: &str, refused: &Failure) {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        tracing::warn!(
            "The messages of a fair queue are taken in their order, because Redis refuses to sort \
             them ({groups}): {refused}"
        );
    });
}
