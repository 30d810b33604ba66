//! The parts that a broker gives to the consumer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{EncodeError, EncodeOptions, Task};
use futures_util::future::BoxFuture;

use super::admission::{Admission, Unlimited};
use super::backend::Backend;
use super::control::{AnyChannel, Silence};
use super::events::{EventChannel, Unheard};
use super::held::Held;
use super::inbound::Inbound;
use super::ledger::Ledger;
use super::outbound::Outbound;
use super::tag::Tag;
use crate::Shutdown;
use crate::monitor::{Observers, Pulse, Pulses};

/// A broker, as a worker uses it.
///
/// It moves messages and does not know about tasks: it receives a verdict as a finished settlement.
/// The consumer takes a part for each of its roles. It is generic over this trait, so that calls
/// about messages need no dispatch at run time.
pub(crate) trait Broker: Send + Sync + 'static {
    /// The message as this broker carries it.
    type Message: Held;
    type Inbound: Inbound<Message = Self::Message>;
    type Outbound: Outbound<Message = Self::Message>;
    /// The store of the results, if it is not the broker.
    type Elsewhere: Backend;

    /// Writes a task in the form in which this broker carries messages.
    ///
    /// # Errors
    ///
    /// Returns [`EncodeError`] if the task cannot be written.
    fn encode(task: &Task, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError>;

    /// Reads a message again that [`encode`](Self::encode) has written for a queue.
    fn decode(message: &[u8], queue: &str) -> Option<Task>;

    /// Returns how long a lease lasts without a renewal. `None`: a message is held until its
    /// connection ends.
    fn lease(&self) -> Option<Duration>;

    /// Returns the state of its connections.
    fn health(&self) -> Arc<dyn Connectivity>;

    /// Returns the state of the connections to the server of the results, if it is not the broker.
    fn health_elsewhere(&self) -> Option<Arc<dyn Connectivity>> {
        None
    }

    /// Returns the part that brings messages. It takes its acknowledgements from the ledger.
    fn inbound(&self, ledger: &Arc<Ledger>, pulse: &Arc<Pulse>) -> Self::Inbound;

    /// Returns the part with which a role carries out verdicts.
    fn outbound(&self, role: &'static str, pulse: &Arc<Pulse>) -> Self::Outbound;

    /// Returns the store of the results, if it is not the broker.
    fn elsewhere(&self, _pulse: &Arc<Pulse>) -> Option<Self::Elsewhere> {
        None
    }

    /// Returns the roles that only this broker needs, for example to renew leases. Default: none.
    fn upkeep(&self, _upkeep: Upkeep) -> Vec<Role> {
        Vec::new()
    }

    /// Returns the channel of remote control. Default: no request comes.
    fn control(&self, _pulse: &Arc<Pulse>) -> AnyChannel {
        AnyChannel::new(Silence::default())
    }

    /// Returns the channel of events. Default: no program listens.
    fn events(&self, _pulse: &Arc<Pulse>) -> Box<dyn EventChannel> {
        Box::new(Unheard)
    }

    /// Returns the channel on which calls of limited tasks ask to begin. Default: each may begin at
    /// once.
    fn admission(&self, _pulse: &Arc<Pulse>) -> Box<dyn Admission> {
        Box::new(Unlimited)
    }

    /// Gives back messages that are still held, marked as redelivered, and returns their number. A
    /// worker calls this at its end, when no role runs any longer. It is tried only once.
    fn give_back(&self, tags: Vec<Tag>) -> BoxFuture<'static, usize>;
}

/// What the roles of [`Broker::upkeep`] need.
pub(crate) struct Upkeep {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) pulses: Arc<Pulses>,
    pub(crate) observers: Observers,
    pub(crate) shutdown: Shutdown,
}

/// A loop of the consumer. It runs until the consumer ends.
///
/// Its future holds its pulse, which shows supervisors whether the loop still runs.
pub(crate) struct Role {
    /// The name in the log and of its pulse.
    pub(crate) name: &'static str,
    pub(crate) run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Role {
    /// Makes a role whose pulse has its name.
    pub(crate) fn new<F>(
        name: &'static str,
        pulses: &Pulses,
        run: impl FnOnce(Arc<Pulse>) -> F,
    ) -> Role
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = Box::pin(run(pulses.watch(name)));
        Role { name, run }
    }
}

/// The state of the connections to a server.
pub(crate) trait Connectivity: fmt::Debug + Send + Sync {
    /// Returns `true` if every connection is up, as far as known.
    fn is_up(&self) -> bool;

    /// Returns how often a lost connection was opened again.
    fn reconnects(&self) -> u64;

    /// Waits until every connection is up.
    fn up(&self) -> BoxFuture<'_, ()>;
}
