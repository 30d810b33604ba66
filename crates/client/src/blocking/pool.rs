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
    /// The one used last stands last.
    resting: Vec<Client>,
    /// The process whose connections these are.
    owner: u32,
}

impl Pool {
    /// An empty pool; it opens nothing.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            options,
            resting: Vec::new(),
            owner: std::process::id(),
        }
    }

    /// Other options, from the next `take` and `put` on.
    pub fn set_options(&mut self, options: PoolOptions) {
        self.options = options;
    }

    /// The options.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// A client for `endpoint`, with a resting connection if there is one; else it connects at its first call.
    ///
    /// A connection is shared only by equal endpoints: two passwords for one database are two connections.
    pub fn take(&mut self, endpoint: &Arc<Endpoint>) -> Client {
        self.check_owner();
        let same = |client: &Client| {
            Arc::ptr_eq(client.endpoint(), endpoint) || client.endpoint() == endpoint
        };
        // A pipeline goes on where it was left; then the connection used last, which is the most likely to be alive.
        let unsettled = self
            .resting
            .iter()
            .rposition(|client| !client.is_settled() && same(client));
        match unsettled.or_else(|| self.resting.iter().rposition(same)) {
            Some(index) => {
                let mut client = self.resting.remove(index);
                client.options = self.options.client.clone();
                client
            }
            None => Client::new(endpoint.clone(), self.options.client.clone()),
        }
    }

    /// A client with pipelined posts that are unanswered, or whose failures were not collected: for the end of a request.
    pub fn take_unsettled(&mut self) -> Option<Client> {
        self.check_owner();
        let index = self
            .resting
            .iter()
            .position(|client| !client.is_settled())?;
        Some(self.resting.remove(index))
    }

    /// Takes a client's connection back. One that is in the middle of something, or broken, is closed instead.
    pub fn put(&mut self, client: Client) {
        // In a child that was forked while the client was out, it belongs to the parent.
        if self.check_owner() && (client.is_whole() || !client.is_settled()) {
            self.resting.push(client);
            self.close_surplus();
        }
    }

    /// Connections at rest.
    pub fn len(&self) -> usize {
        self.resting.len()
    }

    /// Whether nothing rests here.
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// Closes everything at rest.
    pub fn clear(&mut self) {
        self.resting.clear();
    }

    fn close_surplus(&mut self) {
        while self.resting.len() > self.options.max_connections {
            // Unanswered posts must be reported first; whoever ends the request collects them.
            let Some(oldest) = self.resting.iter().position(Client::is_settled) else {
                break;
            };
            self.resting.remove(oldest);
        }
    }

    /// False in a process that has just found out that it is a fork.
    fn check_owner(&mut self) -> bool {
        let pid = std::process::id();
        if self.owner == pid {
            return true;
        }
        self.owner = pid;
        self.resting.clear();
        false
    }

    /// As if this were a fork of the process that filled the pool.
    #[cfg(test)]
    pub(super) fn pretend_fork(&mut self) {
        self.owner = 0;
    }
}
