//! The requests of the connection that consumes.

use std::sync::Arc;

use celery_client::amqp::aio::{ConnectOptions, Connection, Consumer, Failure};
use celery_client::amqp::{Queue, aio};
use celery_protocol::amqp::{Close, Method, Reply, Reserved, Short};

use super::lane::Lane;
use super::shared::Shared;
use crate::broker::options::AmqpOptions;

/// The channel for looks at queues and declarations. The server may close it because of one of them.
const ASKING: u16 = 1;
/// RabbitMQ's code for something that does not exist.
const NOT_FOUND: u16 = 404;
/// The channel of the first queue; the others follow.
const FIRST: u16 = 2;
/// The most channels: one for each of the queues that a worker can consume in its life. RabbitMQ
/// permits 2,047 by default.
const MOST: u16 = 1_100;

/// Returns the number of the channel of the queue at this place.
pub(super) fn channel(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(MOST).saturating_add(FIRST)
}

/// Returns the options of the connection that consumes.
pub(super) fn options(shared: &Shared) -> ConnectOptions {
    let mut options = shared.connect_options("fetch");
    options.channel_max = MOST;
    options.heartbeat = shared.options.heartbeat;
    options
}

/// What came of the start of a consumer.
#[derive(Debug)]
pub(super) enum Started {
    /// The queue is consumed. `created`: it did not exist before.
    Consuming { created: bool },
    /// The server refused it. The channel of the queue may be closed.
    Refused(Close),
}

/// Finds a queue or creates it, opens its channel, and starts a consumer. If the queue is consumed
/// already, the new consumer takes the place of the old one.
///
/// # Errors
/// Any [`Failure`] ends the connection.
pub(super) async fn start(
    connection: &mut Connection,
    lane: &mut Lane,
    prefetch: u16,
    options: &AmqpOptions,
    calls: &mut u64,
) -> Result<Started, Failure> {
    let before = lane.is_consuming().then(|| lane.consumer.clone());
    let mut created = false;
    if before.is_none() {
        match find(connection, ASKING, &lane.queue, options).await? {
            Ok(is_new) => created = is_new,
            Err(close) => return Ok(Started::Refused(close)),
        }
    }
    if lane.call.is_none() || !connection.is_channel_open(lane.channel) {
        connection.open_channel(lane.channel).await?;
        *calls += 1;
        lane.opened(*calls);
    }
    *calls += 1;
    let queue = Arc::clone(&lane.queue);
    let consumer = format!("c{calls}");
    let request = Consumer::new(&queue, &consumer).prefetch(prefetch);
    if let Err(close) = connection.consume(lane.channel, &request).await? {
        lane.closed();
        return Ok(Started::Refused(close));
    }
    lane.consumer = consumer;
    lane.consuming(prefetch);
    if let Some(before) = before {
        cancel(connection, lane.channel, &before)?;
    }
    Ok(Started::Consuming { created })
}

/// Looks for a queue, and creates it if it is missing and may be created. Returns `true` if it is
/// new. The server may close the channel.
///
/// # Errors
/// The inner error is a refusal. Any [`Failure`] ends the connection.
pub(super) async fn find(
    connection: &mut Connection,
    channel: u16,
    name: &str,
    options: &AmqpOptions,
) -> Result<Result<bool, Close>, Failure> {
    match connection.look_at_queue(channel, name).await? {
        Ok(Some(_)) => return Ok(Ok(false)),
        Ok(None) => {}
        Err(close) => return Ok(Err(close)),
    }
    let Some(kind) = options.create_missing else {
        return Ok(Err(Close {
            code: NOT_FOUND,
            text: "it does not exist, and missing queues are not created".to_owned(),
            method: (0, 0),
        }));
    };
    let mut queue = Queue::durable(name);
    queue.set_type(kind);
    let found = connection.find_queue(channel, &queue).await?;
    Ok(found.map(|()| true))
}

/// Deletes the messages that wait in queues. Returns their number. A queue that does not exist or may
/// not be purged has none.
///
/// # Errors
/// Any [`Failure`] ends the connection.
pub(super) async fn purge(
    connection: &mut Connection,
    queues: &[Arc<str>],
) -> Result<usize, Failure> {
    let mut count = 0;
    for queue in queues {
        let purge = Method::QueuePurge {
            ticket: Reserved::default(),
            queue: short(queue)?,
            no_wait: false,
        };
        match connection.ask_opening(ASKING, &purge).await? {
            Ok(Reply::Removed(messages)) => count += usize::try_from(messages).unwrap_or(0),
            Ok(_) => {}
            Err(close) if close.code == NOT_FOUND => {}
            Err(close) => tracing::error!("consumer: cannot purge the queue {queue}: {close}"),
        }
    }
    Ok(count)
}

/// Ends a consumer, without waiting for an answer. A channel that the server has closed has
/// no consumer.
pub(super) fn cancel(
    connection: &mut Connection,
    channel: u16,
    consumer: &str,
) -> Result<(), Failure> {
    if !connection.is_channel_open(channel) {
        return Ok(());
    }
    let cancel = Method::BasicCancel {
        consumer_tag: short(consumer)?,
        no_wait: true,
    };
    connection.tell(channel, &cancel)
}

/// Asks for an answer behind all that was sent on a channel. The limit in the request holds for
/// consumers that start later, and each start sets its own.
pub(super) fn ask_for_end(connection: &mut Connection, channel: u16) -> Result<(), Failure> {
    let limit = Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: 1,
        global: false,
    };
    connection.tell(channel, &limit)
}

fn short(text: &str) -> Result<Short<'_>, Failure> {
    Short::new(text).map_err(aio::Failure::Unsendable)
}
