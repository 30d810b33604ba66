//! The idle connections of this process (of this thread, under ZTS), which outlive requests.
//!
//! A client is taken out, used and put back; the pool closes connections that cannot be used again.
//! Meanwhile the pool stays usable: a signal handler may post a task while a call waits for a
//! result. During a call, PHP code runs only inside the interrupt. The interrupt turns a bailout
//! into an error, so that the connection of the call is closed.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, Interrupt, Interrupted, Process, Wait};
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Pool, PoolOptions};

use crate::ffi::{ini, interrupt, room};
use crate::{process, settings};

thread_local! {
    /// The pool, and the basis of its options.
    static POOL: RefCell<Option<(Pool, Basis)>> = const { RefCell::new(None) };
}

/// What the options of the pool depend on. They are read again only if it has changed.
#[derive(Clone, Copy, PartialEq)]
struct Basis {
    /// The number of changes to the extension's directives.
    changes: u64,
    memory_limit: Option<usize>,
    /// The sender of events differs in a fork.
    process: Process,
}

impl Basis {
    fn now() -> Self {
        Basis {
            changes: ini::changes(),
            memory_limit: room::php_limit(),
            process: Process::current(),
        }
    }
}

/// The limits of a `Celery\Client`, in place of those of php.ini.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) command_timeout: Option<Duration>,
    pub(crate) replicas: Option<u32>,
    /// The failures that open a circuit unless php.ini says more.
    pub(crate) failures: u32,
    /// Whether posts are followed by `task-sent` events, also if php.ini does not say so.
    pub(crate) sent_events: bool,
}

impl Limits {
    /// Returns options with these limits.
    pub(crate) fn over(self, mut options: ClientOptions) -> ClientOptions {
        options.connect_timeout = self.connect_timeout.unwrap_or(options.connect_timeout);
        options.command_timeout = self.command_timeout.unwrap_or(options.command_timeout);
        options.replicas = self.replicas.unwrap_or(options.replicas);
        options.circuit = settings::current().circuit(self.failures);
        if self.sent_events {
            options.sent_events = Some(process::event_sender());
        }
        options
    }
}

/// Serves PHP's signals and time limits while a call waits.
pub(crate) struct PhpInterrupt;

impl Interrupt for PhpInterrupt {
    fn check(&mut self) -> Result<(), Interrupted> {
        interrupt::serve().map_err(|interrupt::Raised| Interrupted)
    }
}

/// Takes a client for the endpoint, with an idle connection if there is one.
pub(crate) fn take(endpoint: &Arc<RedisEndpoint>) -> Client {
    let present = Basis::now();
    POOL.with_borrow_mut(|slot| {
        let (pool, basis) = slot.get_or_insert_with(|| (Pool::new(options()), present));
        if *basis != present {
            pool.set_options(options());
            *basis = present;
        }
        pool.take(endpoint)
    })
}

/// Puts a client back after success.
pub(crate) fn put(client: Client) {
    POOL.with_borrow_mut(|slot| {
        if let Some((pool, _)) = slot {
            pool.put(client);
        }
    });
}

/// Runs a call on a client. The pool keeps the connection if it can be used again.
pub(crate) fn with<T>(
    endpoint: &Arc<RedisEndpoint>,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = take(endpoint);
    let outcome = call(&mut client, &mut Wait::until(deadline, &mut PhpInterrupt));
    put(client);
    outcome
}

/// Runs a call like [`with`], with limits of its own.
pub(crate) fn with_limits<T>(
    endpoint: &Arc<RedisEndpoint>,
    limits: Limits,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    with(endpoint, deadline, |client, wait| {
        if limits != Limits::default() {
            client.set_options(limits.over(client_options()));
        }
        call(client, wait)
    })
}

/// Runs a call like [`with`], with a second client that listens while the first sends commands.
pub(crate) fn with_listener<T>(
    endpoint: &Arc<RedisEndpoint>,
    deadline: Deadline,
    call: impl FnOnce(&mut Client, &mut Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    // The first one taken has an idle connection, if there is any. On RESP3, it needs no other.
    let (mut client, mut listener) = (take(endpoint), take(endpoint));
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
    options().client
}

fn options() -> PoolOptions {
    let settings = settings::current();
    let mut options = PoolOptions::default();
    options.max_connections = settings.max_connections;
    let client = &mut options.client;
    client.connect_timeout = settings.connect_timeout;
    client.command_timeout = settings.command_timeout;
    client.replicas = settings.replicas;
    client.idle_check = settings.idle_check;
    client.spin = settings.spin;
    client.circuit = settings.circuit(settings::FAILURES_OF_DROP_IN);
    client.sent_events = settings.sent_events.then(process::event_sender);
    // A larger answer can never become a PHP value.
    if let Some(limit) = room::php_limit() {
        client.max_reply = client.max_reply.min(limit);
    }
    options
}
