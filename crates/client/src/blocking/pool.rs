//! The connections of one process (one thread, where PHP is thread-safe), at rest.
//!
//! A plain value: no locks, no I/O but the closing of sockets. A client is taken out before it is used and put back
//! after, so that the caller may be torn away at any point. A forked child finds its parent's connections here and
//! only closes its copies of the descriptors: nothing is sent on them, so the parent goes on undisturbed.

use std::sync::Arc;

use super::client::{Client, ClientOptions};
use crate::endpoint::Endpoint;

/// How many connections rest, and how the clients behave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Connections kept at rest, over all endpoints; the one unused for longest is closed first.
    pub max_connections: usize,
    /// Given to every client that is taken.
    pub client: ClientOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 8,
            client: ClientOptions::default(),
        }
    }
}

/// The resting connections.
pub struct Pool {
    options: PoolOptions,
}

impl Pool {
    /// An empty pool; it opens nothing.
    pub fn new(options: PoolOptions) -> Self {
        Self { options }
    }

    /// Other options, from the next `take` and `put` on.
    pub fn set_options(&mut self, options: PoolOptions) {
        self.options = options;
    }

    /// A client for `endpoint`, with a resting connection if there is one; else it connects at its first call.
    pub fn take(&mut self, endpoint: &Arc<Endpoint>) -> Client {
        let _ = endpoint;
        todo!()
    }

    /// Takes a client's connection back. One that is in the middle of something, or broken, is closed instead.
    pub fn put(&mut self, client: Client) {
        let _ = client;
    }

    /// Closes everything at rest.
    pub fn clear(&mut self) {}
}
