//! The state of a client object.

use std::rc::Rc;

use ext_php_rs::types::Zval;

pub(crate) use super::settings::Draft;
use crate::client::{Backend, Config};
use crate::ffi::object::{Held, state};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::value;
use crate::registry;
use crate::sending::Closures;

pub(crate) const NAME: &str = "Celery\\Client";

/// The state of a client object.
#[derive(Clone, Default)]
pub(crate) struct Client {
    config: Option<Rc<Config>>,
    /// What may hold closures: the routes and the headers, in an array of both.
    closures: Option<Held>,
}

state!(Client, "Celery\\Client", closures);

impl Client {
    /// Returns the settings.
    pub(crate) fn config(&self) -> Result<Rc<Config>, Thrown> {
        self.config
            .clone()
            .ok_or_else(|| Thrown::new(Kind::Error, "This client was not constructed."))
    }

    pub(super) fn new(draft: Draft) -> Result<Self, Thrown> {
        registry::remember(&draft.config.broker);
        if let Backend::Other(backend) = &draft.config.backend {
            registry::remember(backend);
        }
        let closures = value::list([draft.routes, draft.headers])?;
        Ok(Client {
            config: Some(Rc::new(draft.config)),
            closures: Some(Held::new(closures)),
        })
    }

    /// Returns a client without routes and headers.
    pub(super) fn of(config: Config) -> Result<Self, Thrown> {
        Client::new(Draft {
            config,
            routes: value::list([])?,
            headers: Zval::null(),
        })
    }

    /// Returns what may hold closures.
    pub(crate) fn closures(&self) -> Closures {
        let both = self.closures.as_ref().map(Held::get);
        let closure = |index| {
            let both = both.as_ref().and_then(Zval::array);
            let found = both.and_then(|both| both.get_index(index));
            found.map_or_else(Zval::null, Zval::shallow_clone)
        };
        Closures {
            routes: closure(0),
            headers: closure(1),
        }
    }

    /// Returns the settings for a copy.
    pub(super) fn draft(&self) -> Result<Draft, Thrown> {
        let config = self.config()?;
        let Closures { routes, headers } = self.closures();
        Ok(Draft {
            config: (*config).clone(),
            routes,
            headers,
        })
    }
}
