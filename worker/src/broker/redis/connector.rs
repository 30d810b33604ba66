//! Opens the connections of the roles.

use std::sync::Arc;

use celery_client::aio::{ConnectOptions, Health, Supervised};
use celery_client::redis::RedisEndpoint;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::layout::Layout;
use super::session::Session;
use crate::broker::contract::Connectivity;
use crate::broker::options::Subscription;
use crate::monitor::Pulse;

/// A server, and what its sessions share.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) endpoint: Arc<RedisEndpoint>,
    pub(super) layout: Arc<Layout>,
    health: Arc<Health>,
}

impl Connector {
    pub(super) fn new(endpoint: &Arc<RedisEndpoint>, layout: Arc<Layout>) -> Self {
        Connector {
            endpoint: Arc::clone(endpoint),
            layout,
            health: Arc::default(),
        }
    }

    pub(super) fn health(&self) -> Arc<dyn Connectivity> {
        Arc::clone(&self.health) as Arc<dyn Connectivity>
    }

    /// Returns the connection of a role.
    pub(super) fn link(&self, role: &str) -> Supervised {
        self.link_with(role, &self.health)
    }

    /// Returns a connection for a role that the worker does not need in order to be ready. It opens
    /// when it is first used.
    ///
    /// Such a role may have nothing to do for days after a failure, so that it would not notice
    /// that the server is back. Its state therefore does not count in [`health`](Self::health).
    pub(super) fn link_aside(&self, role: &str) -> Supervised {
        self.link_with(role, &Arc::default()).at_need()
    }

    fn link_with(&self, role: &str, health: &Arc<Health>) -> Supervised {
        // Redis refuses spaces in a name.
        let node: String = self
            .layout
            .node
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '_' })
            .collect();
        Supervised::new(
            Arc::clone(&self.endpoint),
            ConnectOptions::new(format!("{node}/{role}")),
            Arc::clone(health),
        )
    }

    /// Returns the session of a role. Only the fetch role connects at once; the others connect when
    /// they have something to do.
    pub(super) fn session(&self, role: &str) -> Session {
        let link = self.link(role);
        let link = match role {
            "fetch" => link,
            _ => link.at_need(),
        };
        Session::new(link, Arc::clone(&self.layout))
    }

    /// Like [`session`](Self::session). The pulse beats at each answer and at each failed try.
    pub(super) fn watched(&self, role: &str, pulse: &Arc<Pulse>) -> Session {
        let pulse = Arc::clone(pulse);
        let mut session = self.session(role);
        session.link = session.link.watched(move || pulse.beat());
        session
    }
}

/// A server that keeps the results of another broker.
#[derive(Clone, Debug)]
pub(crate) struct Store(Connector);

impl Store {
    pub(crate) fn new(server: &Arc<RedisEndpoint>, subscription: &Subscription<'_>) -> Self {
        let keys = server.keys();
        let layout = Arc::new(Layout::new(keys, subscription));
        Store::with(server, layout)
    }

    /// Makes the store of a broker on Redis, with which it shares the layout.
    pub(super) fn with(server: &Arc<RedisEndpoint>, layout: Arc<Layout>) -> Self {
        Store(Connector::new(server, layout))
    }

    /// Returns a connection for a role that the worker does not need in order to be ready.
    pub(super) fn link_aside(&self, role: &str) -> Supervised {
        self.0.link_aside(role)
    }

    /// Returns the names on the server and the form of results.
    pub(super) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.0.layout)
    }

    pub(crate) fn session(&self, pulse: &Arc<Pulse>) -> Session {
        self.0.watched("results", pulse)
    }

    pub(crate) fn health(&self) -> Arc<dyn Connectivity> {
        self.0.health()
    }
}

impl Connectivity for Health {
    fn is_up(&self) -> bool {
        Health::is_up(self)
    }

    fn reconnects(&self) -> u64 {
        Health::reconnects(self)
    }

    fn up(&self) -> BoxFuture<'_, ()> {
        Health::up(self).boxed()
    }
}
