//! Defines what a broker does for the worker, and implements it.
//!
//! The consumer is generic over [`Broker`], which gives a part to each role:
//!
//! * [`Inbound`] – brings messages, and carries acknowledgements.
//! * [`Outbound`] – carries out settlements, counts redeliveries, parks messages.
//! * [`Backend`] – stores results and chords. A broker that stores them itself does so in one step
//!   with the settlement.
//! * [`control`] – the channel of remote control.
//! * [`admission`] – asks whether calls of limited tasks may begin.
//! * [`schedules`] – the store of schedules, which a process without a consumer can use, too.
//! * upkeep – roles that only one broker needs, such as renewing leases.
//! * [`Held`] – the message as it arrived: the facts that are known before its body is read, and
//!   its task.
//!
//! The account of the held messages, the [`Ledger`], is the same for all brokers.
//!
//! [`Transport`] names the broker and its own options. There are three: [`redis`], [`amqp`] for
//! RabbitMQ, and [`memory`] for tests.

pub(crate) mod admission;
pub(crate) mod amqp;
mod backend;
mod contract;
pub(crate) mod control;
pub(crate) mod events;
mod held;
mod held_limit;
mod inbound;
mod ledger;
mod lock;
pub mod memory;
mod options;
mod order;
mod outbound;
mod queues;
pub(crate) mod redis;
mod revoked;
pub(crate) mod schedules;
mod settlement;
mod tag;
mod transport;

pub(crate) use self::backend::Backend;
pub(crate) use self::contract::{Broker, Connectivity, Role, Upkeep};
pub(crate) use self::held::{Held, Peek};
pub(crate) use self::held_limit::HeldLimit;
pub(crate) use self::inbound::{Claimed, Inbound};
pub use self::ledger::MAX_HELD;
pub(crate) use self::ledger::{ACKS, InHand, LINGER, Ledger, Waits};
pub use self::lock::Lock;
pub(crate) use self::lock::{Locked, Locking};
pub use self::options::{AmqpOptions, ClaimMode, QueueOrder, RedisOptions, Results};
pub(crate) use self::options::{FairQueue, RPC, Subscription};
pub(crate) use self::outbound::{Begin, Begun, Outbound};
pub(crate) use self::queues::Queues;
pub(crate) use self::revoked::{Revoked, stamp_text, stamps};
pub(crate) use self::settlement::{
    Chord, Complete, Document, Fate, Join, Letter, Outgoing, Part, Redelivery, Reply, ResultStep,
    Settled, Settlement, Step,
};
pub use self::tag::Tag;
pub use self::transport::Transport;
