//! `sendTasks()`: many canvases in one round trip. All are written before the first is sent.

use std::collections::HashSet;
use std::rc::Rc;

use celery_protocol::canvas::NewChord;
use ext_php_rs::types::Zval;

use super::prepared::{Prepared, begin};
use super::sending::how;
use super::state::Client;
use crate::classes::canvas::form;
use crate::classes::exceptions::{CONFIRMED, KEYS, PUBLISH_FAILED};
use crate::classes::result::model::make_set;
use crate::classes::result::place::Place;
use crate::ffi::call::Call;
use crate::ffi::iterable;
use crate::ffi::object;
use crate::ffi::room::Room;
use crate::ffi::throw::Thrown;
use crate::ffi::type_name::type_name;
use crate::ffi::value;
use crate::post::Message;
use crate::replies::Wanted;
use crate::{broker, errors};

/// What a batch sends.
struct Batch {
    /// The keys of the results, and the results.
    results: Vec<(Zval, Zval)>,
    messages: Vec<Message>,
    /// For each message, the index of its result.
    owners: Vec<usize>,
    chords: Vec<NewChord>,
    /// The tasks whose replies are wanted.
    wanted: Vec<String>,
    /// The memory that is left for the messages.
    room: Room,
    seen: HashSet<Vec<u8>>,
}

/// Implements `sendTasks()`.
pub(super) fn send_tasks(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?;
    let (config, closures) = (client.config()?, client.closures());
    let how = how(call, 1, &config)?;
    let tasks = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let mut batch = Batch::new();
    let refused = iterable::find(&tasks, |key, canvas| {
        let canvas = canvas.shallow_clone();
        if !object::is_instance(&canvas, form::NAME) {
            let given = type_name(&canvas);
            let why = format!("must contain only Celery\\Canvas, {given} given");
            return Some(call.refuse(0, &why));
        }
        let prepared = match batch.key(key) {
            Err(why) => Err(call.refuse(0, why)),
            Ok(()) => Prepared::canvas(&config, &closures, &canvas),
        };
        prepared
            .and_then(|prepared| batch.take(value::array_key(key), prepared))
            .err()
    })?;
    if let Some(thrown) = refused {
        return Err(thrown);
    }
    let results = batch.results.iter();
    let results = results.map(|(key, result)| (key.shallow_clone(), result.shallow_clone()));
    let place = Place::Client(Rc::clone(&config));
    let set = make_set(place.clone(), value::map(results)?)?;
    if batch.messages.is_empty() {
        call.give(set);
        return Ok(());
    }
    begin(&config, &batch.chords, &how)?;
    let wanted = Wanted::of(std::mem::take(&mut batch.wanted))?;
    let failures = broker::failures_of_batch(&config.broker, &batch.messages, &wanted, &how)?;
    if failures.is_empty() {
        call.give(set);
        return Ok(());
    }
    let failed = failures.iter().map(|failure| failure.task_id.as_str());
    let failed: HashSet<&str> = failed.collect();
    let (keys, confirmed) = batch.outcome(&failed)?;
    let confirmed = make_set(place, confirmed)?;
    let sent = batch.messages.len();
    let thrown = errors::of_batch(how.failure, &config.broker, failures, sent);
    Err(thrown
        .with_property_of(PUBLISH_FAILED, KEYS, keys)
        .with_property_of(PUBLISH_FAILED, CONFIRMED, confirmed))
}

impl Batch {
    fn new() -> Self {
        Batch {
            results: Vec::new(),
            messages: Vec::new(),
            owners: Vec::new(),
            chords: Vec::new(),
            wanted: Vec::new(),
            room: Room::new(),
            seen: HashSet::new(),
        }
    }

    /// Checks the key of a canvas.
    fn key(&mut self, key: &Zval) -> Result<(), &'static str> {
        let text = match (key.long(), value::bytes(key)) {
            (Some(index), _) => index.to_string().into_bytes(),
            (_, Some(name)) => name.to_vec(),
            _ => return Err("must have keys of type int|string"),
        };
        if self.seen.insert(text) {
            Ok(())
        } else {
            Err("must not have a key twice: the results have its keys")
        }
    }

    fn take(&mut self, key: Zval, mut prepared: Prepared) -> Result<(), Thrown> {
        self.wanted.extend(prepared.take_wanted());
        let (messages, chords, result) = prepared.into_parts();
        self.room
            .take(messages.iter().map(Message::size).sum())
            .map_err(|full| {
                errors::not_sent(format!(
                    "the messages take {full}. Send the tasks in parts."
                ))
            })?;
        let owner = self.results.len();
        self.owners.extend(messages.iter().map(|_| owner));
        self.messages.extend(messages);
        self.chords.extend(chords);
        self.results.push((key, result));
        Ok(())
    }

    /// Returns the keys of those with a message that was not confirmed, and the other results.
    fn outcome(&self, failed: &HashSet<&str>) -> Result<(Zval, Zval), Thrown> {
        let lost: HashSet<usize> = self
            .messages
            .iter()
            .zip(&self.owners)
            .filter(|(message, _)| failed.contains(message.task_id()))
            .map(|(_, owner)| *owner)
            .collect();
        let (mut keys, mut confirmed) = (Vec::new(), Vec::new());
        for (index, (key, result)) in self.results.iter().enumerate() {
            if lost.contains(&index) {
                keys.push(key.shallow_clone());
            } else {
                confirmed.push((key.shallow_clone(), result.shallow_clone()));
            }
        }
        Ok((value::list(keys)?, value::map(confirmed)?))
    }
}
