//! The connections that this request (this process, on the command line) has used, by name.
//!
//! A stored result names its connection by a hash. The hash is looked up only here and in php.ini,
//! so that a serialized string can never make the extension connect to an address.
//!
//! All connections are forgotten at the end of the request. The next request may belong to another
//! site, with another key prefix for the same server. In every process of a pool, that request must
//! find the same connections.
//!
//! The number of connections is limited, because a long-running process may use any number of
//! databases, one after another. The oldest are forgotten first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::connection::Connection;
use crate::ffi::throw::Thrown;

/// More connections than a request sensibly has. Each costs a few hundred bytes.
const MOST: usize = 256;

thread_local! {
    static KNOWN: RefCell<VecDeque<(String, Rc<Connection>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Remembers a connection under its name. It replaces an older connection with this name, whose
/// password may be out of date.
pub(crate) fn remember(connection: &Rc<Connection>) {
    let name = connection.endpoint.identity();
    KNOWN.with_borrow_mut(|known| {
        known.retain(|(other, _)| *other != name);
        known.push_back((name, Rc::clone(connection)));
        if known.len() > MOST {
            known.pop_front();
        }
    });
}

/// Forgets all connections.
pub(crate) fn clear() {
    KNOWN.with_borrow_mut(VecDeque::clear);
}

/// Returns the result backend with this name, otherwise that of php.ini.
pub(crate) fn backend(name: &str) -> Result<Rc<Connection>, Thrown> {
    if let Some(connection) = known(name) {
        return Ok(connection);
    }
    let configured = Connection::configured_backend(None)?;
    configured.ok_or_else(|| unknown("celery.result_backend"))
}

/// Returns the broker with this name, otherwise that of php.ini.
pub(crate) fn broker(name: &str) -> Result<Rc<Connection>, Thrown> {
    if let Some(connection) = known(name) {
        return Ok(connection);
    }
    Connection::configured_broker()?.ok_or_else(|| unknown("celery.broker_url"))
}

fn known(name: &str) -> Option<Rc<Connection>> {
    KNOWN.with_borrow(|known| {
        known
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, found)| Rc::clone(found))
    })
}

fn unknown(directive: &str) -> Thrown {
    Thrown::celery(format!(
        "The connection of this stored result is not known here. Construct the client it was posted with (new \
         Celery(…)) before using the result, or set the directive {directive}."
    ))
}
