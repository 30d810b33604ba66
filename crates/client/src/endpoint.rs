//! The address of a Redis and the login to it: address, TLS, credentials, database, key prefix.
//!
//! An [`Endpoint`] is a checked value: no part of it contains a control character, its database is
//! a number, and contradicting options were refused. It does not connect; the drivers do.
//!
//! Its password is masked in every output. Its [`identity`](Endpoint::identity) is a hash of the
//! parts that distinguish servers, never of a password. So a stored result can name its connection
//! without revealing how to reach it.

mod address;
mod builder;
mod server;
mod url;

pub use address::{Address, DEFAULT_PORT, TlsOptions};
pub use builder::EndpointBuilder;
pub use server::Endpoint;
