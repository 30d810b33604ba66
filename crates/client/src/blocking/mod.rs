//! What every blocking driver needs: deadlines, interrupts, forks, names, sockets and circuits.
//!
//! All waiting goes through a [`Wait`]. It holds one absolute [`Deadline`] for the whole call and an
//! [`Interrupt`] that is checked at least every 50 ms.
//!
//! The modules, from the bottom:
//!
//! * `process`: recognizing forks;
//! * `wait`: deadline and interrupt;
//! * `resolve` and `socket`: names, and bytes in and out;
//! * `spin`: whether a wait looks for its answer before it sleeps;
//! * `circuit`: servers that could not be reached, and are not asked for a while;
//! * `stream`: an open connection, with or without TLS; `not_open`: why there is none;
//! * `connect`: opening one, through its circuit and with repeats;
//! * `pool`: idle connections between two calls;
//! * `question`: a command that workers reply to.

pub(crate) mod circuit;
pub(crate) mod connect;
pub(crate) mod not_open;
pub mod pool;
mod process;
pub(crate) mod question;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod spin;
pub(crate) mod stream;
pub(crate) mod wait;

pub use circuit::{CircuitOptions, Unreached, unreached};
pub use process::Process;
pub use wait::{Deadline, Interrupt, Interrupted, NeverInterrupt, Wait};
