//! The state of a client object.

use std::rc::Rc;

use crate::classes::dropin::api::Api;
use crate::client::Backend;
use crate::connection::Connection;
use crate::ffi::object::state;
use crate::ffi::throw::Thrown;

/// The state of a client object.
#[derive(Clone, Default)]
pub(crate) struct Client {
    pub(super) api: Api,
    pub(super) broker: Option<Rc<Connection>>,
    /// The result backend; the broker if the client has none of its own.
    pub(super) backend: Option<Rc<Connection>>,
}

state!(Client, "CeleryAbstract");

impl Client {
    /// Returns the connections for a `Celery\Client`.
    pub(crate) fn connections(&self) -> Result<(Rc<Connection>, Backend), Thrown> {
        let backend = self.backend.clone();
        Ok((
            self.broker()?,
            backend.map_or(Backend::Broker, Backend::Other),
        ))
    }

    pub(super) fn broker(&self) -> Result<Rc<Connection>, Thrown> {
        self.broker.clone().ok_or_else(|| {
            Thrown::celery(
                "This client has no connection: its constructor did not run. A subclass must call \
                 parent::__construct() (or BuildConnection()) in its own constructor.",
            )
        })
    }

    pub(super) fn backend(&self) -> Result<Rc<Connection>, Thrown> {
        self.backend.clone().map_or_else(|| self.broker(), Ok)
    }
}
