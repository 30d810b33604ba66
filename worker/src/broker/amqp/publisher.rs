//! Publishes messages that must not get lost, on the connection of a role.
//!
//! The connection sends no heartbeats, because its role may have nothing to do for days. TCP's own
//! probes show a server that has vanished, and the next batch opens a new connection.
//!
//! A batch that met a lost connection is published again, as far as it has no answers. Its messages
//! may then be in their queues twice: at least once is what RabbitMQ can give.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use celery_client::amqp::aio::{Confirm, Failure, Publication};
use celery_client::amqp::{Queue, QueueType};
use celery_client::backoff::Backoff;

use super::dead;
use super::delay;
use super::link::{CONFIRMING, Link};
use super::shared::Shared;
use crate::monitor::Pulse;

/// The channel for looks at queues and declarations. The server may close it because of one of them.
const ASKING: u16 = 2;
/// How often messages are offered that the broker does not take, mostly because their queue is full.
/// The pauses between double up to 0.8 s.
const OFFERS: u32 = 8;
/// How often in a row the server may close the connection or the channel while one message alone is
/// under way. That message then counts as refused.
const CLOSES: u32 = 5;
/// RabbitMQ's code for a connection that ends because the server stops, or because an operator
/// closed it.
const CONNECTION_FORCED: u16 = 320;

/// The connection of a role that publishes.
pub(super) struct Publisher {
    link: Link,
    /// The queues that get what the broker kept until it was due, as far as this connection knows.
    bound: HashSet<Arc<str>>,
    /// The number of that connection, and how often queues had changed then.
    bound_by: (Option<u64>, u64),
    /// `true` once the log says that the broker keeps nothing until it is due.
    told: bool,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The answer to each message, in order.
    pub(super) answers: Vec<Confirm>,
    /// `true` if messages were sent more than once.
    pub(super) repeated: bool,
}

impl Publisher {
    pub(super) fn new(shared: &Arc<Shared>, role: &'static str, pulse: &Arc<Pulse>) -> Self {
        Publisher {
            link: Link::new(shared, role, pulse),
            bound: HashSet::new(),
            bound_by: (None, 0),
            told: false,
        }
    }

    /// Waits until the connection is open.
    pub(super) async fn ready(&mut self) {
        let pulse = Arc::clone(&self.link.pulse);
        pulse.idle(self.link.connection()).await;
    }

