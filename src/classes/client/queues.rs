//! `purge()`, `queueLengths()` and `heldTasks()`.

use celery_client::amqp::blocking as rabbitmq;
use celery_client::blocking::{Deadline, Wait};
use celery_client::redis::blocking as redis;
use celery_client::{ClientError, Endpoint};
use celery_protocol::names;
use ext_php_rs::types::Zval;

use super::state::Client;
use crate::client::Config;
use crate::ffi::call::Call;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value::{self, Key};
use crate::{errors, pool, settings};

/// What a count does, for errors.
const COUNT: &str = "count the tasks";

/// Implements `purge()`.
pub(super) fn purge(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let mut deleted = 0;
    for queue in queues(call, &config)? {
        let on_redis = |client: &mut redis::Client, wait: &mut Wait<'_>| client.purge(&queue, wait);
        deleted += ask(&config, "purge the queue", on_redis, |client, wait| {
            let purged = client.purge_queue(&queue, wait)?;
            Ok(u64::from(purged.unwrap_or(0)))
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
        let on_redis =
            |client: &mut redis::Client, wait: &mut Wait<'_>| client.queue_length(&queue, wait);
        let length = ask(&config, COUNT, on_redis, |client, wait| {
            let state = client.queue_state(&queue, wait)?;
            Ok(state.map_or(0, |state| state.messages.into()))
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
    let endpoint = config.broker.redis(
        "heldTasks()",
        "It does not tell its clients what workers hold. Ask the workers: control()->inspect()->active() \
         and reserved().",
    )?;
    let deadline = Deadline::after(config.command_timeout());
    let held = pool::with_limits(
        endpoint,
        config.limits(),
        deadline,
        redis::Client::held_tasks,
    );
    let held = answered(&config, COUNT, held)?;
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

/// Asks the broker, by the call for its kind.
fn ask(
    config: &Config,
    what: &str,
    on_redis: impl FnOnce(&mut redis::Client, &mut Wait<'_>) -> Result<u64, ClientError>,
    on_rabbitmq: impl FnOnce(&mut rabbitmq::Client, &mut Wait<'_>) -> Result<u64, ClientError>,
) -> Result<u64, Thrown> {
    let (limits, deadline) = (config.limits(), Deadline::after(config.command_timeout()));
    let answer = match &config.broker.endpoint {
        Endpoint::Redis(endpoint) => pool::with_limits(endpoint, limits, deadline, on_redis),
        Endpoint::Amqp(endpoint) => pool::with_limits(endpoint, limits, deadline, on_rabbitmq),
    };
    answered(config, what, answer)
}

fn answered(config: &Config, what: &str, answer: Result<u64, ClientError>) -> Result<u64, Thrown> {
    let answer = answer.map_err(|error| errors::command(what, &config.broker, error))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(answer)
}

fn long(number: u64) -> Zval {
    Key::Index(i64::try_from(number).unwrap_or(i64::MAX)).to_zval()
}
