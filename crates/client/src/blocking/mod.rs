//! What every blocking driver needs: deadlines, interrupts, forks, names and sockets.
//!
//! All waiting goes through a [`Wait`]. It holds one absolute [`Deadline`] for the whole call and an
//! [`Interrupt`] that is checked at least every 50 ms.
//!
//! The modules, from the bottom:
//!
//! * `process`: recognizing forks;
//! * `wait`: deadline and interrupt;
//! * `resolve` and `socket`: names, and bytes in and out;
//! * `spin`: whether a wait looks for its answer before it sleeps.

mod process;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod spin;
pub(crate) mod wait;

pub use process::Process;
pub use wait::{Deadline, Interrupt, Interrupted, NeverInterrupt, Wait};
