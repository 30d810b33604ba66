//! A subscription to the events of workers and clients.
//!
//! Events go to the exchange `celeryev`, which on Redis is one channel for each type of event. Task
//! events of workers come as lists, on one channel for all types. So the subscription is to one
//! pattern that covers the types that are asked for, and the events are selected here.
//!
//! Redis does not keep events: those that are sent while the connection is lost are lost, too. What
//! the caller does not take waits in the buffers of the connection, which Redis limits
//! (`client-output-buffer-limit pubsub`). This program holds the events of one message.

use std::collections::VecDeque;

use celery_protocol::events::{Received, decode_redis};
use celery_protocol::glob::Glob;

use super::Client;
use super::client::backoff;
use super::control::options;
use super::link::Hearing;
use crate::blocking::Wait;
use crate::error::ClientError;

/// A subscription to events, with a connection of its own.
pub struct Events {
    client: Client,
    hearing: Option<Hearing>,
    /// The pattern of channels that covers all of `types`.
    pattern: String,
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
        let prefix = routing_prefix(&types);
        let database = client.endpoint().database();
        let pattern = client.keys().event_pattern(database, &prefix);
        let mut events = Self {
            client,
            hearing: None,
            pattern,
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
        // Whether the connection was asked for a sign of life after a silence.
        let mut asked = false;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match self.hear(&mut asked, wait) {
                Ok(()) => {}
                Err(ClientError::Timeout { .. }) if wait.deadline().has_passed() => {
                    return Ok(None);
                }
                Err(error @ ClientError::CircuitOpen { .. }) => return Err(error),
                Err(error) if error.is_retryable() => {
                    self.hearing = None;
                    asked = false;
                    match wait.back_off(&mut backoff) {
                        Ok(()) => {}
                        Err(ClientError::Timeout { .. }) => return Err(error),
                        Err(ended) => return Err(ended),
                    }
                }
                Err(error) => {
                    self.hearing = None;
                    return Err(error);
                }
            }
        }
    }

    /// Waits for the next message and takes over its events.
    fn hear(&mut self, asked: &mut bool, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        const WHAT: &str = "an event";
        if !self.client.is_own() {
            // The subscription belongs to the parent process. The child has one of its own.
            self.hearing = None;
            let endpoint = self.client.endpoint().clone();
            self.client = Client::new(endpoint, self.client.options.clone());
            self.waiting.clear();
        }
        if self.hearing.is_none() {
            self.hearing = Some(self.subscribe(wait)?);
        }
        let Some(hearing) = &mut self.hearing else {
            return Ok(());
        };
        // A connection that died unnoticed would look like one without events.
        let silence = self.client.options.idle_check;
        match hearing.next(&mut wait.within(silence), WHAT) {
            Ok(Some(raw)) => {
                *asked = false;
                // Other programs may publish anything there.
                let events = decode_redis(&raw, &options()).unwrap_or_default();
                let types = &self.types;
                let wanted = |event: &Received| types.iter().any(|glob| glob.matches(&event.kind));
                self.waiting.extend(events.into_iter().filter(wanted));
                Ok(())
            }
            Ok(None) => {
                *asked = false;
                Ok(())
            }
            Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {
                if std::mem::replace(asked, true) {
                    return Err(ClientError::Disconnected {
                        endpoint: self.client.endpoint().display_url(),
                        reason: "it did not answer PING".to_owned(),
                    });
                }
                hearing.ask_for_life(wait)
            }
            Err(error) => Err(error),
        }
    }

    fn subscribe(&mut self, wait: &mut Wait<'_>) -> Result<Hearing, ClientError> {
        let link = self.client.acquire_quiet(wait)?;
        match Hearing::begin(link, &self.pattern, wait)? {
            Ok(hearing) => Ok(hearing),
            Err((link, refused)) => {
                self.client.keep(link);
                Err(self.client.endpoint().refused(refused))
            }
        }
    }
}

/// Returns the text with which the routing keys of all these types begin. Celery writes a dot for
/// each dash of a type. Task events may be on the channel `task.multi`.
fn routing_prefix(types: &[Glob]) -> String {
    let common = Glob::common_prefix(types);
    match common.strip_prefix("task-") {
        Some(_) => "task.".to_owned(),
        None => common.replace('-', "."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pattern_covers_all_types() {
        for (types, prefix) in [
            (&["*"][..], ""),
            (&["task-*"], "task."),
            (&["task-failed"], "task."),
            (&["task-sent", "task-failed"], "task."),
            (&["worker-heartbeat"], "worker.heartbeat"),
            (&["worker-online", "worker-offline"], "worker.o"),
            (&["worker-*", "task-*"], ""),
            (&["ta*"], "ta"),
            (&["*-failed"], ""),
            (&["my-own-event"], "my.own.event"),
        ] {
            let globs: Vec<Glob> = types.iter().map(|it| Glob::new(it).unwrap()).collect();
            assert_eq!(routing_prefix(&globs), prefix, "{types:?}");
        }
    }
}
