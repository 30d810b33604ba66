//! The native delay of Celery: exchanges and queues in which the broker keeps messages until they are
//! due.
//!
//! There are 28 levels, one for each bit of a delay in seconds. A message goes through each level
//! whose bit is set, and waits there for its seconds. Its routing key has the 28 bits and then the
//! name of its queue, separated by dots. At the end it comes to the exchange [`DELIVERY`]. Celery
//! uses the levels for queues with a topic exchange only. This worker binds the queue itself, by its
//! exact name, so that the kind of its exchange does not matter.

use std::time::Duration;

use celery_client::amqp::aio::{Connection, Failure};
use celery_protocol::amqp::{AmqpError, Close, Method, Reserved, Short, Table, TableBuf};
use celery_protocol::fields::Fields;

/// The number of levels.
const LEVELS: u32 = 28;
/// The exchange from which messages that are due reach their queues.
const DELIVERY: &str = "celery_delayed_delivery";
/// The longest name of a queue whose binding fits a routing key: 28 bits with their dots come first.
const LONGEST_NAME: usize = 255 - 2 * LEVELS as usize;
/// RabbitMQ's code for something that does not exist.
const NOT_FOUND: u16 = 404;
/// RabbitMQ's code for something that exists with other arguments.
const PRECONDITION_FAILED: u16 = 406;

/// A message that is due within this time is not worth the way through the levels.
pub(super) const SOON: Duration = Duration::from_millis(1_500);

/// Returns the exchange into which a message with a delay is published.
pub(super) fn entrance() -> String {
    level(LEVELS - 1)
}

fn level(number: u32) -> String {
    format!("celery_delayed_{number}")
}

/// Returns the routing key of a message that waits for whole seconds. A longer time than the levels
/// have waits as long as they can, and the worker lets the rest pass when the message comes.
pub(super) fn routing_key(wait: Duration, queue: &str) -> String {
    let seconds = wait.as_secs().min((1 << LEVELS) - 1);
    let mut key = String::with_capacity(2 * LEVELS as usize + queue.len());
    for bit in (0..LEVELS).rev() {
        key.push_str(if seconds >> bit & 1 == 1 { "1." } else { "0." });
    }
    key.push_str(queue);
    key
}

/// Creates all levels, as far as they are missing. The program that has created the entrance may
/// have been ended before it was done: Celery begins with the entrance.
///
/// # Errors
/// Like [`bind`].
pub(super) async fn complete(
    connection: &mut Connection,
    channel: u16,
) -> Result<Result<(), Close>, Failure> {
    // The lowest level comes first, so that a message that finds the entrance finds all levels, or
    // comes back.
    for number in 0..LEVELS {
        let (name, next) = match number {
            0 => (level(0), DELIVERY.to_owned()),
            number => (level(number), level(number - 1)),
        };
        let above = usize::try_from(LEVELS - 1 - number).unwrap_or(0);
        let [ones, zeros] = ["1.#", "0.#"].map(|bit| format!("{}{bit}", "*.".repeat(above)));
        let arguments = arguments(number, &next)?;
        let requests = [
            // The next level exists already, except for the last one.
            exchange(&next, false),
            exchange(&name, false),
            queue(&name, &arguments),
            bind_queue(&name, &name, &ones),
            bind_exchange(&next, &name, &zeros),
        ];
        for request in requests {
            let request = request.map_err(Failure::Unsendable)?;
            match connection.ask_opening(channel, &request).await? {
                Ok(_) => {}
                // Another program has declared the queue otherwise.
                Err(close) if is_other_queue(&close) => {}
                Err(close) => return Ok(Err(close)),
            }
        }
    }
    Ok(Ok(()))
}

/// Returns `true` if a queue was to be declared, and exists with other arguments.
fn is_other_queue(close: &Close) -> bool {
    /// The numbers of `queue.declare`.
    const DECLARE: (u16, u16) = (50, 10);
    close.code == PRECONDITION_FAILED && close.method == DECLARE
}

