//! Takes and frees the locks of unique tasks.
//!
//! A lock belongs to a held message: [`LOCK`](scripts::LOCK) looks for its tag in the index of the
//! held messages. So a lock is free in the same step in which its message is settled, given back or
//! restored, whichever worker or version does that.

use std::time::Duration;

use celery_client::aio::{Cmd, Value, scripts};
use celery_protocol::duration::LONGEST;

use super::answer::bytes;
use super::session::Session;
use crate::broker::lock::{Lock, Locked, Locking};
use crate::broker::tag::Tag;

/// How many seconds a lock is stored beyond the time that its call waits: a week. The settlement
/// removes it, so only what dead workers have left expires.
const KEPT: u64 = 604_800;

/// The most calls in one request.
const MOST_CALLS: usize = 250;

/// A call of the script.
struct Call<'a> {
    word: &'static str,
    tag: Tag,
    id: &'a str,
    lock: &'a Lock,
    wait: Duration,
    time: Option<Duration>,
}

impl Session {
    pub(super) async fn take_locks(&mut self, calls: &[Locking<'_>]) -> Vec<Locked> {
        let calls = calls.iter().map(|call| Call {
            word: "take",
            tag: call.tag,
            id: call.id,
            lock: call.lock,
            wait: call.wait,
            time: call.time,
        });
        self.run_locks(&calls.collect::<Vec<_>>()).await
    }

    pub(super) async fn free_locks(&mut self, locks: &[(Tag, Lock)]) {
        let calls = locks.iter().map(|(tag, lock)| Call {
            word: "free",
            tag: *tag,
            id: "",
            lock,
            wait: Duration::ZERO,
            time: None,
        });
        self.run_locks(&calls.collect::<Vec<_>>()).await;
    }

    async fn run_locks(&mut self, calls: &[Call<'_>]) -> Vec<Locked> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(MOST_CALLS) {
            let call = self.lock_call(calls);
            let read = |value| read(value, calls.len());
            answers.extend(self.insist(&scripts::LOCK, &call, read, "lock").await);
        }
        answers
    }

    fn lock_call(&self, calls: &[Call<'_>]) -> Cmd {
        let layout = &*self.layout;
        let count = 2 + 6 * calls.len();
        let mut cmd = scripts::call(&scripts::LOCK, 1 + calls.len(), count, 40 * count);
        cmd.arg(&layout.index);
        for call in calls {
            cmd.arg(layout.keys.unique(&call.lock.task, &call.lock.digest));
        }
        cmd.arg(KEPT);
        for call in calls {
            cmd.arg(call.word)
                .arg(layout.tag(call.tag))
                .arg(call.id)
                .arg(micros(call.wait))
                .arg(micros(call.time.unwrap_or_default()));
        }
        cmd
    }
}

/// Returns a time in microseconds, as far as a script can count.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.min(LONGEST).as_micros()).unwrap_or_default()
}

/// Reads the answers of the script.
fn read(value: Value, count: usize) -> Option<Vec<Locked>> {
    let Value::Array(items) = value else {
        return None;
    };
    let answer = |item: Value| match item {
        Value::Nil | Value::Boolean(false) => Some(Locked::Lost),
        item => Some(match String::from_utf8(bytes(item)?).ok()? {
            id if id.is_empty() => Locked::Ours,
            id => Locked::Taken(id),
        }),
    };
    let answers: Option<Vec<Locked>> = items.into_iter().map(answer).collect();
    answers.filter(|answers| answers.len() == count)
}
