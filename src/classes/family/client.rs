//! The state of a client object.

use std::rc::Rc;

use crate::classes::api::Api;
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
