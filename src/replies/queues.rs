//! Names and arguments of the queues for replies.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::amqp::blocking::Queue;

/// The states of a task that its own queue keeps: more than a task usually has.
const MOST_STATES: u32 = 16;
/// The replies that the queue of a process keeps. The oldest are dropped.
const MOST_REPLIES: u32 = 100_000;
/// The longest time that RabbitMQ accepts, in milliseconds.
const LONGEST: u32 = u32::MAX;

/// Returns the name of the queue for the replies to a task.
pub(super) fn of_task(task_id: &str) -> String {
    format!("celery.reply.{task_id}")
}

/// Returns the queue for the replies to one task. If the virtual host has another default type, the
/// queue is a classic one nevertheless: there, a message that is put back keeps its place.
pub(super) fn task(name: &str, expires: Duration) -> Result<Queue<'_>, ClientError> {
    queue(name, expires, MOST_STATES)
}

/// Returns the queue for the replies to a process.
///
/// Python's queue is deleted with its only consumer. A consumer of this client ends with each call,
/// so this queue stays until it expires. Replies that are not read expire, too.
pub(super) fn process(name: &str, expires: Duration) -> Result<Queue<'_>, ClientError> {
    let mut queue = queue(name, expires, MOST_REPLIES)?;
    set(&mut queue, "x-message-ttl", millis(expires))?;
    Ok(queue)
}

fn queue(name: &str, expires: Duration, most: u32) -> Result<Queue<'_>, ClientError> {
    let mut queue = Queue::durable(name);
    let kind = queue.arguments.set("x-queue-type", "classic");
    kind.map_err(|error| ClientError::Protocol(error.to_string()))?;
    set(&mut queue, "x-expires", millis(expires))?;
    set(&mut queue, "x-max-length", most)?;
    Ok(queue)
}

fn set(queue: &mut Queue<'_>, name: &str, value: u32) -> Result<(), ClientError> {
    let set = queue.arguments.set(name, &value);
    set.map_err(|error| ClientError::Protocol(error.to_string()))
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(LONGEST).max(1)
}
