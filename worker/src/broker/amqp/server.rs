//! RabbitMQ as a broker.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{EncodeError, EncodeOptions, Task};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::control::AmqpControl;
use super::events::AmqpEvents;
use super::inbound::Inbound;
use super::link::Link;
use super::message::{self, Message};
use super::outbound::Outbound;
use super::publisher::Publisher;
use super::recount;
use super::replies::Replies;
use super::shared::Shared;
use crate::broker::contract::{Broker, Connectivity, Role, Upkeep};
use crate::broker::control::AnyChannel;
use crate::broker::events::EventChannel;
use crate::broker::ledger::Ledger;
use crate::broker::options::{AmqpOptions, QueueOrder, Results, Subscription};
use crate::broker::queues::Queues;
use crate::broker::redis::{Session, Store};
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// The name of the role of [`recount`].
const RECOUNT: &str = "recount";

/// RabbitMQ, and what all roles of a worker share.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    queues: Arc<Queues>,
    order: QueueOrder,
    /// The server of the results, if there is one.
    results: Option<Store>,
}

impl Server {
    pub(crate) fn new(options: AmqpOptions, subscription: &Subscription<'_>) -> Self {
        let replies = match subscription.results {
            Results::Replies => Some(Replies::new(subscription.form)),
            Results::Broker | Results::Server(_) | Results::Disabled => None,
        };
        Server {
            shared: Arc::new(Shared::new(options, subscription.node, replies)),
            queues: Arc::clone(subscription.queues),
            order: subscription.order.clone(),
            results: match subscription.results {
                Results::Server(server) => Some(Store::new(server, subscription)),
                Results::Broker | Results::Replies | Results::Disabled => None,
            },
        }
    }
}

impl Broker for Server {
    type Message = Message;
    type Inbound = Inbound;
    type Outbound = Outbound;
    type Elsewhere = Session;

    fn encode(task: &Task, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        message::encode(task, options)
    }

    fn decode(message: &[u8], queue: &str) -> Option<Task> {
        message::decode(message, queue)
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn health(&self) -> Arc<dyn Connectivity> {
        Arc::clone(&self.shared.health) as Arc<dyn Connectivity>
    }

    fn health_elsewhere(&self) -> Option<Arc<dyn Connectivity>> {
        self.results.as_ref().map(Store::health)
    }

    fn inbound(&self, ledger: &Arc<Ledger>, pulse: &Arc<Pulse>) -> Inbound {
        Inbound::new(&self.shared, &self.queues, &self.order, ledger, pulse)
    }

    fn outbound(&self, role: &'static str, pulse: &Arc<Pulse>) -> Outbound {
        Outbound::new(&self.shared, role, pulse)
    }

    fn elsewhere(&self, pulse: &Arc<Pulse>) -> Option<Session> {
        let results = self.results.as_ref()?;
        Some(results.session(pulse))
    }

    fn control(&self, pulse: &Arc<Pulse>) -> AnyChannel {
        let link = Link::new(&self.shared, "control", pulse);
        let results = self.results.as_ref().map(Store::revoked);
        AnyChannel::new(AmqpControl::new(link, results))
    }

    fn upkeep(&self, upkeep: Upkeep) -> Vec<Role> {
        vec![Role::new(RECOUNT, &upkeep.pulses, |pulse| {
            let publisher = Publisher::new(&self.shared, RECOUNT, &pulse);
            recount::run(Arc::clone(&self.shared), publisher, pulse)
        })]
    }

    fn events(&self, pulse: &Arc<Pulse>) -> Box<dyn EventChannel> {
        Box::new(AmqpEvents::new(Link::new(&self.shared, "events", pulse)))
    }

    /// Closes the connection that consumed. The server then puts back all that was not acknowledged.
    fn give_back(&self, tags: Vec<Tag>) -> BoxFuture<'static, usize> {
        let shared = Arc::clone(&self.shared);
        async move {
            let Some(connection) = shared.last_connection().await else {
                return 0;
            };
            match connection.close().await {
                Ok(()) => tags.len(),
                Err(_) => 0,
            }
        }
        .boxed()
    }
}
