//! `purge()`, `queueLengths()` and `heldTasks()`.

use std::rc::Rc;

use celery_client::blocking::Deadline;
use celery_client::redis::blocking as redis;
use celery_client::{ClientError, blocking};
use celery_protocol::names;
use ext_php_rs::types::Zval;

use super::state::Client;
use crate::client::Config;
use crate::ffi::call::Call;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value::{self, Key};
use crate::{errors, pool, settings};

/// Implements `purge()`.
pub(super) fn purge(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let mut deleted = 0;
    for queue in queues(call, &config)? {
        deleted += ask(&config, "purge the queue", |client, wait| {
            client.purge(&queue, wait)
        })?;
    }
    call.give(long(deleted));
    Ok(())
}

/// Implements `queueLengths()`.
pub(super) fn lengths(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let mut lengths = Vec::new();
    for queue in queues(call, &config)? {
        let length = ask(&config, "count the tasks", |client, wait| {
            client.queue_length(&queue, wait)
        })?;
        let name = value::array_key(&value::string(queue.as_bytes()));
        lengths.push((name, long(length)));
    }
    call.give(value::map(lengths)?);
    Ok(())
}

/// Implements `heldTasks()`.
pub(super) fn held(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let held = ask(&config, "count the tasks", redis::Client::held_tasks)?;
    call.give(long(held));
    Ok(())
}

/// Returns the queues of the arguments, or the default queue.
fn queues(call: &Call<'_>, config: &Config) -> Result<Vec<String>, Thrown> {
    let named = call.named().map(|named| named.values());
    let given: Vec<&Zval> = call
        .rest(0)
        .iter()
        .chain(named.into_iter().flatten())
        .collect();
    if given.is_empty() {
        let default = || settings::current().default_queue.clone();
        return Ok(vec![config.queue.clone().unwrap_or_else(default)]);
    }
    let mut queues = Vec::new();
    for (index, queue) in given.into_iter().enumerate() {
        let queue = value::bytes(queue.dereference()).unwrap_or_default();
        let queue = String::from_utf8_lossy(queue).into_owned();
        names::check_queue_name(&queue)
            .map_err(|error| call.refuse(index, &format!("cannot be used: {error}")))?;
        queues.push(queue);
    }
    Ok(queues)
}

fn ask(
    config: &Rc<Config>,
    what: &str,
    call: impl FnOnce(&mut redis::Client, &mut blocking::Wait<'_>) -> Result<u64, ClientError>,
) -> Result<u64, Thrown> {
    let endpoint = config
        .broker
        .redis("purge(), queueLengths() and heldTasks()")?;
    let deadline = Deadline::after(config.command_timeout());
    let answer = pool::with_limits(endpoint, config.limits(), deadline, call)
        .map_err(|error| errors::command(what, &config.broker, error))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(answer)
}

fn long(number: u64) -> Zval {
    Key::Index(i64::try_from(number).unwrap_or(i64::MAX)).to_zval()
}
