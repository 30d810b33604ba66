//! What the parts of a worker on RabbitMQ share: the messages that it holds, and the deliveries that
//! end.
//!
//! Only the part that brings messages has their channels. The other parts ask it to end deliveries,
//! and wait for its answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celery_client::aio::Health;
use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::aio::{ConnectOptions, Connection};
use tokio::sync::{Notify, oneshot};

use super::lane::End;
use super::message::Message;
use super::replies::Replies;
use crate::broker::options::AmqpOptions;
use crate::broker::tag::Tag;

/// What all parts share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: AmqpOptions,
    pub(super) node: String,
    /// The form of results, if they are replies.
    pub(super) replies: Option<Replies>,
    pub(super) health: Arc<Health>,
    inner: Mutex<Inner>,
    queues: AtomicU64,
    /// Wakes the part that brings messages: deliveries end.
    pub(super) ordered: Notify,
    /// Wakes the role that publishes messages anew.
    pub(super) delivered_often: Notify,
    /// Wakes the end of the worker: the part that brings messages has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    held: HashMap<Tag, Message, foldhash::fast::RandomState>,
    orders: Vec<Order>,
    /// Messages that the broker has delivered often. The part that brings messages holds them until
    /// they are published anew, so its limits bound their number.
    often: Vec<(Tag, Message)>,
    /// Those that could not be published anew.
    kept: Vec<Tag>,
    /// `true` once the part that brings messages has ended.
    over: bool,
    /// Its last connection.
    last: Option<Connection>,
}

/// Deliveries that end.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ends: Vec<(Tag, End)>,
    /// Gets the tags whose deliveries this worker no longer holds.
    pub(super) lost: oneshot::Sender<Vec<Tag>>,
}

impl Shared {
    pub(super) fn new(options: AmqpOptions, node: &str, replies: Option<Replies>) -> Self {
        Shared {
            options,
            node: node.to_owned(),
            replies,
            health: Arc::default(),
            inner: Mutex::default(),
            queues: AtomicU64::new(0),
            ordered: Notify::new(),
            delivered_often: Notify::new(),
            ended: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No section that holds the lock can panic between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn endpoint(&self) -> &AmqpEndpoint {
        &self.options.endpoint
    }

    /// Returns the options of the connection of a role.
    pub(super) fn connect_options(&self, role: &str) -> ConnectOptions {
        ConnectOptions::new(format!("{}/{role}", self.node))
    }

    /// Holds messages that were handed out.
    pub(super) fn hold<'m>(&self, messages: impl IntoIterator<Item = (Tag, &'m Message)>) {
        let mut inner = self.lock();
        for (tag, message) in messages {
            inner.held.insert(tag, message.clone());
        }
    }

    /// Returns a message that is held.
    pub(super) fn held(&self, tag: Tag) -> Option<Message> {
        self.lock().held.get(&tag).cloned()
    }

    /// Returns the tags that are not held.
    pub(super) fn lost(&self, tags: &[Tag]) -> Vec<Tag> {
        let inner = self.lock();
        let lost = tags.iter().filter(|tag| !inner.held.contains_key(tag));
        lost.copied().collect()
    }

    /// Forgets messages that have ended. Returns those that were not held.
    pub(super) fn forget(&self, tags: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
        let mut inner = self.lock();
        let lost = tags
            .into_iter()
            .filter(|tag| inner.held.remove(tag).is_none());
        lost.collect()
    }

    /// Forgets the messages of an opening of a channel, or all messages. Returns their tags.
    pub(super) fn lose(&self, call: Option<u64>) -> Vec<Tag> {
        let mut inner = self.lock();
        let is_lost = |tag: &Tag| call.is_none_or(|call| tag.call == call);
        let lost = inner.held.extract_if(|tag, _| is_lost(tag));
        lost.map(|(tag, _)| tag).collect()
    }

    /// Ends deliveries. Waits until the server has done that, and returns the tags of those that
    /// this worker no longer held.
    pub(super) async fn end(&self, ends: Vec<(Tag, End)>) -> Vec<Tag> {
        if ends.is_empty() {
            return Vec::new();
        }
        let all: Vec<Tag> = ends.iter().map(|(tag, _)| *tag).collect();
        let (lost, answer) = oneshot::channel();
        {
            let mut inner = self.lock();
            if inner.over {
                return all;
            }
            inner.orders.push(Order { ends, lost });
        }
        self.ordered.notify_one();
        // An error means that the part that brings messages has ended: the server puts back what
        // was not acknowledged.
        answer.await.unwrap_or(all)
    }

    /// Returns `true` if deliveries wait for their end, or to be handed out after all.
    pub(super) fn has_orders(&self) -> bool {
        let inner = self.lock();
        !inner.orders.is_empty() || !inner.kept.is_empty()
    }

    /// Lets a message be published anew that the broker has delivered often.
    pub(super) fn publish_anew(&self, tag: Tag, message: Message) {
        self.lock().often.push((tag, message));
        self.delivered_often.notify_one();
    }

    /// Takes the messages that are to be published anew.
    pub(super) fn often_delivered(&self) -> Vec<(Tag, Message)> {
        std::mem::take(&mut self.lock().often)
    }

    /// Notes messages that cannot be published anew, so that they are handed out as they are.
    pub(super) fn keep(&self, tags: Vec<Tag>) {
        if !tags.is_empty() {
            self.lock().kept.extend(tags);
            self.ordered.notify_one();
        }
    }

    /// Takes the messages that are handed out as they are.
    pub(super) fn kept(&self) -> Vec<Tag> {
        std::mem::take(&mut self.lock().kept)
    }

    /// Takes the deliveries that end.
    pub(super) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.lock().orders)
    }

    /// Notes that the server may have deleted queues, with their bindings.
    pub(super) fn queues_changed(&self) {
        self.queues.fetch_add(1, Ordering::Release);
    }

    /// Returns how often queues may have been deleted.
    pub(super) fn queue_changes(&self) -> u64 {
        self.queues.load(Ordering::Acquire)
    }

    /// Notes that the part that brings messages has ended, and keeps its connection.
    pub(super) fn end_with(&self, connection: Option<Connection>) {
        let mut inner = self.lock();
        (inner.over, inner.last) = (true, connection);
        // No part may wait for an answer that will not come.
        inner.orders.clear();
        drop(inner);
        self.ended.notify_one();
    }

    /// Waits until the part that brings messages has ended, and returns its connection.
    pub(super) async fn last_connection(&self) -> Option<Connection> {
        loop {
            {
                let mut inner = self.lock();
                if inner.over {
                    return inner.last.take();
                }
            }
            self.ended.notified().await;
        }
    }
}
