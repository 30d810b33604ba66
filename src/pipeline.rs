//! Pipelined posts with outstanding answers (`celery.publish=pipelined`).
//!
//! Such a post is written at once. Its answer is read when the window is full, at `flush()`, or at
//! the end of the request. So a loop of posts does not cost a round trip each, and every failure is
//! reported. A forked child drops the inherited posts, because their answers belong to its parent.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;

use celery_client::PublishError;
use celery_client::amqp::{self, AmqpEndpoint};
use celery_client::blocking::pool::Pooled as _;
use celery_client::blocking::{Deadline, Interrupt, NeverInterrupt, Process, Wait};
use celery_client::redis::{self, RedisEndpoint};

use crate::pool::{self, Limits, PhpInterrupt, Server};

/// A client with outstanding answers, and the process that waits for them.
pub(crate) struct Open<C> {
    owner: Process,
    client: Box<C>,
}

/// The clients of one kind of server that have outstanding answers.
type All<C> = RefCell<Vec<Open<C>>>;

/// A kind of server that answers pipelined posts.
pub(crate) trait Pipelined: Server + PartialEq {
    /// Returns the clients of this thread.
    fn open() -> &'static LocalKey<All<Self::Client>>;

    /// Reads the outstanding answers, and returns the errors of tasks that were not accepted.
    fn collect(client: &mut Self::Client, wait: &mut Wait<'_>) -> Vec<PublishError>;
}

thread_local! {
    static REDIS: All<redis::blocking::Client> = const { RefCell::new(Vec::new()) };
    static AMQP: All<amqp::blocking::Client> = const { RefCell::new(Vec::new()) };
}

impl Pipelined for RedisEndpoint {
    fn open() -> &'static LocalKey<All<Self::Client>> {
        &REDIS
    }

    fn collect(client: &mut Self::Client, wait: &mut Wait<'_>) -> Vec<PublishError> {
        client.collect(wait)
    }
}

impl Pipelined for AmqpEndpoint {
    fn open() -> &'static LocalKey<All<Self::Client>> {
        &AMQP
    }

    fn collect(client: &mut Self::Client, wait: &mut Wait<'_>) -> Vec<PublishError> {
        client.collect(wait)
    }
}

/// Writes a task by `write`. An error concerns this task alone.
pub(crate) fn post<S: Pipelined>(
    endpoint: &Arc<S>,
    limits: Limits,
    deadline: Deadline,
    write: impl FnOnce(&mut S::Client, &mut Wait<'_>) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    // The process is read before the wait, because a signal handler may fork during the wait.
    let owner = Process::current();
    let mut client = take(endpoint).unwrap_or_else(|| pool::take(endpoint));
    pool::set_limits::<S>(&mut client, limits);
    let outcome = write(&mut client, &mut Wait::until(deadline, &mut PhpInterrupt));
    let open = Open { owner, client };
    S::open().with_borrow_mut(|all| all.push(open));
    outcome
}

/// Reads the outstanding answers of a broker and returns the errors of tasks that were not
/// accepted.
pub(crate) fn flush<S: Pipelined>(endpoint: &Arc<S>, deadline: Deadline) -> Vec<PublishError> {
    // There are several clients if a signal handler posted in the middle of a post.
    std::iter::from_fn(|| take(endpoint))
        .flat_map(|client| collect::<S>(client, deadline, &mut PhpInterrupt))
        .collect()
}

/// Reads the answers of all brokers, like [`flush`]. It is for the end of a request, when no PHP
/// code may run any more.
pub(crate) fn flush_all(deadline: Deadline) -> Vec<PublishError> {
    let mut failures = flush_kind::<RedisEndpoint>(deadline);
    failures.extend(flush_kind::<AmqpEndpoint>(deadline));
    failures
}

fn flush_kind<S: Pipelined>(deadline: Deadline) -> Vec<PublishError> {
    own(S::open().take())
        .flat_map(|client| collect::<S>(client, deadline, &mut NeverInterrupt))
        .collect()
}

fn collect<S: Pipelined>(
    mut client: Box<S::Client>,
    deadline: Deadline,
    interrupt: &mut dyn Interrupt,
) -> Vec<PublishError> {
    let failures = S::collect(&mut client, &mut Wait::until(deadline, interrupt));
    pool::put_of::<S>(client);
    failures
}

fn take<S: Pipelined>(endpoint: &Arc<S>) -> Option<Box<S::Client>> {
    let found = S::open().with_borrow_mut(|all| {
        let index = all
            .iter()
            .position(|open| open.client.endpoint() == endpoint)?;
        Some(all.swap_remove(index))
    });
    own(found).next()
}

/// Returns the clients that this process opened, and closes the sockets of the others.
fn own<C>(open: impl IntoIterator<Item = Open<C>>) -> impl Iterator<Item = Box<C>> {
    let process = Process::current();
    open.into_iter()
        .filter(move |open| open.owner == process)
        .map(|open| open.client)
}
