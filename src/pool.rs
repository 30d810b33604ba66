//! The connections at rest of this process (this thread, under ZTS), outliving requests.
//!
//! A client is taken out, used while the slot is free for others (a signal handler may post a task while we wait
//! for a result), and put back; the pool closes what is not in order. PHP code runs only inside the interrupt, which
//! turns a bailout into an error: so the connection it interrupts is closed.

use std::cell::RefCell;
use std::sync::Arc;

use celery_client::blocking::{
    Client, ClientOptions, Deadline, Interrupt, Interrupted, Pool, PoolOptions, Wait,
};
use celery_client::{ClientError, Endpoint};

use crate::ffi::interrupt;
use crate::settings;

thread_local! {
    static POOL: RefCell<Option<Pool>> = const { RefCell::new(None) };
}

/// Serves PHP's signals and time limits while a call waits.
pub(crate) struct PhpInterrupt;

impl Interrupt for PhpInterrupt {
    fn check(&mut self) -> Result<(), Interrupted> {
        interrupt::serve().map_err(|interrupt::Raised| Interrupted)
    }
}

/// A client for the endpoint, with a resting connection if there is one.
pub(crate) fn take(endpoint: &Arc<Endpoint>) -> Client {
    let options = options();
    POOL.with_borrow_mut(|slot| {
        let pool = match slot {
            Some(pool) => {
                pool.set_options(options);
                pool
            }
            None => slot.insert(Pool::new(options)),
        };
        pool.take(endpoint)
    })
}

/// Gives a client back after success.
pub(crate) fn put(client: Client) {
    POOL.with_borrow_mut(|slot| {
        if let Some(pool) = slot {
            pool.put(client);
        }
    });
}

/// Runs one call on a client. The pool keeps its connection if it is in order afterwards.
pub(crate) fn with<T>(
    endpoint: &Arc<Endpoint>,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = take(endpoint);
    let outcome = call(&mut client, &mut Wait::until(deadline, &mut PhpInterrupt));
    put(client);
    outcome
}

/// The same with a second client, which listens while the first asks.
pub(crate) fn with_listener<T>(
    endpoint: &Arc<Endpoint>,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut listener = take(endpoint);
    let outcome = with(endpoint, deadline, |client, wait| {
        call(client, &mut listener, wait)
    });
    put(listener);
    outcome
}

/// What php.ini says now, for a client that is kept elsewhere.
pub(crate) fn client_options() -> ClientOptions {
    let settings = settings::current();
    let mut client = ClientOptions::default();
    client.connect_timeout = settings.connect_timeout;
    client.command_timeout = settings.command_timeout;
    client.replicas = settings.replicas;
    client.idle_check = settings.idle_check;
    if let Some(limit) = settings::memory_limit() {
        client.max_reply = client.max_reply.min(limit);
    }
    client
}

fn options() -> PoolOptions {
    let mut options = PoolOptions::default();
    options.max_connections = settings::current().max_connections;
    options.client = client_options();
    options
}
