//! `PostTasks()`: a batch of tasks in one round trip. All are checked before the first is sent.
//!
//! The tasks may come from anything that `foreach` accepts, which runs PHP code and may never end.
//! Their messages may take as much memory as PHP's `memory_limit`.

use std::collections::HashSet;

use celery_protocol::names;
use ext_php_rs::types::Zval;

use crate::classes::dropin::async_result::AsyncResult;
use crate::connection::Connection;
use crate::ffi::call::Call;
use crate::ffi::iterable;
use crate::ffi::object::Blank;
use crate::ffi::reserve::Reserve;
use crate::ffi::room::Room;
use crate::ffi::throw::Thrown;
use crate::ffi::value::{self, Key};
use crate::replies::Wanted;
use crate::values::{self, place, type_name};
use crate::{broker, post};

use super::client::Client;
use crate::classes::dropin::api::optional_text;

/// The bytes of a message in addition to its texts: its id, its place in the list of messages, and
/// that of its key. Both lists double while they grow.
const FRAME: usize = 2 * (size_of::<post::Message>() + size_of::<Zval>()) + 48;

/// The bytes of PHP memory that an exception takes for each task that was not confirmed. The id of
/// the task is in the message, in a string of its own, and in a list that doubles while it grows.
/// The results take more memory, and are freed before the exception is made.
const FAILURE: usize = 160;

/// The beginning of every refusal: no task was sent.
const NOT_SENT: &str = "No task was sent: ";

/// Implements `PostTasks($tasks, $async_result = true, $routing_key = 'celery', $task_args = [])`.
///
/// Each task is `[$task, $args, $task_args = []]`. The results have the keys of `$tasks`.
pub(super) fn post_tasks(call: &mut Call<'_>) -> Result<(), Thrown> {
    // The state is copied out of the object first. Encoding the arguments runs PHP code, which may
    // change the object.
    let client = call.state::<Client>()?;
    let (api, broker, backend) = (client.api, client.broker()?, client.backend()?);
    let tasks = call
        .argument(0)
        .filter(|tasks| iterable::is_iterable(tasks));
    let tasks = tasks.ok_or_else(|| {
        Thrown::celery(
            "PostTasks() needs an array (or anything iterable) of tasks, each [$task, $args] or \
             [$task, $args, $task_args].",
        )
    })?;
    let wants_results = call.argument(1).is_none_or(Zval::coerce_to_bool);
    let wants_replies = wants_results && backend.is_rabbitmq();
    let routing_key = optional_text(call, 2, "routing key")?;

    let mut keys = Keys::of(tasks);
    let mut room = Room::new();
    let mut messages = Vec::new();
    let failed = iterable::find(tasks, |key, task| {
        let mut row = || {
            if wants_results {
                keys.push(key)?;
            }
            let message = one_of_many(
                key,
                task,
                call.argument(3),
                routing_key.as_deref(),
                (&broker, wants_replies),
            )?;
            room.take(message.held() + FRAME).map_err(|full| {
                let why = format!("the messages take {full}. Post the tasks in parts.");
                Thrown::celery(why).leading(NOT_SENT)
            })?;
            messages.push(message);
            Ok(())
        };
        row().err()
    })?;
    if let Some(thrown) = failed {
        return Err(thrown);
    }
    // The memory for every outcome is taken first. If PHP ended the script for lack of memory
    // later, the caller could not know what was posted.
    if !wants_results {
        let reserve = Reserve::new(messages.len() * FAILURE)?;
        broker::publish_batch(&broker, &messages, &Wanted::default(), reserve)?;
        call.give_bool(true);
        return Ok(());
    }
    let mut blanks = Vec::with_capacity(messages.len());
    let blank = |key| {
        let mut blank = Blank::<AsyncResult>::new();
        let value = blank.value();
        blanks.push(blank);
        (key, value)
    };
    let results = value::map(keys.keys.into_iter().map(blank))?;
    let wanted = if wants_replies {
        Wanted::of(messages.iter().map(|it| it.task_id().to_owned()).collect())?
    } else {
        Wanted::default()
    };
    let (results, blanks) = broker::publish_batch(&broker, &messages, &wanted, (results, blanks))?;
    for (blank, message) in blanks.into_iter().zip(messages) {
        blank.fill(AsyncResult::posted(
            api,
            message,
            broker.clone(),
            backend.clone(),
        ));
    }
    call.give(results);
    Ok(())
}

fn one_of_many(
    key: &Zval,
    task: &Zval,
    common: Option<&Zval>,
    routing_key: Option<&str>,
    (broker, wants_reply): (&Connection, bool),
) -> Result<post::Message, Thrown> {
    let place = || place::cut(&format!("tasks{}", position(key)));
    let wrong = |what: &str| {
        let why = format!(
            "each task of PostTasks() is [$task, $args] or [$task, $args, $task_args], and this one {what}."
        );
        Thrown::celery(why).leading(NOT_SENT).at(&place())
    };
    let task = task
        .array()
        .ok_or_else(|| wrong(&format!("is of the type {}", type_name(task))))?;
    // A reference is held, because PHP code that runs below may replace a task that was reached by
    // a reference.
    let part = |index| {
        task.get_index(index)
            .map(|part| part.dereference().shallow_clone())
    };
    let (name, args, options) = (part(0), part(1), part(2));
    let (Some(name), Some(args)) = (name, args) else {
        return Err(wrong("lacks one of them"));
    };
    let Some(name) = values::text_of(&name)? else {
        return Err(wrong(&if name.is_string() {
            "has a name that is not valid UTF-8".to_owned()
        } else {
            format!("has a name of the type {}", type_name(&name))
        }));
    };
    post::prepare(
        &name,
        &args,
        [common, options.as_ref()],
        routing_key,
        broker,
        wants_reply,
    )
    .map_err(|thrown| {
        let place = match names::check_task_name(&name) {
            Ok(()) => format!("{} ({name})", place()),
            Err(_) => place(),
        };
        thrown.leading(NOT_SENT).at(&place)
    })
}

/// Returns a key of the tasks as PHP code writes it.
fn position(key: &Zval) -> String {
    match (key.long(), value::bytes(key)) {
        (Some(index), _) => place::index(Key::Index(index)),
        (_, Some(name)) => place::index(Key::Name(name)),
        _ => format!("[a key of the type {}]", type_name(key)),
    }
}

/// The keys of the results. Those of an array are unique; those of other sources may repeat.
struct Keys {
    keys: Vec<Zval>,
    /// The keys so far, if a key may repeat.
    seen: Option<HashSet<Vec<u8>>>,
}

impl Keys {
    fn of(tasks: &Zval) -> Self {
        Keys {
            keys: Vec::new(),
            seen: (!tasks.is_array()).then(HashSet::new),
        }
    }

    fn push(&mut self, key: &Zval) -> Result<(), Thrown> {
        let refuse = |why: &str| {
            let place = format!("tasks{}", position(key));
            let why = format!(
                "{why}, and the results have the keys of the tasks. Pass other keys, or false for $async_result."
            );
            Err(Thrown::celery(why).leading(NOT_SENT).at(&place))
        };
        let text = match (key.long(), value::bytes(key)) {
            (Some(index), _) => index.to_string().into_bytes(),
            (_, Some(name)) => name.to_vec(),
            _ => return refuse("the key is neither an int nor a string"),
        };
        let key = value::array_key(key);
        if let Some(seen) = &mut self.seen
            && !seen.insert(text)
        {
            return refuse("the key occurs twice");
        }
        self.keys.push(key);
        Ok(())
    }
}
