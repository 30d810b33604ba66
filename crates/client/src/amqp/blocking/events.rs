//! A subscription to the events of workers and clients.
//!
//! Events go to the topic exchange `celeryev`. The queue of a subscription belongs to its
//! connection and keeps an event for five seconds, as that of Celery's own receivers. Events that
//! are sent while the connection is lost are lost, too. This program holds the events of one
//! message.

use std::collections::VecDeque;

use celery_protocol::amqp::{Delivery, Event, Method, Reply};
use celery_protocol::events::{Received, decode_amqp};
use celery_protocol::glob::Glob;
use celery_protocol::names::EVENT_EXCHANGE;
use uuid::Uuid;

use super::client::Client;
use super::link::{Link, OTHERS, unexpected, unexpected_reply};
use super::publish::backoff;
use super::receive::{Forgotten, queue_is_gone, settle, start};
use super::temporary::{declare, decoding};
use crate::amqp::Temporary;
use crate::blocking::Wait;
use crate::error::ClientError;

/// A subscription to events, with a connection of its own.
pub struct Events {
    client: Client,
    hearing: Option<Box<Link>>,
    routing_key: String,
    types: Vec<Glob>,
    /// The events of the last message that were not returned yet.
    waiting: VecDeque<Received>,
}

impl Events {
    /// Subscribes to events whose type matches one of the patterns, such as `task-*`.
    ///
    /// # Errors
    /// [`ClientError`] if it could not subscribe.
    pub fn open(
        client: Client,
        types: Vec<Glob>,
        wait: &mut Wait<'_>,
    ) -> Result<Self, ClientError> {
        let mut events = Self {
            client,
            hearing: None,
            routing_key: routing_key(&types),
            types,
            waiting: VecDeque::new(),
        };
        events.hearing = Some(events.subscribe(wait)?);
        Ok(events)
    }

    /// Returns the next event, or `None` if none has come before the deadline. A lost connection is
    /// replaced.
    ///
    /// # Errors
    /// [`ClientError`] if the events cannot be heard.
    pub fn next(&mut self, wait: &mut Wait<'_>) -> Result<Option<Received>, ClientError> {
        let mut backoff = backoff();
        loop {
            if self.client.check_owner() {
                // The subscription belongs to the parent process. The child has one of its own.
                self.hearing = None;
                self.waiting.clear();
            }
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let error = match self.hear(wait) {
                Ok(()) => continue,
                Err(ClientError::Timeout { .. }) if wait.deadline().has_passed() => {
                    return Ok(None);
                }
                Err(error) => error,
            };
            self.hearing = None;
            let is_final = matches!(error, ClientError::CircuitOpen { .. });
            // The queue ends with its connection, or if the server restarts.
            let is_gone = matches!(&error, ClientError::Broker(close) if close.code == 404);
            if is_final || !(is_gone || error.is_retryable()) {
                return Err(error);
            }
            match wait.back_off(&mut backoff) {
                Ok(()) => {}
                Err(ClientError::Timeout { .. }) => return Err(error),
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Waits for the next message and takes over its events.
    fn hear(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let silence = self.client.options.idle_check;
        if self.hearing.is_none() {
            self.hearing = Some(self.subscribe(wait)?);
        }
        let Some(link) = &mut self.hearing else {
            return Ok(());
        };
        let mut is_asked = false;
        loop {
            match link.event_within(silence, wait, "an event")? {
                Some(Event::Delivered {
                    channel: OTHERS,
                    delivery,
                    ..
                }) => {
                    settle(link, delivery.tag, true)?;
                    let types = &self.types;
                    let wanted =
                        |event: &Received| types.iter().any(|glob| glob.matches(&event.kind));
                    self.waiting
                        .extend(events_of(&delivery).into_iter().filter(wanted));
                    return Ok(());
                }
                Some(Event::Replied(OTHERS, Reply::Done)) => is_asked = false,
                Some(Event::Replied(_, other)) => return Err(unexpected_reply(&other)),
                Some(Event::ConsumerCancelled(OTHERS, queue)) => {
                    return Err(queue_is_gone(&queue));
                }
                Some(Event::ChannelClosed(OTHERS, close)) => {
                    return Err(ClientError::Broker(close));
                }
                Some(other) => return Err(unexpected(&other)),
                None if is_asked => {
                    return Err(ClientError::Disconnected {
                        endpoint: self.client.endpoint().display_url(),
                        reason: "it did not answer".to_owned(),
                    });
                }
                None => {
                    // A connection that died unnoticed would look like one without events.
                    ask_for_life(link)?;
                    is_asked = true;
                }
            }
        }
    }

    fn subscribe(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        let queue = format!("{EVENT_EXCHANGE}.{}", Uuid::new_v4());
        let temporary = Temporary::events(&queue, &self.routing_key);
        let mut link = self.client.acquire(wait)?;
        declare(&mut link, temporary, wait)?;
        // Events that are not read stay in the queue, which drops them, and do not fill the
        // connection.
        start(&mut link, &queue, Forgotten::Seen, wait)?;
        Ok(link)
    }
}

/// Returns the events of a message. Other programs may publish anything there.
fn events_of(delivery: &Delivery) -> Vec<Received> {
    let properties = delivery.content.properties();
    let body = &delivery.content.body;
    properties.map_or_else(
        |_| Vec::new(),
        |properties| decode_amqp(&properties, body, &decoding()).unwrap_or_default(),
    )
}

/// Asks for an answer that changes nothing: the limit of deliveries of later consumers.
fn ask_for_life(link: &mut Link) -> Result<(), ClientError> {
    let limit = Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: 1,
        global: false,
    };
    let packed = link.session.request(OTHERS, &limit);
    packed.map_err(ClientError::Unsendable)
}

/// Returns a binding that covers all these types. Celery writes a dot for each dash of a type. Task
/// events of workers have the key `task.multi`.
fn routing_key(types: &[Glob]) -> String {
    let common = Glob::common_prefix(types);
    // A binding compares whole words.
    match common.rsplit_once('-') {
        Some(_) if common.starts_with("task-") => "task.#".to_owned(),
        Some((words, _)) => format!("{}.#", words.replace('-', ".")),
        None => "#".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_binding_covers_all_types() {
        for (types, key) in [
            (&["*"][..], "#"),
            (&["task-*"], "task.#"),
            (&["task-failed"], "task.#"),
            (&["task-sent", "task-failed"], "task.#"),
            (&["worker-heartbeat"], "worker.#"),
            (&["worker-online", "worker-offline"], "worker.#"),
            (&["worker-*", "task-*"], "#"),
            (&["ta*"], "#"),
            (&["*-failed"], "#"),
            (&["my-own-event"], "my.own.#"),
        ] {
            let globs: Vec<Glob> = types.iter().map(|it| Glob::new(it).unwrap()).collect();
            assert_eq!(routing_key(&globs), key, "{types:?}");
        }
    }
}
