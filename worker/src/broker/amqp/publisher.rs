//! Publishes messages that must not get lost, on the connection of a role.
//!
//! The connection sends no heartbeats, because its role may have nothing to do for days. TCP's own
//! probes show a server that has vanished, and the next batch opens a new connection.
//!
//! A batch that met a lost connection is published again, as far as it has no answers. Its messages
//! may then be in their queues twice: at least once is what RabbitMQ can give.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::aio::{Confirm, Failure, Publication};
use celery_client::amqp::{Queue, QueueType};
use celery_client::backoff::Backoff;
use tokio::time::Instant;

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
/// After how many refusals in a row the messages are offered on a new connection. A channel that was
/// opened while a quorum queue had no leader may refuse all messages without end, while another one
/// takes them.
const REFUSALS: u32 = 3;
/// How often in a row the server may close the connection or the channel while one message alone is
/// under way. That message then counts as refused.
const CLOSES: u32 = 5;
/// How long the broker is not asked again to keep messages after it has refused that. A right may be
/// given meanwhile.
const REFUSED: Duration = Duration::from_secs(30);
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
    /// The queues for which the broker keeps nothing, as the log says, and when it is asked again.
    refused: HashMap<Arc<str>, Option<Instant>>,
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
            refused: HashMap::new(),
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
        let (mut created, mut offered, mut closes, mut refused) = (BTreeSet::new(), 0, 0, 0);
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
            for missing in unroutable(messages, &answers, &created) {
                let is_created = match self.create(missing).await {
                    Ok(is_created) => {
                        created.insert(missing);
                        is_created
                    }
                    // It may exist now, or be created on the next connection.
                    Err(failure) => {
                        self.link.failed(&failure);
                        repeated = true;
                        if is_about_a_message(&failure) {
                            refused += 1;
                        }
                        if refused >= CLOSES {
                            created.insert(missing);
                        }
                        true
                    }
                };
                if is_created {
                    again(messages, &mut answers, |message, answer| {
                        Missing::by(message, Some(answer)) == Some(missing)
                    });
                }
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
                if offered % REFUSALS == 0
                    && let Some(connection) = self.link.take()
                {
                    // What it had to say was said.
                    let _closed = connection.close().await;
                }
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

    /// Creates what no message reaches. Returns `false` if it cannot be created.
    ///
    /// # Errors
    /// After any [`Failure`] it is unknown whether it exists.
    async fn create(&mut self, missing: Missing<'_>) -> Result<bool, Failure> {
        let connection = self.link.connection().await;
        let created = match missing {
            Missing::Levels => delay::complete(connection, ASKING).await?,
            Missing::Queue(dead::QUEUE) => {
                let mut queue = Queue::durable(dead::QUEUE);
                let kind = self.link.shared.options.create_missing;
                queue.arguments = dead::arguments(kind.unwrap_or(QueueType::Classic));
                let connection = self.link.connection().await;
                connection.declare_queue(ASKING, &queue).await?
            }
            Missing::Queue(name) => {
                let Some(kind) = self.link.shared.options.create_missing else {
                    return Ok(false);
                };
                let mut queue = Queue::durable(name);
                queue.set_type(kind);
                let connection = self.link.connection().await;
                connection.find_queue(ASKING, &queue).await?
            }
        };
        if let Err(close) = &created {
            tracing::error!("Cannot create {missing}: {close}");
        }
        Ok(created.is_ok())
    }

    /// Returns `true` if the broker keeps messages for this queue until they are due. Creates what is
    /// missing for that.
    pub(super) async fn delays(&mut self, queue: &Arc<str>) -> bool {
        let pulse = Arc::clone(&self.link.pulse);
        pulse.idle(self.ask_to_delay(queue)).await
    }

    async fn ask_to_delay(&mut self, queue: &Arc<str>) -> bool {
        let mut closes = 0;
        let refusal = loop {
            self.link.connection().await;
            // A new connection knows nothing.
            let by = (self.link.opening(), self.link.shared.queue_changes());
            if self.bound_by != by {
                self.bound.clear();
                self.refused.values_mut().for_each(|until| *until = None);
                self.bound_by = by;
            }
            if self.bound.contains(queue) {
                return true;
            }
            let until = self.refused.get(queue).copied().flatten();
            if until.is_some_and(|until| Instant::now() < until) {
                return false;
            }
            match self.bind(queue).await {
                Ok(Ok(())) => {
                    self.bound.insert(Arc::clone(queue));
                    self.refused.remove(queue);
                    return true;
                }
                Ok(Err(refusal)) => break refusal,
                Err(failure) => {
                    self.link.failed(&failure);
                    closes += u32::from(is_about_a_message(&failure));
                    if closes >= CLOSES {
                        break failure.to_string();
                    }
                }
            }
        };
        let until = Some(Instant::now() + REFUSED);
        if self.refused.insert(Arc::clone(queue), until).is_none() {
            tracing::warn!(
                "RabbitMQ cannot keep the tasks of {queue} until their ETA: {refusal}. They wait in \
                 this worker"
            );
        }
        false
    }

    /// Lets the broker keep messages for a queue. The inner error is the reason why it does not.
    async fn bind(&mut self, queue: &str) -> Result<Result<(), String>, Failure> {
        if !delay::fits(queue) {
            return Ok(Err("the name of the queue is too long".to_owned()));
        }
        let connection = self.link.connection().await;
        let bound = delay::bind(connection, ASKING, queue).await?;
        Ok(bound.map_err(|close| close.to_string()))
    }
}

/// What has to exist, so that a message is not returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing<'m> {
    /// A queue.
    Queue(&'m str),
    /// The levels in which messages wait until they are due: another program is about to create
    /// them, or was ended meanwhile.
    Levels,
}

impl<'m> Missing<'m> {
    /// Returns what has to exist for a message with this answer.
    fn by(message: &Publication<'m>, answer: Option<&Confirm>) -> Option<Self> {
        let Some(Confirm::Unroutable(_)) = answer else {
            return None;
        };
        match message.exchange {
            "" => Some(Missing::Queue(message.routing_key)),
            name if name == delay::entrance() => Some(Missing::Levels),
            _ => None,
        }
    }
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Queue(name) => write!(f, "the queue {name}"),
            Missing::Levels => write!(f, "the queues in which tasks wait for their ETA"),
        }
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

/// Returns what has to exist for messages that were returned, unless it was created before.
fn unroutable<'m>(
    messages: &[Publication<'m>],
    answers: &[Option<Confirm>],
    created: &BTreeSet<Missing<'m>>,
) -> BTreeSet<Missing<'m>> {
    let both = messages.iter().zip(answers);
    let missing = both.filter_map(|(message, answer)| Missing::by(message, answer.as_ref()));
    missing.filter(|it| !created.contains(it)).collect()
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
