//! Publishes events on Redis: kombu's topic exchange `celeryev` is one channel for each routing
//! key.

use std::sync::Arc;

use celery_client::aio::{Pipeline, Supervised};
use celery_protocol::events::Message;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::connector::Connector;
use super::layout::Layout;
use crate::broker::events::EventChannel;
use crate::monitor::Pulse;

/// The connection of the events role.
pub(super) struct RedisEvents {
    link: Supervised,
    layout: Arc<Layout>,
    database: u32,
    /// `true` once the log says that publishing is refused.
    told: bool,
}

impl Connector {
    /// Returns the channel of events, with a connection of its own, which opens at the first event.
    /// The pulse beats at every answer and every failed try.
    pub(super) fn events(&self, pulse: &Arc<Pulse>) -> RedisEvents {
        let pulse = Arc::clone(pulse);
        RedisEvents {
            // A worker is ready without events.
            link: self.link("events").at_need().watched(move || pulse.beat()),
            layout: Arc::clone(&self.layout),
            database: self.endpoint.database(),
            told: false,
        }
    }
}

impl RedisEvents {
    async fn send(&mut self, messages: &[Message]) {
        let mut calls = Pipeline::new();
        for message in messages {
            let keys = &self.layout.keys;
            let channel = keys.event_channel(self.database, &message.routing_key);
            let payload = message.encode_redis(&Uuid::new_v4().to_string());
            calls.cmd("PUBLISH").arg(channel).arg(payload);
        }
        match self.link.connection().await.pipeline(&calls).await {
            Ok(_) => {
                self.told = false;
                self.link.worked();
            }
            Err(refused) if refused.is_lasting() => {
                // The worker is not cut off from its broker: the connection stays open.
                self.link.worked();
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(
                        "Events are lost: the broker does not let this worker publish them ({refused})"
                    );
                }
            }
            Err(failure) => self.link.failed(&failure),
        }
    }
}

impl EventChannel for RedisEvents {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, ()> {
        self.send(messages).boxed()
    }
}
