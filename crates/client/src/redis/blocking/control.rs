//! Remote control of workers: commands, and the replies to them.
//!
//! A command is a broadcast to the exchange `celery.pidbox`, which on Redis is a published message.
//! A worker that is not connected does not receive it; Celery itself guarantees no more.
//!
//! Workers put their replies into a list that belongs to one call. Redis says how many listeners
//! received the command. Once that many have replied, no further reply can come, and the call ends
//! before its time.

use std::time::Duration;

use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::DecodeOptions;
use celery_protocol::names::CONTROL_REPLY_EXCHANGE;
use celery_protocol::serializer::Serializer;
use redis::{Cmd, Value};
use uuid::Uuid;

use super::Client;
use super::client::backoff;
use super::reply::Shape;
use crate::blocking::question::Question;
use crate::blocking::{NeverInterrupt, Wait};
use crate::error::ClientError;

/// The time before the deadline at which Redis stops waiting for a reply, so that its answer comes
/// in time and the connection can be used again; a tenth of the time left if that is shorter.
const EARLIER: Duration = Duration::from_millis(20);
/// The time for removing the list of replies after the time of a call is over.
const LAST_MOMENT: Duration = Duration::from_millis(100);
/// The seconds that a list lives for replies that come too late.
const LATE: usize = 60;

/// The tasks to revoke, and how.
#[derive(Clone, Debug)]
pub struct Revoke<'a> {
    /// The ids of the tasks.
    pub task_ids: &'a [&'a str],
    /// Whether workers also terminate tasks that are already running.
    pub terminate: bool,
    /// The signal for the termination, by its name in Celery: `SIGTERM`.
    pub signal: &'a str,
}

impl Client {
    /// Asks all workers to skip tasks, as `app.control.revoke` does. Returns the number of
    /// listeners that received the request.
    ///
    /// # Errors
    /// [`ClientError`] if the request could not be published.
    pub fn revoke(&mut self, revoke: &Revoke<'_>, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let request = Request::revoke(revoke.task_ids, revoke.terminate, revoke.signal);
        // A repeated revocation changes nothing.
        let publish = self.publication(&request);
        listeners(self.ask(&publish, Shape::Short, wait, "revoking")?)
    }

    /// Sends a command to workers without waiting for replies. Returns the number of listeners that
    /// received it. A command may grow a pool, so it is never sent twice.
    ///
    /// # Errors
    /// [`ClientError`] if the command could not be published. After a lost answer it may have been.
    pub fn broadcast(
        &mut self,
        request: &Request,
        wait: &mut Wait<'_>,
    ) -> Result<u64, ClientError> {
        let publish = self.publication(request);
        let mut link = self.acquire_quiet(wait)?;
        let answer = link.call(&publish, Shape::Short, wait, "the answer to PUBLISH")?;
        self.keep(link);
        listeners(answer.map_err(|answer| self.endpoint().refused(answer))?)
    }

    /// Sends a command to workers and returns their replies, at most one of each.
    ///
    /// It waits for `replies` after the command was sent, or until `limit` workers have replied. As
    /// in kombu, the default limit is the number of destinations. It also ends once all that
    /// received the command have replied.
    ///
    /// # Errors
    /// [`ClientError`] if the command could not be published, or the replies could not be read.
    pub fn ask_workers(
        &mut self,
        request: Request,
        limit: Option<usize>,
        replies: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<Reply>, ClientError> {
        let Question {
            request,
            address,
            ticket,
            wanted,
        } = Question::new(request, limit, replies);
        let mut bind = redis::cmd("SADD");
        bind.arg(self.keys().binding(CONTROL_REPLY_EXCHANGE))
            .arg(address.binding_member(self.keys()));
        self.ask(&bind, Shape::Short, wait, "the answer to SADD")?;
        let asked = self.broadcast(&request, wait).and_then(|heard| {
            let heard = usize::try_from(heard).unwrap_or(usize::MAX);
            let wanted = wanted.min(heard);
            let list = address.list(self.keys());
            let mut wait = wait.within(replies);
            let replies = self.collect_replies(&list, &ticket, wanted, &mut wait)?;
            Ok((replies, heard))
        });
        if !matches!(asked, Err(ClientError::Forked)) {
            let may_come = !matches!(&asked, Ok((replies, heard)) if replies.len() >= *heard);
            self.forget_replies(&address, may_come);
        }
        asked.map(|(replies, _)| replies)
    }

    fn publication(&self, request: &Request) -> Cmd {
        let delivery_tag = Uuid::new_v4().to_string();
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys().pidbox_channel(self.endpoint().database()))
            .arg(request.encode_redis(&delivery_tag));
        publish
    }

