//! Publishes events on RabbitMQ: Celery's topic exchange `celeryev`, with the routing keys of
//! Python.
//!
//! The connection opens at the first event, and has no other use. Each batch waits for its confirms,
//! so that no more events are on their way than one batch has. While RabbitMQ takes nothing, events
//! stay in the buffer of the role, which is limited.

use std::sync::Arc;

use celery_client::amqp::Exchange;
use celery_client::amqp::aio::{Failure, Publication};
use celery_protocol::amqp::{AmqpError, Close};
use celery_protocol::events::Message;
use celery_protocol::message::AmqpMessage;
use celery_protocol::names::EVENT_EXCHANGE;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::link::Link;
use crate::broker::events::EventChannel;

/// The channel for the declaration of the exchange. The server may close it because of that.
const DECLARING: u16 = 2;
/// RabbitMQ's code for something that does not exist.
const NOT_FOUND: u16 = 404;

/// The connection of the events role.
pub(super) struct AmqpEvents {
    link: Link,
    /// The number of the connection that has declared the exchange.
    declared_by: Option<u64>,
    /// `true` once the log says that publishing is refused.
    told: bool,
}

impl AmqpEvents {
    pub(super) fn new(link: Link) -> Self {
        AmqpEvents {
            link,
            declared_by: None,
            told: false,
        }
    }

    async fn send(&mut self, messages: &[Message]) {
        let encoded: Result<Vec<AmqpMessage>, AmqpError> =
            messages.iter().map(Message::encode_amqp).collect();
        let sent = match encoded {
            Ok(encoded) => {
                // An alarm of the server may last for hours.
                let pulse = Arc::clone(&self.link.pulse);
                pulse.idle(self.try_send(messages, &encoded)).await
            }
            Err(error) => Err(Failure::Unsendable(error)),
        };
        match sent {
            Ok(Ok(())) => self.told = false,
            Ok(Err(close)) => {
                self.declared_by = None;
                // Another program has deleted the exchange. It is declared again for the next events.
                if close.code != NOT_FOUND {
                    self.tell(&close.to_string());
                }
            }
            Err(Failure::Unsendable(error)) => self.tell(&error.to_string()),
            Err(failure) => self.link.failed(&failure),
        }
    }

    /// Publishes messages. The inner error is a refusal.
    async fn try_send(
        &mut self,
        messages: &[Message],
        encoded: &[AmqpMessage],
    ) -> Result<Result<(), Close>, Failure> {
        // A new connection may be one to a server that was restarted.
        self.link.connection().await;
        if self.declared_by != self.link.opening() {
            let connection = self.link.ask().await;
            let declared = connection.declare_exchange(DECLARING, Exchange::EVENTS);
            let declared = declared.await?;
            self.link.answered();
            if let Err(close) = declared {
                return Ok(Err(close));
            }
            self.declared_by = self.link.opening();
        }
        let mut publications = Vec::with_capacity(messages.len());
        for (message, encoded) in messages.iter().zip(encoded) {
            publications.push(Publication {
                exchange: EVENT_EXCHANGE,
                routing_key: &message.routing_key,
                properties: encoded.properties().map_err(Failure::Unsendable)?,
                body: &encoded.body,
                may_be_lost: true,
            });
        }
        self.link.publish_once(&publications).await
    }

    fn tell(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "Events are lost: the broker does not let this worker publish them ({reason})"
            );
        }
    }
}

impl EventChannel for AmqpEvents {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, ()> {
        self.send(messages).boxed()
    }
}
