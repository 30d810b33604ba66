//! Where a broker or a result backend is, and the login to it.
//!
//! An [`Endpoint`] is a checked value: no part of it contains a control character, and
//! contradicting options were refused. It does not connect; the drivers do.
//!
//! Its password is masked in every output. Its [`identity`](Endpoint::identity) is a hash of the
//! parts that distinguish servers, never of a password. So a stored result can name its connection
//! without revealing how to reach it.
//!
//! * `any`: the kinds of servers, and the choice by a URL's scheme;
//! * `builder`: an endpoint from separate options;
//! * `address`, `tls_options`, `url` and `parts`: what the kinds have in common.
//!
//! The endpoint of each kind is with its drivers, such as
//! [`RedisEndpoint`](crate::redis::RedisEndpoint).

pub(crate) mod address;
mod any;
mod builder;
pub(crate) mod parts;
pub(crate) mod tls_options;
pub(crate) mod url;

pub use address::Address;
pub use any::Endpoint;
pub use builder::EndpointBuilder;
pub use tls_options::TlsOptions;
