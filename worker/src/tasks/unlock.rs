//! `celery.chord_unlock`: the task that looks after a chord for result backends that do not count
//! members. Such a client sends it with the header of the chord.
//!
//! It follows `unlock_chord` in `celery/app/builtins.py` of 5.7: it reads the results of the header
//! once a second. When all are there, it calls the body with them, or fails the body.

use std::time::Duration;

use celery_protocol::RawValue;
use celery_protocol::message::DEFAULT_MAX_BODY;
use celery_protocol::result::{ExceptionDoc, ResultDoc, ResultTree, State};
use serde_json::value::to_raw_value;

use crate::canvas::Signature;
use crate::task;
use crate::task::{Args, Context, Exception, Kwargs, Raw, TaskError, TaskResult};

/// The module of Celery's own exceptions.
const CELERY: &str = "celery.exceptions";

/// Celery's default of `result_chord_retry_interval`, in seconds.
const INTERVAL: f64 = 1.0;

/// The most results that are read at once.
const AT_ONCE: usize = 100;

/// Calls the body of a chord when its header is done, or asks to look again.
#[expect(clippy::too_many_arguments, reason = "those of Celery's task")]
#[task(
    name = "celery.chord_unlock",
    max_retries = "unlimited",
    ignore_result = true
)]
pub(super) async fn chord_unlock(
    context: Context,
    group_id: String,
    callback: Signature,
    interval: Option<f64>,
    max_retries: Option<u32>,
    result: Option<Vec<Raw>>,
    _more: Args<Raw>,
    _named: Kwargs<Raw>,
) -> TaskResult<()> {
    if !context.has_results() {
        let text = "No result backend is configured.";
        return Err(Exception::new("NotImplementedError", text)
            .permanent()
            .into());
    }
    let members = result.unwrap_or_default().into_iter();
    let members: Vec<ResultTree> = members
        .map(|member| ResultTree::from_json(member.get()))
        .collect::<Result<_, _>>()?;
    let Some(documents) = documents(&context, &members).await else {
        let wait = Duration::try_from_secs_f64(interval.unwrap_or(INTERVAL)).unwrap_or_default();
        let again = context.retry().countdown(wait).max_retries(max_retries);
        if max_retries.is_none_or(|most| context.retries() < most) {
            return Err(again.into());
        }
        let text = format!("Can't retry {}[{}]", context.name(), context.id());
        let spent = Exception::with_args("MaxRetriesExceededError", vec![text.into()]);
        let spent = spent.module(CELERY);
        let why = format!("chord_unlock could not be retried: {spent}");
        context.fail_body(callback, why, None)?;
        return Err(again.because(spent).into());
    };
    let documents = documents.map(Vec::into_iter);
    match documents.and_then(|mut documents| joined(&members, &mut documents)) {
        Ok(results) => {
            let body = callback.clone().before(&[results])?;
            if let Err(error) = context.send(body) {
                let why = match error {
                    TaskError::Failed(exception) => exception.to_string(),
                    other => format!("{other:?}"),
                };
                tracing::error!("Chord {group_id} raised: {why}");
                context.fail_body(callback, format!("Callback error: {why}"), None)?;
            }
        }
        Err(Broken { why, cause }) => {
            tracing::error!("Chord {group_id} raised: {why}");
            context.fail_body(callback, why, cause)?;
        }
    }
    Ok(())
}

/// Returns the documents of all tasks of a header, in its order; `None` if one has not ended.
async fn documents(
    context: &Context,
    members: &[ResultTree],
) -> Option<Result<Vec<ResultDoc>, Broken>> {
    let mut ids = Vec::new();
    tasks(members, &mut ids);
    let mut ended = Ended::up_to(DEFAULT_MAX_BODY);
    for chunk in ids.chunks(AT_ONCE) {
        for document in context.results(chunk.to_vec()).await {
            if let Err(broken) = ended.add(document.filter(|document| document.status.ready())?) {
                return Some(Err(broken));
            }
        }
    }
    Some(Ok(ended.documents))
}

/// The documents of the tasks that have ended, whose results have a limit together.
struct Ended {
    documents: Vec<ResultDoc>,
    bytes: usize,
    most: usize,
}

impl Ended {
    fn up_to(most: usize) -> Self {
        Ended {
            documents: Vec::new(),
            bytes: 0,
            most,
        }
    }

    fn add(&mut self, document: ResultDoc) -> Result<(), Broken> {
        self.bytes += document.result.get().len();
        if self.bytes > self.most {
            let (bytes, most) = (self.bytes, self.most);
            return Err(Broken {
                why: format!(
                    "Join error: the results have {bytes} bytes or more, but at most {most} are allowed"
                ),
                cause: None,
            });
        }
        self.documents.push(document);
        Ok(())
    }
}

/// Collects the ids of the tasks of a header. The reader of trees has limited their nesting.
fn tasks(members: &[ResultTree], ids: &mut Vec<String>) {
    for member in members {
        match &member.members {
            Some(members) => tasks(members, ids),
            None => ids.push(member.id.clone()),
        }
    }
}

/// The reason why a header has no results.
struct Broken {
    why: String,
    /// The exception of the member that failed.
    cause: Option<ExceptionDoc>,
}

/// Returns the results of a header as a list, in which groups are lists.
fn joined(
    members: &[ResultTree],
    documents: &mut impl Iterator<Item = ResultDoc>,
) -> Result<Box<RawValue>, Broken> {
    let broken = |why: String| Broken { why, cause: None };
    let mut results = Vec::with_capacity(members.len());
    for member in members {
        let result = if let Some(members) = &member.members {
            joined(members, documents)?
        } else {
            let missing = || broken(format!("{} has no result", member.id));
            let document = documents.next().ok_or_else(missing)?;
            if document.status != State::Success {
                let cause = document.failed_with();
                return Err(Broken {
                    why: format!("Dependency {} raised {}", member.id, cause.summary()),
                    cause: Some(cause),
                });
            }
            document.result
        };
        results.push(result);
    }
    to_raw_value(&results).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_a_header_have_a_limit_together() {
        let document = |id: &str| {
            let json = format!(r#"{{"status":"SUCCESS","result":"12345678","task_id":"{id}"}}"#);
            ResultDoc::decode(json.as_bytes()).unwrap()
        };
        let mut ended = Ended::up_to(25);
        for id in ["a", "b"] {
            assert!(ended.add(document(id)).is_ok());
        }
        let broken = ended.add(document("c")).unwrap_err();
        assert!(
            broken
                .why
                .starts_with("Join error: the results have 30 bytes")
        );
        assert_eq!(ended.documents.len(), 2);
    }
}
