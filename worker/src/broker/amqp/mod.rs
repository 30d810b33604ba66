//! Moves messages on RabbitMQ.
//!
//! # States
//!
//! ```text
//!                  deliver                  settle: publish + confirm, then acknowledge
//!    ┌── queue ──────────────► held ───────────────────────────────────────────► gone
//!    │     ▲  ▲                 │ │
//!    │     │  │  nack / the end │ │ park: publish + confirm, then acknowledge
//!    │     │  └── of a channel ─┤ ▼
//!    │     └──── due ──── Celery's native delay
//!    │                          │
//!    │                          └── settle: dead ──────────────────────────────► celery.dead
//!    └── begin of a redelivered message: a copy with the next count, then acknowledge
//! ```
//!
//! # Authority
//!
//! The broker decides who holds a message: the channel on which it was delivered, until that
//! channel ends. [`Tag::call`](super::Tag) numbers the openings of channels. A tag of an earlier
//! opening is lost: the message is in its queue again, or with another worker, and nothing is sent
//! for it.
//!
//! # Guarantee
//!
//! A message is acknowledged after everything that follows from its end is confirmed. It is
//! therefore handled at least once. The broker has no transaction over several queues, so a worker
//! that ends between the two handles it again, and its follow-ups may then exist twice.
//!
//! # Connections
//!
//! Acknowledgements must go where the delivery came from, and a server that is short of memory reads
//! no connection that publishes. So one connection consumes and acknowledges, and each role that
//! publishes has another one. So have remote control and events, whose requests may close a channel.
//!
//! # Layout
//!
//! * `server` – [`Server`], the broker; `shared` – what its parts share.
//! * `inbound` – the connection that consumes; `consuming` – its requests; `lane` – the
//!   channel of a queue.
//! * `link` – the connection of any other role.
//! * `outbound` – verdicts; `piece` – what is published for one; `publisher` – messages that must not get lost; `replies` – results as
//!   replies.
//! * `control` – the channel of remote control, `asking` – replies to the worker's own requests;
//!   `events` – the channel of events.
//! * `letters` – the dead letters, for the command line.
//! * `recount` – messages that the broker has delivered often, published anew.
//! * `message` – messages as they are delivered and published; `dead` – the queue of dead letters;
//!   `delay` – Celery's native delay.

mod asking;
mod consuming;
mod control;
mod dead;
mod delay;
mod events;
mod inbound;
mod lane;
mod letters;
mod link;
mod message;
mod outbound;
mod piece;
mod publisher;
mod recount;
mod replies;
mod server;
mod shared;

pub(crate) use self::letters::{Letter, Letters, Replayed};
pub(crate) use self::server::Server;
