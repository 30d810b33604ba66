//! What a client sends: messages that are written already, and the result that they will have.
//!
//! All of it is made before anything is sent. If PHP has no memory for a result, or its code throws,
//! nothing was sent.

use std::collections::HashMap;
use std::rc::Rc;

use celery_client::blocking::Deadline;
use celery_protocol::RawValue;
use celery_protocol::canvas::{NewChord, Outcome, Plan};
use ext_php_rs::types::{ZendHashTable, Zval};

use crate::broker::How;
use crate::classes::canvas::form::{ARGS, KWARGS, OPTIONS, TASK};
use crate::classes::result::model;
use crate::classes::result::place::Place;
use crate::classes::signature;
use crate::client::Config;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::post::{Message, Wire};
use crate::sending::{self, Closures};
use crate::values::encode;
use crate::{errors, pool, post, settings};

/// What a call sends.
pub(crate) struct Prepared {
    pub(crate) messages: Vec<Message>,
    /// The chords that begin before the messages are sent.
    chords: Vec<NewChord>,
    /// The tasks whose replies are wanted.
    wanted: Vec<String>,
    pub(crate) result: Zval,
}

impl Prepared {
    /// Prepares a task that has only a name and arguments. Returns `None` if the name or the queue
    /// cannot be used.
    pub(super) fn plain(
        config: &Rc<Config>,
        name: &str,
        args: Box<RawValue>,
        kwargs: Option<Box<RawValue>>,
    ) -> Result<Option<Self>, Thrown> {
        let settings = settings::current();
        let queue = config.queue.as_deref().unwrap_or(&settings.default_queue);
        let Some(message) = post::plain(name, queue, args, kwargs)? else {
            return Ok(None);
        };
        let place = Place::Client(Rc::clone(config));
        let result = model::at(place, message.task_id(), Some(name), Zval::null())?;
        Ok(Some(Prepared {
            messages: vec![message],
            chords: Vec::new(),
            wanted: Vec::new(),
            result,
        }))
    }

    /// Prepares a canvas. Runs PHP code.
    pub(super) fn canvas(
        config: &Rc<Config>,
        closures: &Closures,
        canvas: &Zval,
    ) -> Result<Self, Thrown> {
        if sending::are_plain(config, closures)
            && let Some(prepared) = plain_signature(config, canvas)?
        {
            return Ok(prepared);
        }
        Self::form(config, closures, &encode::encode(canvas, "")?)
    }

    /// Prepares a canvas, which is Celery's form as JSON. Runs PHP code.
    pub(super) fn form(
        config: &Rc<Config>,
        closures: &Closures,
        form: &RawValue,
    ) -> Result<Self, Thrown> {
        let (plan, wanted) = sending::plan(config, closures, form)?;
        let result = results(&Place::Client(Rc::clone(config)), &plan)?;
        Ok(Prepared {
            messages: plan.messages.into_iter().map(Message::planned).collect(),
            chords: plan.chords,
            wanted,
            result,
        })
    }

    /// Begins the chords in the result backend.
    pub(super) fn begin(&self, config: &Config, how: &How) -> Result<(), Thrown> {
        begin(config, &self.chords, how)
    }

    /// Takes the tasks whose replies are wanted.
    pub(super) fn take_wanted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wanted)
    }

    /// Returns the parts, for a batch.
    pub(super) fn into_parts(self) -> (Vec<Message>, Vec<NewChord>, Zval) {
        (self.messages, self.chords, self.result)
    }
}

/// Begins chords in the result backend, in one call.
pub(super) fn begin(config: &Config, chords: &[NewChord], how: &How) -> Result<(), Thrown> {
    if chords.is_empty() {
        return Ok(());
    }
    let backend = config.backend()?;
    let deadline = Deadline::after(how.timeout);
    let store = backend.kept_results("chords (a group with a task after it is one, too)")?;
    pool::with_limits(store, how.limits, deadline, |client, wait| {
        client.begin_chords(chords, wait)
    })
    .map_err(|error| errors::command("begin a chord", &backend, error))
}

/// Prepares a signature that has only a name and arguments.
fn plain_signature(config: &Rc<Config>, canvas: &Zval) -> Result<Option<Prepared>, Thrown> {
    let Some(object) = canvas.object() else {
        return Ok(None);
    };
    let is_plain = object::is_instance(canvas, signature::NAME)
        && object::get(object, OPTIONS)
            .array()
            .is_some_and(ZendHashTable::is_empty);
    let task = object::get(object, TASK);
    let name = value::bytes(&task).and_then(|name| std::str::from_utf8(name).ok());
    // These two are routed by the task that they call.
    let Some(name) = name.filter(|name| is_plain && !name.starts_with("celery.")) else {
        return Ok(None);
    };
    let (args, kwargs) = (object::get(object, ARGS), object::get(object, KWARGS));
    let args = encode::encode(&args, "args")?;
    let kwargs = match kwargs.array() {
        Some(names) if !names.is_empty() => Some(encode::encode(&kwargs, "kwargs")?),
        _ => None,
    };
    Prepared::plain(config, name, args, kwargs)
}

/// Returns the result of a plan.
pub(crate) fn results(place: &Place, plan: &Plan<Wire>) -> Result<Zval, Thrown> {
    let names = plan.messages.iter();
    let names = names.map(|message| (message.id.as_str(), message.task.as_str()));
    of_outcome(place, plan, &names.collect(), plan.result)
}

fn of_outcome(
    place: &Place,
    plan: &Plan<Wire>,
    names: &HashMap<&str, &str>,
    of: Outcome,
) -> Result<Zval, Thrown> {
    let outcomes = &plan.outcomes;
    let parent = match outcomes.parent(of) {
        Some(parent) => of_outcome(place, plan, names, parent)?,
        None => Zval::null(),
    };
    let id = outcomes.id(of);
    if !outcomes.is_group(of) {
        return model::at(place.clone(), id, names.get(id).copied(), parent);
    }
    let mut members = Vec::with_capacity(outcomes.members(of).len());
    for member in outcomes.members(of) {
        members.push(of_outcome(place, plan, names, *member)?);
    }
    model::make_group(place, id, value::list(members)?, parent)
}
