//! The idle connections of this process (of this thread, under ZTS), which outlive requests. Each
//! kind of server has a pool of its own.
//!
//! A client is taken out, used and put back; the pool closes connections that cannot be used again.
//! Meanwhile the pool stays usable: a signal handler may post a task while a call waits for a
//! result. During a call, PHP code runs only inside the interrupt. The interrupt turns a bailout
//! into an error, so that the connection of the call is closed.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::amqp::{self, AmqpEndpoint};
use celery_client::blocking::pool::{Pool, PoolOptions, Pooled};
use celery_client::blocking::{Deadline, Interrupt, Interrupted, Process, Wait};
use celery_client::redis::{self, RedisEndpoint};

use crate::ffi::{ini, interrupt, room};
use crate::{process, settings};

/// A kind of server, with a pool of its own.
pub(crate) trait Server: Sized + 'static {
    /// The client that connects to it.
    type Client: Pooled<Endpoint = Self>;

    /// Returns the pool of this thread.
    fn pool() -> &'static LocalKey<Slot<Self::Client>>;

    /// Returns the options of php.ini.
    fn options() -> OptionsOf<Self>;

    /// Puts the limits of a client in place of those of php.ini.
    fn limit(options: &mut OptionsOf<Self>, limits: Limits);
}

/// The options of the clients of a kind of server.
type OptionsOf<S> = <<S as Server>::Client as Pooled>::Options;

/// The pool, and the basis of its options.
type Slot<C> = RefCell<Option<(Pool<C>, Basis)>>;

thread_local! {
    static REDIS: Slot<redis::blocking::Client> = const { RefCell::new(None) };
    static AMQP: Slot<amqp::blocking::Client> = const { RefCell::new(None) };
}

/// What the options of the pool depend on. They are read again only if it has changed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Basis {
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

impl Server for RedisEndpoint {
    type Client = redis::blocking::Client;

    fn pool() -> &'static LocalKey<Slot<Self::Client>> {
        &REDIS
    }

    fn options() -> redis::blocking::ClientOptions {
        let settings = settings::current();
        let mut options = redis::blocking::ClientOptions::default();
        options.connect_timeout = settings.connect_timeout;
        options.command_timeout = settings.command_timeout;
        options.replicas = settings.replicas;
        options.idle_check = settings.idle_check;
        options.spin = settings.spin;
        options.circuit = settings.circuit(settings::FAILURES_OF_DROP_IN);
        options.sent_events = settings.sent_events.then(process::event_sender);
        // A larger answer can never become a PHP value.
        if let Some(limit) = room::php_limit() {
            options.max_reply = options.max_reply.min(limit);
        }
        options
    }

    fn limit(options: &mut redis::blocking::ClientOptions, limits: Limits) {
        options.connect_timeout = limits.connect_timeout.unwrap_or(options.connect_timeout);
        options.command_timeout = limits.command_timeout.unwrap_or(options.command_timeout);
        options.replicas = limits.replicas.unwrap_or(options.replicas);
        options.circuit = settings::current().circuit(limits.failures);
        if limits.sent_events {
            options.sent_events = Some(process::event_sender());
        }
    }
}

impl Server for AmqpEndpoint {
    type Client = amqp::blocking::Client;

    fn pool() -> &'static LocalKey<Slot<Self::Client>> {
        &AMQP
    }

    fn options() -> amqp::blocking::ClientOptions {
        let settings = settings::current();
        let mut options = amqp::blocking::ClientOptions::default();
        options.connect_timeout = settings.connect_timeout;
        options.idle_check = settings.idle_check;
        options.spin = settings.spin;
        options.circuit = settings.circuit(settings::FAILURES_OF_DROP_IN);
        options.create_missing = settings.create_missing.clone().unwrap_or_default();
        options.sent_events = settings.sent_events.then(process::event_sender);
        if let Some(limit) = room::php_limit() {
            options.max_body = options.max_body.min(limit);
        }
        options
    }

    fn limit(options: &mut amqp::blocking::ClientOptions, limits: Limits) {
        options.connect_timeout = limits.connect_timeout.unwrap_or(options.connect_timeout);
        options.circuit = settings::current().circuit(limits.failures);
        if limits.sent_events {
            options.sent_events = Some(process::event_sender());
        }
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
#[expect(
    clippy::unnecessary_box_returns,
    reason = "the pool keeps its clients boxed, and a post copies none"
)]
pub(crate) fn take<S: Server>(endpoint: &Arc<S>) -> Box<S::Client> {
    let present = Basis::now();
    S::pool().with_borrow_mut(|slot| {
        let (pool, basis) = slot.get_or_insert_with(|| (Pool::new(options::<S>()), present));
        if *basis != present {
            pool.set_options(options::<S>());
            *basis = present;
        }
        pool.take(endpoint)
    })
}

/// Takes a client like [`take`], with limits of its own.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "the pool keeps its clients boxed, and a post copies none"
)]
pub(crate) fn take_with<S: Server>(endpoint: &Arc<S>, limits: Limits) -> Box<S::Client> {
    let mut client = take(endpoint);
    set_limits::<S>(&mut client, limits);
    client
}

/// Sets the options of php.ini, and limits over them.
pub(crate) fn set_limits<S: Server>(client: &mut S::Client, limits: Limits) {
    let mut options = S::options();
    S::limit(&mut options, limits);
    client.set_options(options);
}

/// Puts a client back after success.
pub(crate) fn put<C>(client: Box<C>)
where
    C: Pooled + 'static,
    C::Endpoint: Server<Client = C>,
{
    put_of::<C::Endpoint>(client);
}

/// Puts a client of a kind of server back after success.
pub(crate) fn put_of<S: Server>(client: Box<S::Client>) {
    S::pool().with_borrow_mut(|slot| {
        if let Some((pool, _)) = slot {
            pool.put(client);
        }
    });
}

/// Runs a call on a client. The pool keeps the connection if it can be used again.
pub(crate) fn with<S: Server, T>(
    endpoint: &Arc<S>,
    deadline: Deadline,
    call: impl FnOnce(&mut S::Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut client = take(endpoint);
    let outcome = call(&mut client, &mut Wait::until(deadline, &mut PhpInterrupt));
    put_of::<S>(client);
    outcome
}

/// Runs a call like [`with`], with limits of its own.
pub(crate) fn with_limits<S: Server, T>(
    endpoint: &Arc<S>,
    limits: Limits,
    deadline: Deadline,
    call: impl FnOnce(&mut S::Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    with(endpoint, deadline, |client, wait| {
        if limits != Limits::default() {
            set_limits::<S>(client, limits);
        }
        call(client, wait)
    })
}

/// Runs a call like [`with`], with a second client that listens while the first sends commands.
pub(crate) fn with_listener<S: Server, T>(
    endpoint: &Arc<S>,
    deadline: Deadline,
    call: impl FnOnce(&mut S::Client, &mut S::Client, &mut Wait<'_>) -> Result<T, ClientError>,
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
    put_of::<S>(listener);
    put_of::<S>(client);
    outcome
}

fn options<S: Server>() -> PoolOptions<OptionsOf<S>> {
    let mut options = PoolOptions::default();
    options.max_connections = settings::current().max_connections;
    options.client = S::options();
    options
}
