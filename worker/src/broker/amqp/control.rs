//! Remote control over RabbitMQ: requests come to a queue of this worker, replies go to the queue of
//! the client.
//!
//! kombu's exchange of commands is a fanout, to which each worker binds a queue with its own name. The
//! queue is exclusive: it ends with its connection, and RabbitMQ refuses it to a second worker of this
//! name (405). Then, or if a right is missing, this worker is without remote control until a later
//! try succeeds.
//!
//! The connection has no other use, so that nothing here can delay messages or close their
//! channels. RabbitMQ keeps no revocations: as in Python, they are in the memory of the workers,
//! which ask each other for them.

use std::time::Duration;

use celery_client::amqp::Temporary;
use celery_client::amqp::aio::{Consumer, Failure, Publication};
use celery_client::backoff::Backoff;
use celery_protocol::amqp::{AmqpError, Close, Delivery, Event, Method, Short};
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::AmqpMessage;
use celery_protocol::names::CONTROL_EXCHANGE;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::asking::Asked;
use super::consuming::find;
use super::link::Link;
use crate::broker::control::{ControlChannel, Heard, MOST_REQUEST, Named, RawRequest, WAITING};
use crate::broker::held::Held;
use crate::broker::redis::RevokedResults;
use crate::broker::tag::Tag;

/// The channel on which requests come.
const HEARING: u16 = 2;
/// The channel on which replies to this worker's own requests come.
const COLLECTING: u16 = 3;
/// The channel for looks at queues. The server may close it because of one of them.
const LOOKING: u16 = 4;
/// The name of each consumer, which only its channel knows.
const CONSUMER: &str = "control";

/// The largest message. A reply of a worker with 50,000 revoked tasks has two megabytes. A larger
/// message ends the connection, and with it the queue that has the message.
const MOST_BYTES: usize = 4 << 20;
/// The longest wait for RabbitMQ to take a reply. A client waits for a second by default.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest and the longest pause after RabbitMQ refused the queue.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long RabbitMQ may take to free the queue of a connection that has ended.
const RELEASE: Duration = Duration::from_secs(5);
/// RabbitMQ's code for an exclusive queue of another connection.
const RESOURCE_LOCKED: u16 = 405;

/// The connection of the control role.
pub(super) struct AmqpControl {
    link: Link,
    /// The server of the results, if there is one.
    results: Option<RevokedResults>,
    /// The queue of this worker.
    queue: String,
    /// The number of the connection on which requests come. `None`: none come.
    heard_by: Option<u64>,
    pauses: Backoff,
    /// When the next try to open the channel may begin.
    next_try: Instant,
    /// When the connection was lost on which requests came.
    lost: Option<Instant>,
    /// The request of this worker's own that is under way.
    asked: Option<Asked>,
    /// `true` once the log says that remote control is off.
    told: bool,
}

impl AmqpControl {
    pub(super) fn new(link: Link, results: Option<RevokedResults>) -> Self {
        AmqpControl {
            queue: format!("{}.{CONTROL_EXCHANGE}", link.shared.node),
            link: link.listening(MOST_BYTES),
            results,
            heard_by: None,
            pauses: Backoff::between(PAUSES.0, PAUSES.1),
            next_try: Instant::now(),
            lost: None,
            asked: None,
            told: false,
        }
    }

    /// Returns `true` if requests come.
    fn is_open(&self) -> bool {
        self.heard_by.is_some() && self.heard_by == self.link.opening()
    }

    /// Declares the queue of this worker and starts its consumer.
    async fn open(&mut self) -> Result<Result<(), Close>, Failure> {
        let queue = Temporary::commands(&self.queue);
        let consumer = Consumer::new(&self.queue, CONSUMER).prefetch(WAITING);
        self.link.subscribe(HEARING, &queue, &consumer).await
    }

    /// Notes that requests come from now on.
    fn opened(&mut self) {
        self.heard_by = self.link.opening();
        self.pauses.worked();
        if std::mem::take(&mut self.told) {
            tracing::info!("Remote control is on again");
        }
    }

    /// Notes a failure, which ends the connection.
    fn failed(&mut self, failure: &Failure) {
        if self.is_open() {
            self.lost = Some(Instant::now());
        }
        self.link.failed(failure);
    }

