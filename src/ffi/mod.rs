//! Everything that uses PHP's C interface, and the only folder with `unsafe`.
//!
//! The modules offer safe functions to the rest of the extension: declaring classes, reading the
//! arguments of a call, throwing, settings, JSON, properties, interrupts. They do not know Celery.
//!
//! PHP's *bailout* (a `longjmp` on `exit`, a fatal error or the memory limit) skips Rust's
//! destructors. Two rules keep it harmless:
//!
//! * No `RefCell` borrow and no lock is held while PHP code can run or PHP memory can be allocated.
//! * PHP code and large allocations run inside [`bailout::catch`].
#![allow(unsafe_code, reason = "PHP's interface is C")]

mod arguments;
pub(crate) mod bailout;
pub(crate) mod call;
pub(crate) mod class;
pub(crate) mod clock;
pub(crate) mod ini;
pub(crate) mod interrupt;
pub(crate) mod invoke;
pub(crate) mod iterable;
pub(crate) mod iterator;
pub(crate) mod json;
mod member;
pub(crate) mod module;
pub(crate) mod object;
pub(crate) mod properties;
pub(crate) mod reserve;
pub(crate) mod room;
pub(crate) mod throw;
pub(crate) mod type_name;
pub(crate) mod types;
pub(crate) mod value;
