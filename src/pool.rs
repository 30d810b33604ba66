//! The idle connections of this process (of this thread, under ZTS), which outlive requests.
//!
//! A client is taken out, used and put back; the pool closes connections that cannot be used again.
//! Meanwhile the pool stays usable: a signal handler may post a task while a call waits for a
//! result. During a call, PHP code runs only inside the interrupt. The interrupt turns a bailout
//! into an error, so that the connection of the call is closed.

use std::cell::RefCell;

use celery_client::blocking::{Deadline, Interrupt, Interrupted, Wait};
use celery_client::redis::blocking::{Client, ClientOptions, Pool, PoolOptions};
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

/// Takes a client for the endpoint, with an idle connection if there is one.
pub(crate) fn take(endpoint: &Endpoint) -> Client {
    let Endpoint::Redis(redis) = endpoint;
    let options = options();
    POOL.with_borrow_mut(|slot| {
        let pool = match slot {
            Some(pool) => {
                pool.set_options(options);
                pool
            }
            None => slot.insert(Pool::new(options)),
        };
        pool.take(redis)
    })
}

/// Puts a client back after success.
pub(crate) fn put(client: Client) {
    POOL.with_borrow_mut(|slot| {
        if let Some(pool) = slot {
            pool.put(client);
        }
    });
}

/// Runs a call on a client. The pool keeps the connection if it can be used again.
pub(crate) fn with<T>(
    endpoint: &Endpoint,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = take(endpoint);
    let outcome = call(&mut client, &mut Wait::until(deadline, &mut PhpInterrupt));
    put(client);
    outcome
}

/// Runs a call like [`with`], with a second client that listens while the first sends commands.
pub(crate) fn with_listener<T>(
    endpoint: &Endpoint,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let (mut listener, mut client) = (take(endpoint), take(endpoint));
    let outcome = call(
        &mut client,
        &mut listener,
        &mut Wait::until(deadline, &mut PhpInterrupt),
    );
    // The next call takes the client that was put back last. The listener is still leaving its
    // channel.
    put(listener);
    put(client);
    outcome
}

/// Returns the present options of php.ini, for a client that is not in the pool.
pub(crate) fn client_options() -> ClientOptions {
    let settings = settings::current();
    let mut client = ClientOptions::default();
    client.connect_timeout = settings.connect_timeout;
    client.command_timeout = settings.command_timeout;
    client.replicas = settings.replicas;
    client.idle_check = settings.idle_check;
    client.spin = settings.spin;
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
