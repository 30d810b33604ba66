//! `celery.map` and `celery.starmap`: one task that calls another of this worker for each item.
//!
//! As in Python, the calls run one after the other, as parts of the one task: its limits hold for
//! all of them, and the first that fails makes it fail.

use std::sync::Arc;

use celery_protocol::RawValue;
use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;
use serde::Deserialize;

use crate::task;
use crate::task::{
    Answer, Binding, Call, Context, Exception, Raw, Run, TaskDef, TaskError, TaskResult,
};

/// The module of Celery's own exceptions.
const CELERY: &str = "celery.exceptions";

/// After this many calls the task lets others run. Tasks without an await would otherwise keep
/// their thread.
const BREAK: usize = 32;

/// The part of a signature that counts here: as in Python, its own arguments do not.
#[derive(Deserialize)]
pub(super) struct Inner {
    task: String,
}

/// Calls a task with each item as its argument.
#[task(name = "celery.map")]
pub(super) async fn map(context: Context, task: Inner, it: Vec<Raw>) -> TaskResult<Vec<Raw>> {
    let calls = it.iter().map(|item| format!("[{}]", item.get()));
    each(&context, &task.task, calls.collect()).await
}

/// Calls a task with each item as the list of its arguments.
#[task(name = "celery.starmap")]
pub(super) async fn starmap(context: Context, task: Inner, it: Vec<Raw>) -> TaskResult<Vec<Raw>> {
    let calls = it.iter().map(|item| item.get().to_owned());
    each(&context, &task.task, calls.collect()).await
}

async fn each(context: &Context, name: &str, calls: Vec<String>) -> TaskResult<Vec<Raw>> {
    let Some(def) = context.registry().get(name).cloned() else {
        let args = vec![name.into()];
        let unknown = Exception::with_args("NotRegistered", args).module(CELERY);
        return Err(unknown.permanent().into());
    };
    let mut inner = Vec::with_capacity(calls.len());
    for args in calls {
        let mut task = Task::clone(context.message());
        name.clone_into(&mut task.name);
        task.args = RawValue::from_string(args)?;
        task.kwargs = RawValue::from_string("{}".to_owned())?;
        inner.push(Arc::new(task));
    }
    let mut values = Vec::with_capacity(inner.len());
    if let Run::Batched(options, run) = &def.run {
        for part in inner.chunks(options.size.max(1)) {
            let binding = Binding::of(part.iter().map(|task| &**task));
            let answers = run(part.to_vec(), Arc::clone(context.shared()), binding).await;
            for answer in answers.map_err(inside)? {
                values.push(answer.map_err(inside)?);
            }
        }
        return Ok(values);
    }
    for (number, task) in inner.into_iter().enumerate() {
        if number % BREAK == BREAK - 1 {
            tokio::task::yield_now().await;
        }
        values.push(one(context, &def, task).await.map_err(inside)?);
    }
    Ok(values)
}

/// Runs one call.
async fn one(context: &Context, def: &Arc<TaskDef>, task: Arc<Task>) -> Answer {
    let binding = Binding::of([&*task]);
    let call = Call {
        context: context.inside(task, &def.policy),
        binding,
    };
    match &def.run {
        Run::Function(run) => run(call).await,
        Run::Blocking(run) => {
            let run = Arc::clone(run);
            let computing = tokio::task::spawn_blocking(move || run(call));
            let ended = computing.await;
            ended.unwrap_or_else(|error| Err(TaskError::runtime_error(error.to_string())))
        }
        Run::Batched(..) => Err(TaskError::runtime_error("a batch of one call")),
    }
}

/// Returns what the end of an inner call means for the whole. As in Python, a task that is called
/// directly cannot be retried: its error counts.
fn inside(error: TaskError) -> TaskError {
    match error {
        TaskError::Retry(retry) => TaskError::Failed(retry.reason.unwrap_or_else(|| {
            let args = vec!["Task can be retried".into(), serde_json::Value::Null];
            let retry = ExceptionDoc::new("Retry", serde_json::Value::Null, Some(CELERY));
            Exception::of(retry.with_args(args))
        })),
        TaskError::Replaced => {
            TaskError::runtime_error("a task that celery.map calls cannot be replaced")
        }
        other => other,
    }
}