    /// Publishes messages until each has an answer. Creates queues that are missing.
    pub(super) async fn publish(&mut self, messages: &[Publication<'_>]) -> Published {
        let pulse = Arc::clone(&self.link.pulse);
        pulse.idle(self.publish_all(messages)).await
    }

    async fn publish_all(&mut self, messages: &[Publication<'_>]) -> Published {
        let mut answers: Vec<Option<Confirm>> = vec![None; messages.len()];
        let mut repeated = false;
        // A message that the server refuses with its whole channel must not stop the others.
        let mut one_by_one = false;
        let mut offers = Backoff::new();
        let (mut created, mut offered, mut closes) = (BTreeSet::new(), 0, 0);
        while let Some(first) = answers.iter().position(Option::is_none) {
            let tried = self.try_all(messages, &mut answers, one_by_one).await;
            if let Err(failure) = tried {
                self.link.failed(&failure);
                if is_about_a_message(&failure) {
                    let is_first = one_by_one && answers[first].is_none();
                    closes = if is_first { closes + 1 } else { 0 };
                    if closes >= CLOSES {
                        answers[first] = Some(Confirm::Refused(failure.to_string()));
                        closes = 0;
                    }
                    one_by_one = true;
                }
                repeated = true;
                continue;
            }
            self.link.worked();
            let missing = unroutable(messages, &answers, &created);
            for name in missing {
                if self.create(name).await {
                    again(messages, &mut answers, |message, answer| {
                        matches!(answer, Confirm::Unroutable(_)) && message.routing_key == name
                    });
                }
                created.insert(name);
            }
            // A message that may get lost is not worth a wait.
            let is_offered = |message: &Publication<'_>, answer: &Confirm| {
                *answer == Confirm::NotTaken && !message.may_be_lost
            };
            let mut both = messages.iter().zip(&answers);
            let is_any =
                both.any(|(it, answer)| answer.as_ref().is_some_and(|of| is_offered(it, of)));
            if is_any && offered < OFFERS {
                offered += 1;
                tokio::time::sleep(offers.pause()).await;
                again(messages, &mut answers, is_offered);
            }
        }
        Published {
            answers: answers.into_iter().flatten().collect(),
            repeated,
        }
    }

    async fn try_all(
        &mut self,
        messages: &[Publication<'_>],
        answers: &mut [Option<Confirm>],
        one_by_one: bool,
    ) -> Result<(), Failure> {
        let size = if one_by_one { 1 } else { messages.len().max(1) };
        let connection = self.link.connection().await;
        for (messages, answers) in messages.chunks(size).zip(answers.chunks_mut(size)) {
            connection
                .publish_all(CONFIRMING, messages, answers)
                .await?;
        }
        Ok(())
    }

    /// Creates a queue that no message reaches. Returns `false` if it cannot be created.
    async fn create(&mut self, name: &str) -> bool {
        let mut queue = Queue::durable(name);
        let kind = self.link.shared.options.create_missing;
        let is_dead_letters = name == dead::QUEUE;
        if is_dead_letters {
            queue.arguments = dead::arguments(kind.unwrap_or(QueueType::Classic));
        } else if let Some(kind) = kind {
            queue.set_type(kind);
        } else {
            return false;
        }
        let connection = self.link.connection().await;
        let created = if is_dead_letters {
            connection.declare_queue(ASKING, &queue).await
        } else {
            connection.find_queue(ASKING, &queue).await
        };
        match created {
            Ok(Ok(())) => true,
            Ok(Err(close)) => {
                tracing::error!("Cannot create the queue {name}: {close}");
                false
            }
            Err(failure) => {
                self.link.failed(&failure);
                false
            }
        }
    }

    /// Returns `true` if the broker keeps messages for this queue until they are due. Creates what is
    /// missing for that.
    pub(super) async fn delays(&mut self, queue: &Arc<str>) -> bool {
        let pulse = Arc::clone(&self.link.pulse);
        pulse.idle(self.link.connection()).await;
        // A new connection knows nothing.
        let by = (self.link.opening(), self.link.shared.queue_changes());
        if self.bound_by != by {
            self.bound.clear();
            self.bound_by = by;
        }
        if self.bound.contains(queue) {
            return true;
        }
        let bound = pulse.idle(self.bind(queue)).await;
        let refusal = match bound {
            Ok(Ok(true)) => {
                self.bound.insert(Arc::clone(queue));
                self.told = false;
                return true;
            }
            Ok(Ok(false)) => "the name of the queue is too long".to_owned(),
            Ok(Err(close)) => close.to_string(),
            Err(failure) => {
                self.link.failed(&failure);
                return false;
            }
        };
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "RabbitMQ cannot keep the tasks of {queue} until their ETA: {refusal}. They wait in \
                 this worker"
            );
        }
        false
    }

    async fn bind(
        &mut self,
        queue: &str,
    ) -> Result<Result<bool, celery_protocol::amqp::Close>, Failure> {
        let connection = self.link.connection().await;
        if let Err(close) = delay::prepare(connection, ASKING).await? {
            return Ok(Err(close));
        }
        delay::bind(connection, ASKING, queue).await
    }
}

/// Returns why a message was not published.
pub(super) fn reason(answer: &Confirm) -> String {
    match answer {
        Confirm::Unroutable(reason) | Confirm::Refused(reason) => reason.clone(),
        Confirm::NotTaken => "the broker does not take the message".to_owned(),
        _ => "no answer".to_owned(),
    }
}

/// Returns `true` if the server has closed the connection or the channel because of something that it
/// received.
fn is_about_a_message(failure: &Failure) -> bool {
    matches!(failure, Failure::Closed(close) if close.code != CONNECTION_FORCED)
}

/// Returns the queues that do not exist, as far as they are named by messages and were not created
/// before.
fn unroutable<'m>(
    messages: &[Publication<'m>],
    answers: &[Option<Confirm>],
    created: &BTreeSet<&'m str>,
) -> BTreeSet<&'m str> {
    let both = messages.iter().zip(answers);
    let missing = both.filter(|(message, answer)| {
        message.exchange.is_empty() && matches!(answer, Some(Confirm::Unroutable(_)))
    });
    let names = missing.map(|(message, _)| message.routing_key);
    names.filter(|name| !created.contains(name)).collect()
}

/// Takes the answers back that fit, so that their messages are published again.
fn again(
    messages: &[Publication<'_>],
    answers: &mut [Option<Confirm>],
    fits: impl Fn(&Publication<'_>, &Confirm) -> bool,
) {
    for (message, answer) in messages.iter().zip(answers) {
        answer.take_if(|answer| fits(message, answer));
    }
}
