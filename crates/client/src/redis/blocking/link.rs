//! A connection to a Redis, with a type for each of its states.
//!
//! ```text
//!            open
//!              │
//!              ▼        subscribe                unsubscribe
//!   ┌───► Ready: Link ────────────► Listening ───────────────► Leaving ───┐
//!   │                                   ▲                         │       │
//!   │                                   └─────────────────────────┘       │
//!   │                                            subscribe                │
//!   └─────────────────────────────────────────────────────────────────────┘
//!                     the answer to UNSUBSCRIBE has arrived
//! ```
//!
//! The states of listening are those of RESP2. In RESP3 a `Link` stays ready while it listens,
//! because messages come as pushes among the answers.
//!
//! A step from one state to another consumes the old value. A step that fails drops the connection:
//! after an error in the middle of an exchange, the next answer could belong to another command.
//!
//! * `wire`: the socket and its buffers;
//! * `debts`: the answers that are owed to pipelined posts;
//! * `ready`: a connection that answers commands;
//! * `login`: opening it;
//! * `channel`: listening and leaving in RESP2;
//! * `hearing`: hearing all channels of a pattern.

mod auth;
mod channel;
mod debts;
mod hearing;
mod locate;
mod login;
mod ready;
mod wire;

pub(super) use channel::{Listening, Resting};
pub(super) use debts::Owed;
pub(super) use hearing::Hearing;
pub(super) use ready::Link;
pub(super) use wire::{Answer, Arrival, Push, Wire};
