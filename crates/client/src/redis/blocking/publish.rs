//! Posting a single task, which is what most calls of PHP do.
//!
//! Batches are in `batch`, pipelined posts in `pipeline`; `attempt` says when a post is repeated.

use super::Client;
use super::attempt::{Next, Open, Publish, Try};
use super::client::backoff;
use super::link::Link;
use super::outgoing::Outgoing;
use super::post::{pack, pack_binding, read_answer};
use super::replicas;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::PublishError;

impl Client {
    /// Posts a task and waits for the answer.
    ///
    /// # Errors
    /// [`PublishError`], whose `outcome_unknown` says whether the task may be in the queue
    /// nevertheless.
    pub fn publish(
        &mut self,
        post: &impl Outgoing,
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Result<(), PublishError> {
        let mut open = Open::default();
        let mut backoff = backoff();
        let mut load = false;
        loop {
            let tried = match self.acquire_quiet(wait) {
                Ok(link) => self.try_post(link, post, mode, load, wait),
                Err(error) => Try::not_connected(error),
            };
            match open.after(tried, mode, self.endpoint(), post.task_id()) {
                Next::Done => return Ok(()),
                Next::Fail(error) => return Err(error),
                Next::Load => load = true,
                Next::Again => {
                    load = false;
                    if let Err(ended) = wait.back_off(&mut backoff) {
                        return Err(open.ended(&ended, wait, post.task_id()));
                    }
                }
            }
        }
    }

    /// Writes a post once and reads its answer.
    fn try_post(
        &mut self,
        mut link: Box<Link>,
        post: &impl Outgoing,
        mode: Publish,
        load: bool,
        wait: &mut Wait<'_>,
    ) -> Try {
        let bound = pack_binding(&mut link, self.keys(), post.queue());
        let end = pack(post, &mut link.wire, self.keys(), mode, load);
        let wanted = self.options.replicas;
        let question = replicas::question(wanted, wait, mode);
        if let Some(question) = &question {
            link.wire.pack(question);
        }
        if let Err(error) = link.wire.flush(&mut mode.step(wait)) {
            return Try::unanswered(link.wire.has_sent(end), error);
        }
        let tried = match read_answer(&mut link, bound, &mut mode.step(wait)) {
            Ok(tried) => tried,
            Err(error) => return Try::Unconfirmed(error),
        };
        if question.is_none() {
            if matches!(tried, Try::Done) {
                self.announce(&mut link, [post], wait);
            }
            self.keep(link);
            return tried;
        }
        let what = "the answer of the replicas";
        let confirmed = match link.wire.answer(Shape::Short, &mut mode.step(wait), what) {
            Ok(answer) => {
                let confirmed = replicas::check(&mut link, wanted, answer);
                if confirmed.is_ok() && matches!(tried, Try::Done) {
                    self.announce(&mut link, [post], wait);
                }
                self.keep(link);
                confirmed
            }
            Err(error) => Err(error),
        };
        match (tried, confirmed) {
            (Try::Done, Err(error)) => Try::Unconfirmed(error),
            (tried, _) => tried,
        }
    }
}