/// Returns `true` if the name of a queue is short enough for its binding.
pub(super) fn fits(queue: &str) -> bool {
    queue.len() <= LONGEST_NAME
}

/// Binds a queue whose name [`fits`], so that it gets its messages once they are due. Creates the
/// levels unless they exist; those that another program has created stay as they are. The channel
/// should have no other use, because the server may close it.
///
/// # Errors
/// The inner error is a refusal. Any [`Failure`] ends the connection.
pub(super) async fn bind(
    connection: &mut Connection,
    channel: u16,
    queue: &str,
) -> Result<Result<(), Close>, Failure> {
    let entrance = entrance();
    let look = exchange(&entrance, true).map_err(Failure::Unsendable)?;
    let key = format!("{}{queue}", "*.".repeat(LEVELS as usize));
    let binding = bind_queue(queue, DELIVERY, &key).map_err(Failure::Unsendable)?;
    let found = match connection.ask_opening(channel, &look).await? {
        Ok(_) => connection.ask_opening(channel, &binding).await?,
        Err(close) => Err(close),
    };
    match found {
        // The entrance or the exchange of the messages that are due is missing.
        Err(close) if close.code == NOT_FOUND => {}
        found => return Ok(found.map(drop)),
    }
    if let Err(close) = complete(connection, channel).await? {
        return Ok(Err(close));
    }
    let bound = connection.ask_opening(channel, &binding).await?;
    Ok(bound.map(drop))
}

/// Returns the arguments of the queue of a level, as Celery declares it by default.
fn arguments(number: u32, next: &str) -> Result<TableBuf, Failure> {
    let mut fields = Fields::new();
    let set = [
        fields.set("x-queue-type", "quorum"),
        fields.set("x-overflow", "reject-publish"),
        fields.set("x-message-ttl", &(1_000_u64 << number)),
        fields.set("x-dead-letter-exchange", next),
        fields.set("x-dead-letter-strategy", "at-least-once"),
    ];
    for member in set {
        let json = member.map_err(|error| AmqpError::Json(error.to_string()));
        json.map_err(Failure::Unsendable)?;
    }
    TableBuf::from_fields(&fields).map_err(Failure::Unsendable)
}

fn exchange(name: &str, passive: bool) -> Result<Method<'_>, AmqpError> {
    Ok(Method::ExchangeDeclare {
        ticket: Reserved::default(),
        exchange: Short::new(name)?,
        kind: Short::new("topic")?,
        passive,
        durable: true,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    })
}

fn queue<'a>(name: &'a str, arguments: &'a TableBuf) -> Result<Method<'a>, AmqpError> {
    Ok(Method::QueueDeclare {
        ticket: Reserved::default(),
        queue: Short::new(name)?,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: arguments.as_table(),
    })
}

fn bind_queue<'a>(
    queue: &'a str,
    exchange: &'a str,
    routing_key: &'a str,
) -> Result<Method<'a>, AmqpError> {
    Ok(Method::QueueBind {
        ticket: Reserved::default(),
        queue: Short::new(queue)?,
        exchange: Short::new(exchange)?,
        routing_key: Short::new(routing_key)?,
        no_wait: false,
        arguments: Table::default(),
    })
}

fn bind_exchange<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
) -> Result<Method<'a>, AmqpError> {
    Ok(Method::ExchangeBind {
        ticket: Reserved::default(),
        destination: Short::new(destination)?,
        source: Short::new(source)?,
        routing_key: Short::new(routing_key)?,
        no_wait: false,
        arguments: Table::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_key_has_the_bits_of_the_seconds_and_the_queue() {
        let key = routing_key(Duration::from_millis(5_900), "a.b");
        assert_eq!(key, format!("{}1.0.1.a.b", "0.".repeat(25)));
        let longest = routing_key(Duration::MAX, "q");
        assert_eq!(longest, format!("{}q", "1.".repeat(28)));
        assert_eq!(LONGEST_NAME, 199);
    }
}
