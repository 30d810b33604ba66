//! A client of one Redis: it connects when it must.

use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::Endpoint;

/// The numbers a client works with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Everything up to an accepted connection: name, TCP, TLS, AUTH, SELECT; always inside the call's deadline.
    pub connect_timeout: Duration,
    /// A connection that rested for longer is asked (PING) before it is used.
    pub idle_check: Duration,
    /// The largest answer that is accepted, in bytes.
    pub max_reply: usize,
    /// Pipelined posts whose answers may be outstanding.
    pub window_posts: usize,
    /// Bytes of pipelined posts whose answers may be outstanding.
    pub window_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            idle_check: Duration::from_secs(30),
            // Redis' own limit for one value.
            max_reply: 512 << 20,
            window_posts: 1000,
            window_bytes: 4 << 20,
        }
    }
}

/// One server, and at most one connection to it. Calls are made through the methods in `publish`, `results` and `control`.
pub struct Client {
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Client {
    /// A client without a connection yet.
    pub fn new(endpoint: Arc<Endpoint>, options: ClientOptions) -> Self {
        let _ = options;
        Self { endpoint }
    }

    /// Where it connects to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}
