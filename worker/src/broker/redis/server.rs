//! Redis as a broker.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{DecodeOptions, EncodeError, EncodeOptions, Task};
use celery_protocol::serializer::Serializer;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::connector::{Connector, Store};
use super::fair::{self, Found};
use super::inbound::Inbound;
use super::layout::Layout;
use super::leases;
use super::session::Session;
use crate::broker::admission::Admission;
use crate::broker::contract::{Broker, Connectivity, Role, Upkeep};
use crate::broker::control::AnyChannel;
use crate::broker::events::EventChannel;
use crate::broker::held::Envelope;
use crate::broker::ledger::Ledger;
use crate::broker::options::{FairQueue, RedisOptions, Results, Subscription};
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// Redis, and what all roles of a worker share.
#[derive(Debug)]
pub(crate) struct Server {
    options: RedisOptions,
    broker: Connector,
    /// The server of the results, if it is another one.
    results: Option<Store>,
    fair: Vec<FairQueue>,
}

impl Server {
    pub(crate) fn new(options: RedisOptions, subscription: &Subscription<'_>) -> Self {
        let keys = match subscription.results {
            Results::Server(server) => options.endpoint.keys_with_results(server.key_prefix()),
            Results::Broker | Results::Replies | Results::Disabled => options.endpoint.keys(),
        };
        let layout = Arc::new(Layout::new(keys, subscription));
        let results = match subscription.results {
            Results::Server(server) => Some(Store::with(server, Arc::clone(&layout))),
            Results::Broker | Results::Replies | Results::Disabled => None,
        };
        Server {
            broker: Connector::new(&options.endpoint, layout),
            results,
            options,
            fair: subscription.fair.to_vec(),
        }
    }
}

impl Broker for Server {
    type Message = Envelope;
    type Inbound = Inbound;
    type Outbound = Session;
    type Elsewhere = Session;

    fn encode(task: &Task, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        task.encode_redis(options)
    }

    fn decode(message: &[u8], _queue: &str) -> Option<Task> {
        Task::decode_redis_with(message, &DecodeOptions::default().accept(&Serializer::ALL)).ok()
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.options.lease)
    }

    fn health(&self) -> Arc<dyn Connectivity> {
        self.broker.health()
    }

    fn health_elsewhere(&self) -> Option<Arc<dyn Connectivity>> {
        self.results.as_ref().map(Store::health)
    }

    fn inbound(&self, ledger: &Arc<Ledger>, pulse: &Arc<Pulse>) -> Inbound {
        Inbound::new(
            self.broker
                .watched("fetch", pulse)
                .claiming(self.options.claim)
                .listening(),
            Arc::clone(ledger),
            self.options.safety_claim,
        )
    }

    fn outbound(&self, role: &'static str, pulse: &Arc<Pulse>) -> Session {
        self.broker.watched(role, pulse)
    }

    fn elsewhere(&self, pulse: &Arc<Pulse>) -> Option<Session> {
        let results = self.results.as_ref()?;
        Some(results.session(pulse))
    }

    fn upkeep(&self, upkeep: Upkeep) -> Vec<Role> {
        let Upkeep {
            ledger,
            pulses,
            observers,
            shutdown,
        } = upkeep;
        let found = Arc::new(Found::default());
        let sweep = Role::new("sweep", &pulses, |pulse| {
            let session = self.broker.watched("sweep", &pulse);
            let (ledger, observers) = (Arc::clone(&ledger), observers.clone());
            let (options, found) = (self.options.clone(), Arc::clone(&found));
            leases::sweep(session, ledger, options, found, pulse, observers)
        });
        let lease = Role::new("lease", &pulses, |pulse| {
            let session = self.broker.watched("lease", &pulse);
            leases::renew(session, ledger, self.options.renewal(), pulse, observers)
        });
        let fair = Role::new("fair", &pulses, |pulse| {
            let session = self.broker.watched("fair", &pulse);
            fair::sort(session, self.fair.clone(), found, pulse, shutdown)
        });
        vec![sweep, lease, fair]
    }

    fn control(&self, pulse: &Arc<Pulse>) -> AnyChannel {
        AnyChannel::new(self.broker.control(self.results.as_ref(), pulse))
    }

    fn events(&self, pulse: &Arc<Pulse>) -> Box<dyn EventChannel> {
        Box::new(self.broker.events(pulse))
    }

    fn admission(&self, pulse: &Arc<Pulse>) -> Box<dyn Admission> {
        Box::new(self.broker.watched("admission", pulse))
    }

    fn give_back(&self, tags: Vec<Tag>) -> BoxFuture<'static, usize> {
        let mut session = self.broker.session("close");
        async move {
            // A claim may have been interrupted. If that fails, a sweeper finds its messages.
            let _ = session.try_return_own().await;
            let swept = session.abandon(&tags).await;
            swept.map_or(0, |swept| swept.restored + swept.dead)
        }
        .boxed()
    }
}
