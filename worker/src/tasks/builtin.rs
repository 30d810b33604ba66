//! Celery's built-in tasks, which a canvas of Python may send to any worker. Each worker serves
//! them. They follow `celery/app/builtins.py` of 5.7.

use serde_json::json;
use serde_json::value::to_raw_value;

use super::{map, unlock};
use crate::canvas::{Sent, Signature};
use crate::task;
use crate::task::{Args, Context, Exception, Kwargs, Raw, TaskDef, TaskError, TaskResult};

/// Returns the definitions of the built-in tasks.
pub(crate) fn builtin() -> Vec<TaskDef> {
    vec![
        accumulate::task(),
        backend_cleanup::task(),
        chain::task(),
        chord::task(),
        unlock::chord_unlock::task(),
        chunks::task(),
        group_task::task(),
        map::map::task(),
        map::starmap::task(),
    ]
}

/// Returns its arguments, or the one at an index. It is the body of the chord that replaces a task
/// by a group.
#[task(name = "celery.accumulate")]
async fn accumulate(args: Args<Raw>, options: Kwargs<Raw>) -> TaskResult<Raw> {
    let Args(mut args) = args;
    let index: Option<i64> = match options.0.get("index") {
        Some(index) => serde_json::from_str(index.get())?,
        None => None,
    };
    let Some(index) = index else {
        return Ok(to_raw_value(&args)?);
    };
    // As in Python, a negative index counts from the end.
    let start = if index < 0 { args.len() } else { 0 };
    let at = usize::try_from(index.unsigned_abs()).ok().and_then(|far| {
        if index < 0 {
            start.checked_sub(far)
        } else {
            Some(far)
        }
    });
    match at.filter(|at| *at < args.len()) {
        Some(at) => Ok(args.swap_remove(at)),
        None => Err(permanent("IndexError", "tuple index out of range")),
    }
}

/// Does nothing: Redis deletes results when they expire.
#[task(name = "celery.backend_cleanup")]
async fn backend_cleanup() {}

/// Fails, as in Celery: a chain is sent as its tasks.
#[task(name = "celery.chain")]
async fn chain(_args: Args<Raw>, _kwargs: Kwargs<Raw>) -> TaskResult<()> {
    Err(permanent("NotImplementedError", "chain is not a real task"))
}

/// Sends the tasks of a group, each with these arguments before its own.
#[task(name = "celery.group")]
async fn group_task(
    context: Context,
    tasks: Vec<Signature>,
    result: Raw,
    group_id: String,
    partial_args: Vec<Raw>,
    _add_to_parent: Option<Raw>,
) -> TaskResult<Raw> {
    for member in tasks {
        let member = member.before(&partial_args)?;
        let member = member.option("group_id", &group_id);
        context.send(member.option("add_to_parent", false))?;
    }
    Ok(result)
}

/// Arguments of `celery.chord` about a task that polls, which does not exist here.
const OF_THE_POLL: [&str; 4] = ["interval", "countdown", "max_retries", "eager"];

/// Sends a chord, whose header gets these arguments before its own.
#[task(name = "celery.chord")]
async fn chord(
    context: Context,
    header: Raw,
    body: Raw,
    #[default(Vec::new())] partial_args: Vec<Raw>,
    _more: Args<Raw>,
    kwargs: Kwargs<Raw>,
) -> TaskResult<Sent> {
    let Kwargs(mut kwargs) = kwargs;
    kwargs.retain(|name, _| !OF_THE_POLL.contains(&name.as_str()));
    let kwargs = json!({ "header": header, "body": body, "kwargs": kwargs });
    let chord = json!({ "task": "celery.chord", "subtask_type": "chord", "kwargs": kwargs });
    let chord: Signature = serde_json::from_str(&chord.to_string())?;
    context.send(chord.before(&partial_args)?)
}

/// Sends a group of `celery.starmap`, each with `n` items.
#[task(name = "celery.chunks")]
async fn chunks(context: Context, task: Raw, it: Raw, n: u32) -> TaskResult<Sent> {
    let kwargs = json!({ "task": task, "it": it, "n": n });
    let chunks = json!({ "task": "celery.chunks", "subtask_type": "chunks", "kwargs": kwargs });
    let chunks: Signature = serde_json::from_str(&chunks.to_string())?;
    context.send(chunks)
}

fn permanent(kind: &str, message: &str) -> TaskError {
    Exception::new(kind, message).permanent().into()
}
