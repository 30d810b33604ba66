//! Posting a batch of tasks in one round trip.
//!
//! `attempt` says when a post is repeated. A repeat writes only the tasks that are still open.

use super::Client;
use super::attempt::{Next, Open, Publish, Try};
use super::client::backoff;
use super::link::Link;
use super::post::{Post, pack_binding, read_answer};
use super::replicas;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::PublishError;

/// Packed bytes after which a batch begins to be written. Redis then works on the first tasks while
/// the last are packed.
const CHUNK: usize = 64 << 10;

impl Client {
    /// Posts tasks in one round trip. Returns an outcome for each task, in their order.
    pub fn publish_batch(
        &mut self,
        posts: &[impl AsRef<Post>],
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let mut outcomes: Vec<Result<(), PublishError>> = posts.iter().map(|_| Ok(())).collect();
        let mut open: Vec<(usize, Open)> = (0..posts.len())
            .map(|index| (index, Open::default()))
            .collect();
        let mut backoff = backoff();
        let mut load = false;
        while !open.is_empty() {
            let pending = open.iter().map(|(index, _)| posts[*index].as_ref());
            let tries = match self.acquire_quiet(wait) {
                Ok(link) => self.try_all(link, pending, mode, load, wait),
                Err(error) => pending.map(|_| Try::not_connected(error.clone())).collect(),
            };
            let mut again = false;
            load = false;
            let mut still_open = Vec::new();
            for ((index, mut task), tried) in open.drain(..).zip(tries) {
                let task_id = &posts[index].as_ref().task_id;
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
                    let task_id = &posts[index].as_ref().task_id;
                    outcomes[index] = Err(task.ended(&ended, wait, task_id));
                }
            }
        }
        outcomes
    }

    /// Writes these tasks and reads their answers.
    fn try_all<'p>(
        &mut self,
        mut link: Box<Link>,
        posts: impl Iterator<Item = &'p Post>,
        mode: Publish,
        mut load: bool,
        wait: &mut Wait<'_>,
    ) -> Vec<Try> {
        let mut posts = posts.fuse();
        // The positions of the packed posts, and whether a binding precedes them.
        let mut packed = Vec::with_capacity(posts.size_hint().0);
        let mut failure = None;
        for post in posts.by_ref() {
            let bound = pack_binding(&mut link, self.keys(), &post.queue);
            // The first EVAL loads the script for the tasks after it.
            let load = std::mem::take(&mut load);
            packed.push((post.pack(&mut link.wire, self.keys(), mode, load), bound));
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
        let mut tries = Vec::with_capacity(packed.len());
        for (end, bound) in packed {
            if failure.is_none() {
                match read_answer(&mut link, bound, &mut mode.step(wait)) {
                    Ok(tried) => {
                        tries.push(tried);
                        continue;
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = &failure {
                tries.push(Try::unanswered(link.wire.has_sent(end), error.clone()));
            }
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
            tries.extend(posts.map(|_| Try::NotSent(error.clone())));
        } else {
            self.keep(link);
        }
        tries
    }
}
