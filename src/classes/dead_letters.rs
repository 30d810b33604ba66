//! `DeadLetters`: the messages that could not be run, and `DeadLetter`.

use std::rc::Rc;

use celery_client::amqp::blocking as amqp;
use celery_client::blocking::{Deadline, Wait};
use celery_client::redis::blocking as redis;
use celery_client::redis::dead_letters::{Letter, Replayed, is_place};
use celery_client::{ClientError, Endpoint};
use ext_php_rs::types::Zval;

use super::client::state::Client;
use super::private;
use super::summary::{Summary, int, text};
use crate::client::Config;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, Property, method, optional, required};
use crate::ffi::object::{self, Serializable, state};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::{errors, pool};

const NAME: &str = "Celery\\DeadLetters";
pub(super) const TYPE: Type = Type::class(NAME);
const LETTER: &str = "Celery\\DeadLetter";
/// The fields of a letter that an object has.
const FIELDS: [&str; 5] = ["queue", "id", "task", "cause", "worker"];

/// The number of letters or tasks that a call returns if it names none.
pub(super) const LIMIT: &str = "100";
/// The most that a call may ask for. Each is read as a whole message.
const MOST: i64 = 1000;

/// The state of an object.
#[derive(Clone, Default)]
pub(crate) struct State {
    client: Option<Rc<Config>>,
}

state!(State, "Celery\\DeadLetters");

/// Declares the classes.
pub(super) fn declare() -> Result<(), DeclareError> {
    let text = Type::STRING.nullable();
    Class::closed(LETTER)
        .having([
            Property::readonly("place", Type::STRING),
            Property::readonly("queue", Type::STRING),
            Property::readonly("id", text),
            Property::readonly("task", text),
            Property::readonly("cause", Type::STRING),
            Property::readonly("worker", Type::STRING),
            Property::readonly("timestamp", Type::FLOAT),
            Property::readonly("argsrepr", text),
            Property::readonly("kwargsrepr", text),
            Property::readonly("size", Type::INT),
        ])
        .with([private::constructor()])
        .declare()?;
    let place = || [required("place").typed(Type::STRING)];
    let class = Class::closed(NAME)
        .implementing("countable")
        .with([
            private::constructor(),
            method("count", handler!(count), []).returning(Type::INT),
            method("newest", handler!(newest), newest_parameters()).returning(Type::ARRAY),
            method("find", handler!(find), place()).returning(Type::class(LETTER).nullable()),
            method("message", handler!(message), place()).returning(Type::STRING.nullable()),
            method("replay", handler!(replay), place()).returning(Type::BOOL),
            method("delete", handler!(delete), place()).returning(Type::BOOL),
        ])
        .declare()?;
    object::attach::<State>(class, Serializable::No);
    Ok(())
}

fn newest_parameters() -> [Param; 2] {
    [
        optional("limit", LIMIT).typed(Type::INT),
        optional("before", "null").typed(Type::STRING.nullable()),
    ]
}

/// Returns the argument that limits the length of a list.
pub(super) fn limit(call: &Call<'_>, index: usize) -> Result<usize, Thrown> {
    let given = call.argument(index).and_then(Zval::long).unwrap_or(100);
    match usize::try_from(given) {
        Ok(limit) if (1..=MOST).contains(&given) => Ok(limit),
        _ => Err(call.refuse(index, &format!("must be between 1 and {MOST}"))),
    }
}

/// Implements `Client::deadLetters()`, which reads nothing.
pub(super) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?.config()?;
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::state_of::<State>(object)?.client = Some(client);
    }
    call.give(made);
    Ok(())
}

/// Returns the settings of the client that made the object.
fn config(call: &mut Call<'_>) -> Result<Rc<Config>, Thrown> {
    let config = call.state::<State>()?.client.clone();
    config.ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))
}

