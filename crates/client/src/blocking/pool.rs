//! The idle connections of a process, or of a thread if PHP is thread-safe, to servers of one kind.
//!
//! The pool is a plain value: it takes no locks, and its only I/O is closing sockets. A client is
//! taken out before it is used and put back after, so that the caller may be aborted at any point.
//! A forked child finds the connections of its parent here and only closes its copies of the
//! descriptors. It sends nothing on them, so the parent is not disturbed.

use std::sync::Arc;

use super::Process;

/// A client that a [`Pool`] keeps.
pub trait Pooled {
    /// The address of the server, and the login to it.
    type Endpoint: PartialEq;
    /// The limits and timeouts.
    type Options: Clone + Default;

    /// Creates a client that has not connected yet.
    fn unconnected(endpoint: Arc<Self::Endpoint>, options: Self::Options) -> Self;

    /// Returns the endpoint that the client connects to.
    fn endpoint(&self) -> &Arc<Self::Endpoint>;

    /// Sets the options of all later calls.
    fn set_options(&mut self, options: Self::Options);

    /// Returns `true` if this process made the connection and another call can use it.
    fn may_rest(&self) -> bool;
}

/// The number of idle connections, and the options of the clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions<O> {
    /// Limit for idle connections to all endpoints. The one unused for longest is closed first.
    pub max_connections: usize,
    /// Options of every client that is taken.
    pub client: O,
}

impl<O: Default> Default for PoolOptions<O> {
    fn default() -> Self {
        Self {
            max_connections: 8,
            client: O::default(),
        }
    }
}

/// A pool of idle connections.
pub struct Pool<C: Pooled> {
    options: PoolOptions<C::Options>,
    /// Idle clients; the most recently used is the last. They are boxed, because a client with its
    /// connection is large and moves in and out at every call.
    resting: Vec<Box<C>>,
    /// The process that opened these connections.
    owner: Process,
}

impl<C: Pooled> Pool<C> {
    /// Creates an empty pool, without opening a connection.
    pub fn new(options: PoolOptions<C::Options>) -> Self {
        Self {
            options,
            resting: Vec::new(),
            owner: Process::current(),
        }
    }

    /// Sets the options of all later `take` and `put` calls.
    pub fn set_options(&mut self, options: PoolOptions<C::Options>) {
        self.options = options;
    }

    /// Returns the options.
    pub fn options(&self) -> &PoolOptions<C::Options> {
        &self.options
    }

    /// Returns a client for `endpoint`, with an idle connection if there is one. Otherwise it
    /// connects at its first call.
    ///
    /// Only equal endpoints share a connection: two passwords for one database need two
    /// connections.
    pub fn take(&mut self, endpoint: &Arc<C::Endpoint>) -> Box<C> {
        self.check_owner();
        let same =
            |client: &C| Arc::ptr_eq(client.endpoint(), endpoint) || client.endpoint() == endpoint;
        // The most recently used connection is most likely alive.
        match self.resting.iter().rposition(|client| same(client)) {
            Some(index) => {
                let mut client = self.resting.remove(index);
                client.set_options(self.options.client.clone());
                client
            }
            None => Box::new(C::unconnected(
                endpoint.clone(),
                self.options.client.clone(),
            )),
        }
    }

    /// Takes a client back. Its connection is closed instead if it is broken, if it is in the
    /// middle of an exchange, or if answers of pipelined posts are missing. Collect the answers
    /// first.
    pub fn put(&mut self, client: Box<C>) {
        self.check_owner();
        // A client that was taken out before a fork belongs to the parent; the child drops it.
        if client.may_rest() {
            self.resting.push(client);
            self.close_surplus();
        }
    }

    /// Returns the number of idle connections.
    pub fn len(&self) -> usize {
        self.resting.len()
    }

    /// Returns `true` if the pool holds no idle connection.
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// Closes all idle connections.
    pub fn clear(&mut self) {
        self.resting.clear();
    }

    fn close_surplus(&mut self) {
        let surplus = self
            .resting
            .len()
            .saturating_sub(self.options.max_connections);
        self.resting.drain(..surplus);
    }

    /// Drops the connections of the parent in a process that has just found out that it is a fork.
    fn check_owner(&mut self) {
        let process = Process::current();
        if self.owner != process {
            self.owner = process;
            self.resting.clear();
        }
    }

    /// Makes the pool behave as in a fork of the process that filled it.
    #[cfg(test)]
    pub(crate) fn pretend_fork(&mut self) {
        self.owner = Process::another();
    }
}