    /// Notes that RabbitMQ refuses the queue. Returns `true` if the caller does not know that yet.
    fn refused(&mut self, close: &Close) -> bool {
        self.heard_by = None;
        self.next_try = Instant::now() + self.pauses.pause();
        let is_released = self.lost.is_none_or(|lost| lost.elapsed() >= RELEASE);
        if close.code == RESOURCE_LOCKED && !is_released {
            return false;
        }
        if std::mem::replace(&mut self.told, true) {
            return false;
        }
        let queue = &self.queue;
        if close.code == RESOURCE_LOCKED {
            tracing::warn!(
                "Remote control is off: another connection has the queue {queue}. Give each worker \
                 a name of its own (-n). Trying again..."
            );
        } else {
            tracing::warn!(
                "Remote control is off: RabbitMQ does not let this worker use the queue {queue} \
                 ({close}). Trying again..."
            );
        }
        true
    }

    /// Takes an event of the connection.
    fn take(&mut self, event: Event) -> Option<Heard> {
        match event {
            Event::Delivered {
                channel: HEARING,
                delivery,
                ..
            } => self.take_request(*delivery),
            Event::Delivered {
                channel: COLLECTING,
                delivery,
                ..
            } => {
                if let Some(asked) = &mut self.asked {
                    asked.take(&delivery);
                }
                None
            }
            Event::ChannelClosed(HEARING, close) => self.refused(&close).then_some(Heard::Refused),
            Event::ConsumerCancelled(HEARING, _) => {
                // The queue was deleted.
                self.heard_by = None;
                None
            }
            // Another channel, or an answer to a request whose wait was given up.
            _ => None,
        }
    }

    fn take_request(&mut self, delivery: Delivery) -> Option<Heard> {
        let size = delivery.content.size();
        let ack = Method::BasicAck {
            delivery_tag: delivery.tag,
            multiple: false,
        };
        // An error means that the channel is closed, and the queue is gone.
        let _ = self.link.tell(HEARING, &ack);
        if size > MOST_REQUEST {
            tracing::warn!("A control request of {size} bytes was dropped");
            return None;
        }
        Some(Heard::Request(RawRequest::Amqp(delivery.content)))
    }

    /// Publishes a message that may be lost.
    async fn publish(&mut self, exchange: &str, routing_key: &str, message: &AmqpMessage) {
        if self.link.is_blocked() {
            // Its client is blocked, too, and waits for a second only.
            return tracing::debug!("A message of remote control was dropped: RabbitMQ is blocked");
        }
        let publication = match message.properties() {
            Ok(properties) => Publication {
                exchange,
                routing_key,
                properties,
                body: &message.body,
                may_be_lost: true,
            },
            Err(error) => return tracing::debug!("A control message cannot be sent: {error}"),
        };
        let publications = [publication];
        let published = self.link.publish_once(&publications);
        match timeout(PATIENCE, published).await {
            Ok(Ok(Ok(()))) => {}
            // The exchange ended with its last client, or a right is missing.
            Ok(Ok(Err(close))) => tracing::debug!("A control message is refused: {close}"),
            Ok(Err(failure)) => self.failed(&failure),
            Err(_) if self.link.is_blocked() => {}
            Err(_) => {
                let late = "no answer in time: confirms of remote control".to_owned();
                self.failed(&Failure::Silent(late));
            }
        }
    }

    /// Declares a queue for replies and starts its consumer. The inner error is a refusal.
    async fn try_collect(&mut self, address: &ReplyTo) -> Result<Result<(), Close>, Failure> {
        let name = address.queue();
        let queue = Temporary::replies(&name, &address.routing_key);
        let consumer = Consumer::new(&name, CONSUMER);
        self.link.subscribe(COLLECTING, &queue, &consumer).await
    }

    /// Ends the consumer of replies, and with it its queue.
    fn stop_collecting(&mut self) {
        if let Ok(consumer_tag) = Short::new(CONSUMER) {
            let cancel = Method::BasicCancel {
                consumer_tag,
                no_wait: true,
            };
            // An error means that both are gone.
            let _ = self.link.tell(COLLECTING, &cancel);
        }
    }