/// Makes a call of the broker: the first for Redis, the second for RabbitMQ.
fn ask<T>(
    call: &mut Call<'_>,
    what: &str,
    of_redis: impl FnOnce(&mut redis::Client, &mut Wait<'_>) -> Result<T, ClientError>,
    of_rabbitmq: impl FnOnce(&mut amqp::Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, Thrown> {
    let config = config(call)?;
    let deadline = Deadline::after(config.command_timeout());
    let answer = match &config.broker.endpoint {
        Endpoint::Redis(redis) => pool::with_limits(redis, config.limits(), deadline, of_redis),
        Endpoint::Amqp(amqp) => pool::with_limits(amqp, config.limits(), deadline, of_rabbitmq),
    };
    let answer = answer.map_err(|error| errors::command(what, &config.broker, error))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(answer)
}

/// Returns the argument that names a letter.
fn place(call: &Call<'_>, index: usize) -> Result<Option<String>, Thrown> {
    let Some(given) = call.argument(index).and_then(value::bytes) else {
        return Ok(None);
    };
    match std::str::from_utf8(given) {
        Ok(place) if is_place(place) => Ok(Some(place.to_owned())),
        _ => Err(call.refuse(
            index,
            "must be the place of a dead letter, such as 1700000000000-0",
        )),
    }
}

/// Implements `count()`.
fn count(call: &mut Call<'_>) -> Result<(), Thrown> {
    let count = ask(
        call,
        "count the dead letters",
        redis::Client::count_dead_letters,
        |client, wait| client.count_dead_letters(wait).map(Into::into),
    )?;
    call.give(int(count));
    Ok(())
}

/// A letter with what its message says.
struct Read {
    place: String,
    /// The texts of the fields `queue`, `id`, `task`, `cause` and `worker`.
    fields: [String; 5],
    summary: Summary,
}

impl Read {
    /// Reads the message, and drops it.
    fn of(letter: &Letter) -> Self {
        Self {
            place: letter.place.clone(),
            fields: FIELDS.map(|name| letter.field(name).into_owned()),
            summary: Summary::of(letter.raw()),
        }
    }

    /// Reads a message of RabbitMQ, like [`of`](Self::of).
    fn of_delivered(letter: &amqp::Letter) -> Self {
        Self {
            place: letter.description.place.clone(),
            fields: FIELDS.map(|name| letter.description.field(name).to_owned()),
            summary: Summary::of_content(&letter.delivery.content),
        }
    }

    fn make(&self) -> Result<Zval, Thrown> {
        let [queue, id, task, cause, worker] = &self.fields;
        let string = |field: &String| value::string(field.as_bytes());
        // The worker writes an empty text if it could not read the name.
        let known = |given: &String, read: &Option<String>| {
            text(
                Some(&**given)
                    .filter(|it| !it.is_empty())
                    .or(read.as_deref()),
            )
        };
        let milliseconds = self.place.split('-').next().unwrap_or_default();
        let mut timestamp = Zval::new();
        timestamp.set_double(milliseconds.parse::<f64>().unwrap_or(0.0) / 1000.0);
        let properties = [
            string(&self.place),
            string(queue),
            known(id, &self.summary.id),
            known(task, &self.summary.task),
            string(cause),
            string(worker),
            timestamp,
            text(self.summary.argsrepr.as_deref()),
            text(self.summary.kwargsrepr.as_deref()),
            int(self.summary.size),
        ];
        let mut made = object::new(LETTER)?;
        if let Some(object) = made.object_mut() {
            for (slot, value) in properties.into_iter().enumerate() {
                object::init(object, slot, value);
            }
        }
        Ok(made)
    }
}

/// Implements `newest()`.
fn newest(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (limit, before) = (limit(call, 0)?, place(call, 1)?);
    let found = ask(
        call,
        "read the dead letters",
        |client, wait| {
            let mut found = Vec::new();
            client.newest_dead_letters(before.as_deref(), limit, wait, |letter| {
                found.push(Read::of(&letter));
            })?;
            Ok(found)
        },
        |client, wait| {
            client.newest_dead_letters(before.as_deref(), limit, wait, |letter| {
                Read::of_delivered(&letter)
            })
        },
    )?;
    let mut letters = Vec::with_capacity(found.len());
    for read in &found {
        letters.push(read.make()?);
    }
    call.give(value::list(letters)?);
    Ok(())
}

/// Reads the letter that the first argument names.
fn letter<T>(
    call: &mut Call<'_>,
    of_redis: impl FnOnce(Letter) -> T,
    of_rabbitmq: impl FnOnce(amqp::Letter) -> T,
) -> Result<Option<T>, Thrown> {
    let place = place(call, 0)?.unwrap_or_default();
    ask(
        call,
        "read the dead letter",
        |client, wait| Ok(client.dead_letter(&place, wait)?.map(of_redis)),
        |client, wait| Ok(client.dead_letter(&place, wait)?.map(of_rabbitmq)),
    )
}

/// Implements `find()`.
fn find(call: &mut Call<'_>) -> Result<(), Thrown> {
    let found = letter(
        call,
        |letter| Read::of(&letter),
        |letter| Read::of_delivered(&letter),
    )?;
    let made = found.map_or_else(|| Ok(Zval::null()), |read| read.make())?;
    call.give(made);
    Ok(())
}

/// Implements `message()`: the bytes that the worker received. On RabbitMQ, those of the body.
fn message(call: &mut Call<'_>) -> Result<(), Thrown> {
    let message = letter(
        call,
        |letter| letter.raw().to_vec(),
        |letter| letter.delivery.content.body,
    )?;
    let message = message.map_or_else(|| Ok(Zval::null()), |raw| value::large_string(&raw))?;
    call.give(message);
    Ok(())
}

/// Implements `replay()`.
fn replay(call: &mut Call<'_>) -> Result<(), Thrown> {
    let place = place(call, 0)?.unwrap_or_default();
    let replayed = ask(
        call,
        "put back the dead letter",
        |client, wait| client.replay_dead_letter(&place, wait),
        |client, wait| {
            let replayed = client.replay_dead_letter(&place, wait)?;
            Ok(match replayed {
                amqp::Replayed::Done => Replayed::Done,
                amqp::Replayed::Gone => Replayed::Gone,
                amqp::Replayed::Impossible(why) => Replayed::Impossible(why),
            })
        },
    )?;
    match replayed {
        Replayed::Done => call.give_bool(true),
        Replayed::Gone => call.give_bool(false),
        Replayed::Impossible(why) => {
            let message = format!("The dead letter {place} cannot be put back: {why}.");
            return Err(Thrown::celery(message));
        }
    }
    Ok(())
}

/// Implements `delete()`.
fn delete(call: &mut Call<'_>) -> Result<(), Thrown> {
    let place = place(call, 0)?.unwrap_or_default();
    let deleted = ask(
        call,
        "delete the dead letter",
        |client, wait| client.delete_dead_letter(&place, wait),
        |client, wait| client.delete_dead_letter(&place, wait),
    )?;
    call.give_bool(deleted);
    Ok(())
}
