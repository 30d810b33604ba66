//! The requests that look at queues and exchanges and create them, for both drivers.

use celery_protocol::amqp::{AmqpError, Method, Reply, Reserved, Short, Table, TableBuf};

use super::queue::{Queue, QueueState};
use super::temporary::Exchange;

/// RabbitMQ's code for something that does not exist.
pub(super) const NOT_FOUND: u16 = 404;
/// RabbitMQ's code for a queue that exists with other arguments.
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// Returns the declaration of a direct exchange, or a look at it.
pub(super) fn exchange(name: &str, passive: bool) -> Result<Method<'_>, AmqpError> {
    exchange_of(name, "direct", true, passive)
}

/// Returns the declaration of an exchange of remote control or events, or a look at it.
pub(super) fn known_exchange(
    exchange: Exchange,
    passive: bool,
) -> Result<Method<'static>, AmqpError> {
    exchange_of(exchange.name, exchange.kind, exchange.durable, passive)
}

/// Returns the declaration of an exchange of any kind, or a look at it.
fn exchange_of<'a>(
    name: &'a str,
    kind: &'a str,
    durable: bool,
    passive: bool,
) -> Result<Method<'a>, AmqpError> {
    Ok(Method::ExchangeDeclare {
        ticket: Reserved::default(),
        exchange: Short::new(name)?,
        kind: Short::new(kind)?,
        passive,
        durable,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    })
}

/// Returns the declaration of a queue. `arguments` is the table of its arguments.
pub(super) fn queue<'a>(
    queue: &Queue<'a>,
    arguments: &'a TableBuf,
) -> Result<Method<'a>, AmqpError> {
    Ok(Method::QueueDeclare {
        ticket: Reserved::default(),
        queue: Short::new(queue.name)?,
        passive: false,
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        no_wait: false,
        arguments: arguments.as_table(),
    })
}

/// Returns a look at a queue.
pub(super) fn look_at_queue(name: &str) -> Result<Method<'_>, AmqpError> {
    Ok(Method::QueueDeclare {
        ticket: Reserved::default(),
        queue: Short::new(name)?,
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    })
}

/// Returns the binding of a queue to an exchange.
pub(super) fn binding<'a>(
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

/// Returns the state of a queue, or the reply if it does not answer a declaration.
pub(super) fn state(reply: Reply) -> Result<QueueState, Reply> {
    match reply {
        Reply::Queue {
            name,
            messages,
            consumers,
        } => Ok(QueueState {
            name,
            messages,
            consumers,
        }),
        other => Err(other),
    }
}
