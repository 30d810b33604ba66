//! Remote control of workers: commands, and the replies to them.
//!
//! A command is published to the fanout exchange `celery.pidbox`. Workers reply to a queue of the
//! connection that sent it. RabbitMQ does not say how many workers received a command, but it
//! returns a command that no worker received. A command is never sent twice.

use std::time::Duration;

use celery_protocol::amqp::{Delivery, Event};
use celery_protocol::control::{Reply, Request};
use celery_protocol::names::CONTROL_EXCHANGE;

use super::client::Client;
use super::link::{Link, OTHERS, unexpected};
use super::outcome::{Outcome, Round};
use super::post::Post;
use super::publish::pack;
use super::receive::{Forgotten, queue_is_gone, start, stop};
use super::temporary::{declare, declare_exchange, decoding};
use crate::amqp::{Exchange, Temporary};
use crate::blocking::question::Question;
use crate::blocking::{NeverInterrupt, Wait};
use crate::error::ClientError;

/// The time for ending the consumer after the time of a call is over.
const LAST_MOMENT: Duration = Duration::from_millis(100);

impl Client {
    /// Sends a command to workers without waiting for replies. Returns `true` if at least one
    /// worker received it.
    ///
    /// # Errors
    /// [`ClientError`] if the command could not be published. After a lost answer it may have been.
    pub fn broadcast(
        &mut self,
        request: &Request,
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let post = command(request)?;
        self.call(wait, |link, wait| {
            declare_exchange(link, Exchange::COMMANDS, wait)
        })?;
        match self.publish(&post, wait) {
            Ok(()) => Ok(true),
            Err(failed) if is_unheard(&failed.cause) => Ok(false),
            Err(failed) => Err(*failed.cause),
        }
    }

    /// Sends a command to workers and returns their replies, at most one of each.
    ///
    /// It waits for `replies` after the command was sent, or until `limit` workers have replied. As
    /// in kombu, the default limit is the number of destinations. It ends at once if no worker has
    /// received the command.
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
        let queue = address.queue();
        let key = address.routing_key;
        let post = command(&request)?;
        let mut collected = Collected {
            ticket,
            wanted,
            room: self.options.max_body,
            replies: Vec::new(),
        };

        let mut link = self.prepared(&queue, &key, wait)?;
        let asked = exchange_messages(&mut link, &post, &mut collected, replies, wait);
        if let Err(error) = asked {
            return Err(link.explained(error));
        }
        let mut never = NeverInterrupt;
        let last = &mut Wait::new(LAST_MOMENT, &mut never);
        // The caller has its replies. A connection that fails here is dropped, and with it the queue.
        if stop(&mut link, last, |_, _| Ok(())).is_ok() {
            self.keep(link);
        }
        Ok(collected.replies)
    }

    /// Returns a connection with a consumer of a queue for replies. Nothing was sent to workers.
    fn prepared(
        &mut self,
        queue: &str,
        key: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Box<Link>, ClientError> {
        let temporary = Temporary::replies(queue, key);
        let prepare = |link: &mut Link, wait: &mut Wait<'_>| {
            declare_exchange(link, Exchange::COMMANDS, wait)?;
            declare(link, temporary, wait)?;
            start(link, queue, Forgotten::Sent, wait)?;
            link.wait_until_unblocked(wait)
        };
        let mut lost_before = false;
        loop {
            let mut link = self.acquire(wait)?;
            match prepare(&mut link, wait) {
                Ok(()) => return Ok(link),
                Err(ClientError::Disconnected { .. }) if !lost_before => lost_before = true,
                Err(error) => {
                    let error = link.explained(error);
                    // A refusal closes a channel, not the connection.
                    if matches!(error, ClientError::Broker(_)) && link.is_alive() {
                        self.keep(link);
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// Publishes the command and collects the replies, until enough have come or the time is over.
fn exchange_messages(
    link: &mut Link,
    post: &Post,
    collected: &mut Collected,
    replies: Duration,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    let mut round = Round::new(Vec::new());
    let number = pack(link, post)?;
    round.published_next(post, number, link.end());
    link.flush(wait)?;
    let mut wait = wait.within(replies);
    while !round.is_answered() || !collected.is_complete() {
        let event = match link.event_within(replies, &mut wait, "the replies of workers") {
            Ok(event) => event,
            // Without a confirm, it is not known whether the command was sent.
            Err(ClientError::Timeout { .. }) if round.is_answered() => return Ok(()),
            Err(error) => return Err(error),
        };
        match event {
            None => {}
            Some(Event::Delivered {
                channel: OTHERS,
                delivery,
                ..
            }) => collected.take(&delivery)?,
            Some(Event::ConsumerCancelled(OTHERS, queue)) => return Err(queue_is_gone(&queue)),
            Some(event @ (Event::Confirmed { .. } | Event::Returned(..))) => {
                round.take(event)?;
                if round.is_answered() {
                    let outcomes = std::mem::replace(&mut round, Round::new(Vec::new()));
                    match outcomes.end(None, |_| true).pop() {
                        Some((_, Outcome::Not(cause))) if is_unheard(&cause) => return Ok(()),
                        Some((_, Outcome::Not(cause) | Outcome::Unknown(cause))) => {
                            return Err(cause);
                        }
                        Some((_, Outcome::Done)) | None => {}
                    }
                }
            }
            Some(Event::ChannelClosed(_, close)) => return Err(ClientError::Broker(close)),
            Some(other) => return Err(unexpected(&other)),
        }
    }
    Ok(())
}

/// The replies to a command.
struct Collected {
    ticket: String,
    wanted: usize,
    /// The bytes that further replies may have.
    room: usize,
    replies: Vec<Reply>,
}

impl Collected {
    fn is_complete(&self) -> bool {
        self.replies.len() >= self.wanted
    }

    fn take(&mut self, delivery: &Delivery) -> Result<(), ClientError> {
        let body = &delivery.content.body;
        self.room = self.room.checked_sub(body.len()).ok_or_else(|| {
            ClientError::Protocol("the replies of workers are too large".to_owned())
        })?;
        // A reply in a form that cannot be read counts as none, like that of a worker that did not
        // receive the command.
        let Ok(properties) = delivery.content.properties() else {
            return Ok(());
        };
        if let Ok(reply) = Reply::decode_amqp(&properties, body, &decoding())
            && reply.ticket.as_deref() == Some(&self.ticket)
        {
            self.replies.retain(|other| other.node != reply.node);
            self.replies.push(reply);
        }
        Ok(())
    }
}

/// Returns the message of a command.
fn command(request: &Request) -> Result<Post, ClientError> {
    Ok(Post {
        exchange: CONTROL_EXCHANGE.to_owned(),
        routing_key: String::new(),
        queue: None,
        task_id: request.method.clone(),
        message: request.encode_amqp().map_err(ClientError::Unsendable)?,
    })
}

/// Returns `true` for the error of a command that no worker receives.
fn is_unheard(error: &ClientError) -> bool {
    matches!(error, ClientError::Unroutable { .. })
}