    /// Returns why this worker may not consume a queue. A missing one is created.
    async fn try_look(&mut self, queue: &str) -> Result<Option<String>, Failure> {
        let options = self.link.shared.options.clone();
        let connection = self.link.ask().await;
        let found = find(connection, LOOKING, queue, &options).await?;
        let refusal = match &found {
            Ok(_) => connection.may_consume(LOOKING, queue).await?.err(),
            Err(close) => Some(close.clone()),
        };
        self.link.answered();
        if found == Ok(true) {
            self.link.shared.queues_changed();
        }
        Ok(refusal.map(|close| close.to_string()))
    }
}

impl ControlChannel for AmqpControl {
    async fn next(&mut self) -> Heard {
        loop {
            let is_open = self.is_open();
            if !is_open && Instant::now() >= self.next_try {
                match self.open().await {
                    Ok(Ok(())) => {
                        self.opened();
                        return Heard::Open;
                    }
                    Ok(Err(close)) if self.refused(&close) => return Heard::Refused,
                    Ok(Err(_)) => {}
                    Err(Failure::Unsendable(error)) => {
                        if self.refused(&unsendable(&error)) {
                            return Heard::Refused;
                        }
                    }
                    Err(failure) => self.failed(&failure),
                }
                continue;
            }
            let event = if is_open {
                self.link.event().await
            } else {
                match timeout_at(self.next_try, self.link.event()).await {
                    Ok(event) => event,
                    Err(_) => continue,
                }
            };
            match event {
                Ok(event) => {
                    if let Some(heard) = self.take(event) {
                        return heard;
                    }
                }
                Err(failure) => self.failed(&failure),
            }
        }
    }

    async fn reply(&mut self, reply: &Reply, address: &ReplyTo) {
        match reply.encode_amqp(address) {
            Ok(message) => {
                self.publish(&address.exchange, &address.routing_key, &message)
                    .await;
            }
            Err(error) => tracing::debug!("A reply cannot be sent: {error}"),
        }
    }

    async fn read_held(&mut self, tags: &[Tag]) -> Vec<Option<Box<dyn Held>>> {
        let shared = &self.link.shared;
        let held = tags.iter().map(|tag| shared.held(*tag));
        held.map(|it| it.map(|it| Box::new(it) as Box<dyn Held>))
            .collect()
    }

    fn keeps_revocations(&self) -> bool {
        false
    }

    async fn revoked(&mut self, _: Named) -> Option<Vec<String>> {
        Some(Vec::new())
    }

    async fn revoke(&mut self, _: Named, _: &[&str]) {}

    async fn store_revoked(&mut self, documents: &[(&str, Vec<u8>)]) {
        if let Some(results) = &mut self.results {
            results.store(documents).await;
        }
    }

    async fn ask(&mut self, request: Request) {
        if self.asked.take().is_some() {
            self.stop_collecting();
        }
        let (address, ticket) = (ReplyTo::new(Uuid::new_v4()), Uuid::new_v4().to_string());
        match self.try_collect(&address).await {
            Ok(Ok(())) => {}
            Ok(Err(close)) => {
                return tracing::warn!(
                    "mingle: RabbitMQ lets this worker read no replies: {close}"
                );
            }
            Err(failure) => return self.failed(&failure),
        }
        let request = request.reply_to(address, &*ticket);
        self.asked = Some(Asked::new(ticket));
        match request.encode_amqp() {
            Ok(message) => self.publish(CONTROL_EXCHANGE, "", &message).await,
            Err(error) => tracing::debug!("A control request cannot be sent: {error}"),
        }
    }

    async fn replies(&mut self) -> Vec<Reply> {
        let Some(asked) = self.asked.take() else {
            return Vec::new();
        };
        self.stop_collecting();
        asked.replies()
    }

    async fn obstacle(&mut self, queue: &str) -> Option<String> {
        match self.try_look(queue).await {
            Ok(obstacle) => obstacle,
            Err(failure) => {
                self.failed(&failure);
                None
            }
        }
    }

    async fn close(mut self) {
        if let Some(connection) = self.link.take() {
            // If this fails, the server notices the end by itself.
            let _ = connection.close().await;
        }
    }
}

/// Returns the refusal of a request that cannot be written.
fn unsendable(error: &AmqpError) -> Close {
    Close {
        code: 0,
        text: error.to_string(),
        method: (0, 0),
    }
}
