//! `DeadLetters`: the messages that could not be run, and `DeadLetter`.

use std::rc::Rc;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, Wait};
use celery_client::redis::blocking as redis;
use celery_client::redis::dead_letters::{Letter, Replayed, is_place};
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

/// Makes a call of the broker.
fn ask<T>(
    call: &mut Call<'_>,
    what: &str,
    ask: impl FnOnce(&mut redis::Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, Thrown> {
    let config = call.state::<State>()?.client.clone();
    let config =
        config.ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))?;
    let endpoint = config.broker.redis(
        "deadLetters()",
        "The worker publishes dead letters to the queue celery.dead; queueLengths('celery.dead') counts them.",
    )?;
    let deadline = Deadline::after(config.command_timeout());
    let answer = pool::with_limits(endpoint, config.limits(), deadline, ask)
        .map_err(|error| errors::command(what, &config.broker, error))?;
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
    let count = ask(call, "count the dead letters", |client, wait| {
        client.count_dead_letters(wait)
    })?;
    call.give(int(count));
    Ok(())
}

/// A letter with what its message says.
struct Read {
    letter: Letter,
    summary: Summary,
}

impl Read {
    /// Reads the message, and drops it.
    fn of(mut letter: Letter) -> Self {
        let summary = Summary::of(letter.raw());
        letter.fields.retain(|(name, _)| name != "raw");
        Self { letter, summary }
    }

    fn make(&self) -> Result<Zval, Thrown> {
        let field = |name| value::string(self.letter.field(name).as_bytes());
        // The worker writes an empty text if it could not read the name.
        let known = |name, read: &Option<String>| {
            let given = self.letter.field(name);
            text(
                Some(&*given)
                    .filter(|it| !it.is_empty())
                    .or(read.as_deref()),
            )
        };
        let milliseconds = self.letter.place.split('-').next().unwrap_or_default();
        let mut timestamp = Zval::new();
        timestamp.set_double(milliseconds.parse::<f64>().unwrap_or(0.0) / 1000.0);
        let properties = [
            value::string(self.letter.place.as_bytes()),
            field("queue"),
            known("id", &self.summary.id),
            known("task", &self.summary.task),
            field("cause"),
            field("worker"),
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
    let mut found = Vec::new();
    ask(call, "read the dead letters", |client, wait| {
        client.newest_dead_letters(before.as_deref(), limit, wait, |letter| {
            found.push(Read::of(letter));
        })
    })?;
    let mut letters = Vec::with_capacity(found.len());
    for read in &found {
        letters.push(read.make()?);
    }
    call.give(value::list(letters)?);
    Ok(())
}

fn letter(call: &mut Call<'_>) -> Result<Option<Letter>, Thrown> {
    let place = place(call, 0)?.unwrap_or_default();
    ask(call, "read the dead letter", |client, wait| {
        client.dead_letter(&place, wait)
    })
}

/// Implements `find()`.
fn find(call: &mut Call<'_>) -> Result<(), Thrown> {
    let made = match letter(call)? {
        Some(letter) => Read::of(letter).make()?,
        None => Zval::null(),
    };
    call.give(made);
    Ok(())
}

/// Implements `message()`: the bytes that the worker received.
fn message(call: &mut Call<'_>) -> Result<(), Thrown> {
    let message = match letter(call)? {
        Some(letter) => value::large_string(letter.raw())?,
        None => Zval::null(),
    };
    call.give(message);
    Ok(())
}

/// Implements `replay()`.
fn replay(call: &mut Call<'_>) -> Result<(), Thrown> {
    let place = place(call, 0)?.unwrap_or_default();
    let replayed = ask(call, "put back the dead letter", |client, wait| {
        client.replay_dead_letter(&place, wait)
    })?;
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
    let deleted = ask(call, "delete the dead letter", |client, wait| {
        client.delete_dead_letter(&place, wait)
    })?;
    call.give_bool(deleted);
    Ok(())
}
