//! The client of a result: where the result is stored, and where its task was posted.

use std::rc::Rc;
use std::time::Duration;

use crate::client::Config;
use crate::connection::Connection;
use crate::ffi::throw::{Kind, Thrown};
use crate::pool::Limits;
use crate::recorder::Recorder;
use crate::{registry, settings};

/// The client of a result.
#[derive(Clone, Default)]
pub(crate) enum Place {
    /// The result has none: it was made for a test.
    #[default]
    Nowhere,
    Client(Rc<Config>),
    /// A `FakeClient`, which has no backend: its results stay as they are.
    Fake(Rc<Recorder>),
    /// The connections of a drop-in client.
    Connections {
        backend: Rc<Connection>,
        broker: Rc<Connection>,
    },
    /// The names in a stored result, which are looked up at each use.
    Named {
        backend: String,
        broker: String,
    },
}

impl Place {
    /// Returns the result backend.
    pub(crate) fn backend(&self) -> Result<Rc<Connection>, Thrown> {
        match self {
            Place::Nowhere | Place::Fake(_) => Err(nowhere()),
            Place::Client(client) => client.backend(),
            Place::Connections { backend, .. } => Ok(Rc::clone(backend)),
            Place::Named { backend, .. } => registry::backend(backend),
        }
    }

    /// Returns the broker.
    pub(crate) fn broker(&self) -> Result<Rc<Connection>, Thrown> {
        match self {
            Place::Nowhere | Place::Fake(_) => Err(nowhere()),
            Place::Client(client) => Ok(Rc::clone(&client.broker)),
            Place::Connections { broker, .. } => Ok(Rc::clone(broker)),
            Place::Named { broker, .. } => registry::broker(broker),
        }
    }

    /// Returns the names of backend and broker, for a stored result; `None` without a client.
    pub(crate) fn names(&self) -> Option<(String, String)> {
        let name = |connection: &Connection| connection.endpoint.identity();
        match self {
            Place::Nowhere | Place::Fake(_) => None,
            Place::Client(client) => {
                let broker = name(&client.broker);
                // A client without a backend has no name for it.
                let backend = client.backend().map(|backend| name(&backend));
                Some((backend.unwrap_or_default(), broker))
            }
            Place::Connections { backend, broker } => Some((name(backend), name(broker))),
            Place::Named { backend, broker } => Some((backend.clone(), broker.clone())),
        }
    }

    /// Returns the limits of connections.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Place::Client(client) => client.limits(),
            _ => Limits::default(),
        }
    }

    /// Returns the time for one command.
    pub(crate) fn command_timeout(&self) -> Duration {
        match self {
            Place::Client(client) => client.command_timeout(),
            _ => settings::current().command_timeout,
        }
    }

    /// Returns the time for a wait that names none.
    pub(crate) fn result_timeout(&self) -> Duration {
        match self {
            Place::Client(client) => client.result_timeout(),
            _ => settings::current().result_timeout,
        }
    }

    /// Returns what records the revocations, if the client is a fake.
    pub(crate) fn fake(&self) -> Option<&Rc<Recorder>> {
        match self {
            Place::Fake(recorder) => Some(recorder),
            _ => None,
        }
    }

    /// Returns `true` if the result has no client.
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self, Place::Nowhere)
    }
}

fn nowhere() -> Thrown {
    Thrown::new(
        Kind::Logic,
        "This result has no client: it was made by Result::succeeded(), Result::failedWith() or a \
         FakeClient.",
    )
}
