//! A broker in memory, for tests: it needs no server, and it can be cut off, frozen and crashed.
//!
//! It differs from Redis where RabbitMQ does. The tests thus show that the traits fit more than one
//! kind of broker:
//!
//! * A message is held until its connection ends, not for a lease.
//! * A tag names a connection and a number in it. Tags of an earlier connection are lost.
//! * A message carries the number of its starts. To change that number, the server puts the message
//!   back, and it is delivered anew (`Begin::Again`).
//! * If it [`delays`](Server::delaying), it keeps messages until they are due, and nothing is
//!   fetched.
//!
//! * `server` – the server, as tests see it; `state` – what it holds; `chords` – its chords.
//! * `client` – the parts of a worker.

mod chords;
mod client;
mod server;
mod state;

pub(crate) use self::client::Client;
pub use self::server::Server;
pub use self::state::{Dead, Depth};
