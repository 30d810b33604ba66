//! Pipelined posts with outstanding answers (`celery.publish=pipelined`).
//!
//! Such a post is written at once. Its answer is read when the window is full, at `flush()`, or at
//! the end of the request. So a loop of posts does not cost a round trip each, and every failure is
//! reported. A forked child drops the inherited posts, because their answers belong to its parent.

use std::cell::RefCell;
use std::sync::Arc;

use celery_client::PublishError;
use celery_client::blocking::{Deadline, Interrupt, NeverInterrupt, Process, Wait};
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, Outgoing};

use crate::pool::{self, Limits, PhpInterrupt};

/// A client with outstanding answers, and the process that waits for them.
struct Open {
    owner: Process,
    client: Client,
}

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

/// Writes a task. An error concerns this task alone.
pub(crate) fn post(
    endpoint: &Arc<RedisEndpoint>,
    post: &impl Outgoing,
    limits: Limits,
    deadline: Deadline,
) -> Result<(), PublishError> {
    // The process is read before the wait, because a signal handler may fork during the wait.
    let owner = Process::current();
    let mut client = take(endpoint).unwrap_or_else(|| pool::take(endpoint));
    client.set_options(limits.over(pool::client_options()));
    let outcome = client.publish_later(post, &mut Wait::until(deadline, &mut PhpInterrupt));
    let open = Open { owner, client };
    OPEN.with_borrow_mut(|all| all.push(open));
    outcome
}

/// Reads the outstanding answers of a broker and returns the errors of tasks that were not
/// accepted.
pub(crate) fn flush(endpoint: &Arc<RedisEndpoint>, deadline: Deadline) -> Vec<PublishError> {
    // There are several clients if a signal handler posted in the middle of a post.
    std::iter::from_fn(|| take(endpoint))
        .flat_map(|client| collect(client, deadline, &mut PhpInterrupt))
        .collect()
}

/// Reads the answers of all brokers, like [`flush`]. It is for the end of a request, when no PHP
/// code may run any more.
pub(crate) fn flush_all(deadline: Deadline) -> Vec<PublishError> {
    let all = OPEN.take();
    own(all)
        .flat_map(|client| collect(client, deadline, &mut NeverInterrupt))
        .collect()
}

fn collect(
    mut client: Client,
    deadline: Deadline,
    interrupt: &mut dyn Interrupt,
) -> Vec<PublishError> {
    let failures = client.collect(&mut Wait::until(deadline, interrupt));
    pool::put(client);
    failures
}

fn take(endpoint: &Arc<RedisEndpoint>) -> Option<Client> {
    let found = OPEN.with_borrow_mut(|all| {
        let index = all
            .iter()
            .position(|open| open.client.endpoint() == endpoint)?;
        Some(all.swap_remove(index))
    });
    own(found).next()
}

/// Returns the clients that this process opened, and closes the sockets of the others.
fn own(open: impl IntoIterator<Item = Open>) -> impl Iterator<Item = Client> {
    let process = Process::current();
    open.into_iter()
        .filter(move |open| open.owner == process)
        .map(|open| open.client)
}