    /// Takes replies out of the list until `wanted` have come or the time is over.
    fn collect_replies(
        &mut self,
        list: &str,
        ticket: &str,
        wanted: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<Reply>, ClientError> {
        let mut replies: Vec<Reply> = Vec::new();
        let mut backoff = backoff();
        let mut room = self.options.max_reply;
        while replies.len() < wanted {
            let raw = match self.next_reply(list, wait) {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(ClientError::Timeout { .. }) if wait.deadline().has_passed() => break,
                // The list stays: another connection can read the rest.
                Err(error) if error.is_retryable() => match wait.back_off(&mut backoff) {
                    Ok(()) => continue,
                    Err(ClientError::Timeout { .. }) => return Err(error),
                    Err(ended) => return Err(ended),
                },
                Err(error) => return Err(error),
            };
            room = room.checked_sub(raw.len()).ok_or_else(|| {
                ClientError::Protocol("the replies of workers are too large".to_owned())
            })?;
            // A reply in a form that cannot be read counts as none, like that of a worker that did
            // not receive the command.
            let reply = Reply::decode_redis(&raw, &options());
            if let Ok(reply) = reply
                && reply.ticket.as_deref() == Some(ticket)
            {
                replies.retain(|other| other.node != reply.node);
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    /// Waits for the next reply. Returns `None` shortly before the deadline.
    fn next_reply(
        &mut self,
        list: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut link = self.acquire_quiet(wait)?;
        let left = wait.deadline().remaining();
        let seconds = left.saturating_sub(EARLIER.min(left / 10)).as_secs_f64();
        if seconds < 0.001 {
            // Zero would mean no limit to Redis.
            self.keep(link);
            return Ok(None);
        }
        let mut pop = redis::cmd("BRPOP");
        pop.arg(list).arg(format!("{seconds:.3}"));
        let answer = link.call(&pop, Shape::Message, wait, "the replies of workers")?;
        self.keep(link);
        match answer.map_err(|answer| self.endpoint().refused(answer))? {
            Value::Nil => Ok(None),
            Value::Array(mut parts) => match parts.pop() {
                Some(Value::BulkString(raw)) => Ok(Some(raw)),
                _ => Err(odd_reply()),
            },
            _ => Err(odd_reply()),
        }
    }

    /// Removes what the call left in Redis. If further replies may come, they find a list that
    /// expires.
    fn forget_replies(&mut self, address: &ReplyTo, may_come: bool) {
        let mut never = NeverInterrupt;
        let mut wait = Wait::new(LAST_MOMENT, &mut never);
        let Ok(mut link) = self.acquire_quiet(&mut wait) else {
            return;
        };
        let list = address.list(self.keys());
        let mut unbind = redis::cmd("SREM");
        unbind
            .arg(self.keys().binding(CONTROL_REPLY_EXCHANGE))
            .arg(address.binding_member(self.keys()));
        let mut commands = vec![unbind, redis::cmd("DEL").arg(&list).clone()];
        if may_come {
            commands.push(redis::cmd("RPUSH").arg(&list).arg("late").clone());
            commands.push(redis::cmd("EXPIRE").arg(&list).arg(LATE).clone());
        }
        for command in &commands {
            link.wire.pack(command);
        }
        // The caller has its replies. If this fails, kombu's sweepers remove the binding.
        if link.wire.flush(&mut wait).is_ok() {
            link.wire.expect_unawaited(commands.len());
            self.keep(link);
        }
    }
}

/// Workers write replies and events in the serializer of their settings.
pub(super) fn options() -> DecodeOptions<'static> {
    DecodeOptions::default().accept(&[Serializer::Json, Serializer::Msgpack, Serializer::Yaml])
}

fn listeners(answer: Value) -> Result<u64, ClientError> {
    match answer {
        Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
        _ => Err(ClientError::Protocol(
            "PUBLISH was answered with something that is not a number".to_owned(),
        )),
    }
}

fn odd_reply() -> ClientError {
    ClientError::Protocol("BRPOP was answered with something that is not a pair".to_owned())
}
