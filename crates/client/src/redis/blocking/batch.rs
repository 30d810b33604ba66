//! Posting a batch of tasks in one round trip.
//!
//! Tasks that follow one another to one list share commands: `LPUSH` takes many values, which costs
//! Redis half as much as a command for each value. Redis executes a command as a whole or not at
//! all, so the tasks of one command share their outcome. [`Publish::Once`] needs a command for each
//! task.
//!
//! `attempt` says when a post is repeated. A repeat writes only the tasks that are still open.

use super::Client;
use super::attempt::{Next, Open, Publish, Try};
use super::client::backoff;
use super::link::Link;
use super::outgoing::{Outgoing, share_list};
use super::post::{pack, pack_binding, pack_pushes, read_answer};
use super::replicas;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::PublishError;

/// A command ends when its messages have this many bytes, and the packed commands are then written.
/// Redis then works on the first tasks while the last are encoded.
const CHUNK: usize = 64 << 10;
/// Bytes that are counted for each message in addition to its own. They bound the number of
/// messages in a command.
const FRAME: usize = 16;

/// A command that was packed.
struct Packed {
    /// The position of its end.
    end: u64,
    /// Whether a binding precedes it.
    bound: bool,
    /// The number of tasks that it posts.
    tasks: usize,
}

impl Client {
    /// Posts tasks in one round trip. Returns an outcome for each task, in their order.
    pub fn publish_batch(
        &mut self,
        posts: &[impl Outgoing],
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let open = posts.iter().map(|_| Open::default()).collect();
        self.publish_open(posts, open, mode, wait)
    }

    /// Posts tasks like [`publish_batch`](Self::publish_batch). `open` has what is known about each
    /// of them from an earlier attempt.
    pub(super) fn publish_open(
        &mut self,
        posts: &[impl Outgoing],
        open: Vec<Open>,
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let mut outcomes: Vec<Result<(), PublishError>> = posts.iter().map(|_| Ok(())).collect();
        let mut open: Vec<(usize, Open)> = open.into_iter().enumerate().collect();
        let mut backoff = backoff();
        let mut load = false;
        while !open.is_empty() {
            let pending: Vec<_> = open.iter().map(|(index, _)| &posts[*index]).collect();
            let tries = match self.acquire_quiet(wait) {
                Ok(link) => self.try_all(link, &pending, mode, load, wait),
                Err(error) => vec![Try::not_connected(error); pending.len()],
            };
            let mut again = false;
            load = false;
            let mut still_open = Vec::new();
            for ((index, mut task), tried) in open.drain(..).zip(tries) {
                let task_id = posts[index].task_id();
                match task.after(tried, mode, self.endpoint(), task_id) {
                    Next::Done => continue,
                    Next::Fail(error) => {
                        outcomes[index] = Err(error);
                        continue;
                    }
                    Next::Load => load = true,
                    Next::Again => again = true,
                }
                still_open.push((index, task));
            }
            open = still_open;
            if again && let Err(ended) = wait.back_off(&mut backoff) {
                for (index, task) in open.drain(..) {
                    let task_id = posts[index].task_id();
                    outcomes[index] = Err(task.ended(&ended, wait, task_id));
                }
            }
        }
        outcomes
    }

    /// Writes these tasks and reads their answers.
    fn try_all(
        &mut self,
        mut link: Box<Link>,
        posts: &[&impl Outgoing],
        mode: Publish,
        mut load: bool,
        wait: &mut Wait<'_>,
    ) -> Vec<Try> {
        let mut packed: Vec<Packed> = Vec::new();
        let mut failure = None;
        let mut rest = posts;
        while let Some(first) = rest.first() {
            let bound = pack_binding(&mut link, self.keys(), first.queue());
            let tasks = match mode {
                Publish::Confirmed => in_one_command(rest),
                Publish::Once => 1,
            };
            let (now, later) = rest.split_at(tasks);
            let end = match mode {
                Publish::Confirmed => pack_pushes(&mut link.wire, self.keys(), now),
                Publish::Once => {
                    // The first EVAL loads the script for the tasks after it.
                    let load = std::mem::take(&mut load);
                    pack(*first, &mut link.wire, self.keys(), mode, load)
                }
            };
            packed.push(Packed { end, bound, tasks });
            rest = later;
            if link.wire.unsent() >= CHUNK
                && let Err(error) = link.wire.flush(&mut mode.step(wait))
            {
                failure = Some(error);
                break;
            }
        }
        let wanted = self.options.replicas;
        let question = replicas::question(wanted, wait, mode);
        if let Some(question) = &question {
            link.wire.pack(question);
        }
        if failure.is_none() {
            failure = link.wire.flush(&mut mode.step(wait)).err();
        }
        let mut tries = Vec::with_capacity(posts.len());
        for Packed { end, bound, tasks } in packed {
            let answer = match &failure {
                None => read_answer(&mut link, bound, &mut mode.step(wait)),
                Some(error) => Err(error.clone()),
            };
            let tried = answer.unwrap_or_else(|error| {
                let tried = Try::unanswered(link.wire.has_sent(end), error.clone());
                failure = Some(error);
                tried
            });
            tries.extend(std::iter::repeat_n(tried, tasks));
        }
        if failure.is_none() && question.is_some() {
            let what = "the answer of the replicas";
            let answer = link.wire.answer(Shape::Short, &mut mode.step(wait), what);
            let confirmed = match answer {
                Ok(answer) => replicas::check(&mut link, wanted, answer),
                Err(error) => {
                    failure = Some(error.clone());
                    Err(error)
                }
            };
            if let Err(error) = confirmed {
                for tried in tries.iter_mut().filter(|tried| matches!(tried, Try::Done)) {
                    *tried = Try::Unconfirmed(error.clone());
                }
            }
        }
        if let Some(error) = failure {
            // Tasks after a failed write were not even packed.
            tries.extend(rest.iter().map(|_| Try::NotSent(error.clone())));
        } else {
            let done = posts.iter().zip(&tries);
            let done = done.filter(|(_, tried)| matches!(tried, Try::Done));
            self.announce(&mut link, done.map(|(post, _)| *post), wait);
            self.keep(link);
        }
        tries
    }
}

/// Returns how many of the first posts one command takes: those to the list of the first one, up to
/// a [`CHUNK`]. A larger message has a command of its own.
fn in_one_command(posts: &[&impl Outgoing]) -> usize {
    let mut bytes = 0;
    let fits = posts.iter().take_while(|post| {
        let is_first = bytes == 0;
        bytes += post.size() + FRAME;
        is_first || (bytes <= CHUNK && share_list(**post, posts[0]))
    });
    fits.count()
}
