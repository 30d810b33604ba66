//! `Client::waitingTasks()`, and `WaitingTask`: a task in a queue that no worker has taken.

use celery_client::blocking::Deadline;
use celery_protocol::names;
use ext_php_rs::types::Zval;

use super::client::state::Client;
use super::dead_letters::{LIMIT, limit};
use super::private;
use super::summary::{Summary, int, text};
use crate::ffi::call::Call;
use crate::ffi::class::{Class, DeclareError, Param, Property, optional};
use crate::ffi::object;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::{errors, pool, settings};

const NAME: &str = "Celery\\WaitingTask";

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let text = Type::STRING.nullable();
    Class::closed(NAME)
        .having([
            Property::readonly("id", text),
            Property::readonly("task", text),
            Property::readonly("argsrepr", text),
            Property::readonly("kwargsrepr", text),
            Property::readonly("eta", Type::class("DateTimeImmutable").nullable()),
            Property::readonly("priority", Type::INT),
            Property::readonly("size", Type::INT),
        ])
        .with([private::constructor()])
        .declare()?;
    Ok(())
}

/// Returns the parameters of `Client::waitingTasks()`.
pub(super) fn parameters() -> [Param; 2] {
    [
        optional("queue", "null").typed(Type::STRING.nullable()),
        optional("limit", LIMIT).typed(Type::INT),
    ]
}

/// Implements `Client::waitingTasks()`.
pub(super) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let limit = limit(call, 1)?;
    let given = call.argument(0).and_then(value::bytes);
    let given = given.map(|queue| String::from_utf8_lossy(queue).into_owned());
    let queue = given
        .or_else(|| config.queue.clone())
        .unwrap_or_else(|| settings::current().default_queue.clone());
    names::check_queue_name(&queue)
        .map_err(|error| call.refuse(0, &format!("cannot be used: {error}")))?;
    let endpoint = config.broker.redis(
        "waitingTasks()",
        "It shows no message that stays in its queue. For the number of waiting tasks use queueLengths().",
    )?;
    let deadline = Deadline::after(config.command_timeout());
    let mut found = Vec::new();
    pool::with_limits(endpoint, config.limits(), deadline, |client, wait| {
        client.waiting_messages(&queue, limit, wait, |raw| found.push(Summary::of(&raw)))
    })
    .map_err(|error| errors::command("read the waiting tasks", &config.broker, error))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    let mut tasks = Vec::with_capacity(found.len());
    for summary in &found {
        tasks.push(make(summary)?);
    }
    call.give(value::list(tasks)?);
    Ok(())
}

fn make(summary: &Summary) -> Result<Zval, Thrown> {
    let properties = [
        text(summary.id.as_deref()),
        text(summary.task.as_deref()),
        text(summary.argsrepr.as_deref()),
        text(summary.kwargsrepr.as_deref()),
        summary.eta()?,
        int(summary.priority),
        int(summary.size),
    ];
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        for (slot, value) in properties.into_iter().enumerate() {
            object::init(object, slot, value);
        }
    }
    Ok(made)
}
