//! Calls the body of a chord, or fails it, after its last member has ended.

use std::collections::HashMap;

use celery_protocol::canvas::{DEPTH, Load, Signature};
use celery_protocol::json;
use celery_protocol::message::DEFAULT_MAX_BODY;
use celery_protocol::result::{ExceptionDoc, State};
use celery_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::call::{Follow, not_published};
use super::fail::Failing;
use crate::broker::{Complete, Join, Part, ResultStep, Step};
use crate::consumer::rules::{CELERY, Rules, caught};

/// Returns the steps for a chord whose members have all ended. Its body is called with their
/// results, or fails with the exception of the first member that failed.
pub(crate) fn after_chord(
    rules: &Rules,
    part: &Part,
    complete: &Complete,
    now: Timestamp,
) -> Vec<Step> {
    caught(|| join(rules, part, complete, now)).unwrap_or_else(|| {
        let (group, word) = (part.group.clone(), part.word());
        let steps = vec![not_published(
            rules,
            &part.task,
            &part.body,
            "a bug of the worker",
        )];
        vec![Step::Result(ResultStep::Join(Join {
            group,
            word,
            failed: true,
            steps,
        }))]
    })
}

fn join(rules: &Rules, part: &Part, complete: &Complete, now: Timestamp) -> Vec<Step> {
    let results = results(complete);
    let has_failed = results.is_err();
    let (counted, steps) = match results {
        Ok(results) => {
            let mut calling = Follow::new(rules, &part.task, now, Load::new(rules.most));
            calling.body(&part.body.clone().into(), &results.into());
            (Vec::new(), calling.ups.steps)
        }
        Err(broken) => {
            let error = ExceptionDoc::new("ChordError", broken.why, Some(CELERY));
            tracing::error!("Chord {} raised: {}", part.group, error.summary());
            let steps = failed(rules, part, &error, broken.cause.as_ref(), now);
            // A body that is a member of another chord is counted in that chord.
            steps
                .into_iter()
                .partition(|step| matches!(step, Step::Result(ResultStep::Count(_))))
        }
    };
    let (group, word) = (part.group.clone(), part.word());
    let mut all: Vec<Step> = counted;
    all.push(Step::Result(ResultStep::Join(Join {
        group,
        word,
        failed: has_failed,
        steps,
    })));
    all
}

/// Fails a body, and the tasks that follow it.
fn failed(
    rules: &Rules,
    part: &Part,
    error: &ExceptionDoc,
    cause: Option<&ExceptionDoc>,
    now: Timestamp,
) -> Vec<Step> {
    let body = match Signature::read(&part.body) {
        Ok(body) => body,
        Err(why) => {
            return vec![not_published(
                rules,
                &part.task,
                &part.body,
                &why.to_string(),
            )];
        }
    };
    let mut failing = Failing::new(rules, &part.task, now, part.children.clone());
    failing.chord(&body, error, cause);
    failing.steps
}

/// Returns the step for a member of a chord that cannot be counted: the body of the chord goes to
/// the dead letters. The task has been run, and another run would not repair the keys of the chord.
pub(crate) fn not_counted(rules: &Rules, part: &Part, why: &str) -> Step {
    not_published(rules, &part.task, &part.body, why)
}

/// The reason why a header has no results.
struct Broken {
    why: String,
    /// The exception of a member, if one failed.
    cause: Option<ExceptionDoc>,
}

/// Returns the results of a header, in its order and shape, or why there are none.
fn results(complete: &Complete) -> Result<Box<RawValue>, Broken> {
    let broken = |why: String| Broken {
        why: format!("Join error: {why}"),
        cause: None,
    };
    let bytes: usize = complete.members.iter().map(Vec::len).sum();
    let too_large = |bytes| broken(format!("the results have {bytes} bytes"));
    if bytes > DEFAULT_MAX_BODY {
        return Err(too_large(bytes));
    }
    let mut members = Vec::with_capacity(complete.members.len());
    for member in &complete.members {
        let text = json::normalise(member).map_err(|error| broken(error.to_string()))?;
        let (_, id, state, result): (u8, String, String, Box<RawValue>) =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if matches!(State::from_word(&state), State::Failure | State::Revoked) {
            let cause = ExceptionDoc::from_json(result.get()).ok();
            let raised = cause
                .as_ref()
                .map_or_else(|| result.get().to_owned(), ExceptionDoc::summary);
            return Err(Broken {
                why: format!("Dependency {id} raised {raised}"),
                cause,
            });
        }
        members.push((id, result));
    }
    let saved = complete.saved.as_deref().and_then(|saved| {
        let text = json::normalise(saved).ok()?;
        serde_json::from_str::<Saved>(&text).ok()
    });
    if let Some(saved) = saved {
        let by_id: HashMap<String, Box<RawValue>> = members.into_iter().collect();
        let saved = saved.result.1.unwrap_or_default();
        // The saved group may name a member any number of times.
        let bytes = named(&saved, &by_id);
        if bytes > DEFAULT_MAX_BODY {
            return Err(too_large(bytes));
        }
        shaped(&saved, &by_id, 0).map_err(broken)
    } else {
        let results: Vec<Box<RawValue>> = members.into_iter().map(|(_, result)| result).collect();
        raw(&results).map_err(broken)
    }
}

fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, String> {
    to_raw_value(value).map_err(|error| error.to_string())
}

/// The saved result of a group.
#[derive(Deserialize)]
struct Saved {
    result: Tree,
}

/// A result tuple of Celery: `[[id, parent], members]`.
#[derive(Deserialize)]
struct Tree((String, serde::de::IgnoredAny), Option<Vec<Tree>>);

/// Returns how many bytes the results of these members have. Its recursion is bounded, because the
/// JSON reader limits the nesting.
fn named(members: &[Tree], by_id: &HashMap<String, Box<RawValue>>) -> usize {
    let bytes = members
        .iter()
        .map(|member| match (&member.1, by_id.get(&member.0.0)) {
            (Some(members), _) => named(members, by_id),
            (None, result) => result.map_or(0, |result| result.get().len()),
        });
    bytes.fold(0, usize::saturating_add)
}

/// Returns the results of a group whose members may be groups.
fn shaped(
    members: &[Tree],
    by_id: &HashMap<String, Box<RawValue>>,
    depth: usize,
) -> Result<Box<RawValue>, String> {
    if depth > DEPTH {
        return Err("groups in groups without end".to_owned());
    }
    let results: Result<Vec<Box<RawValue>>, String> = members
        .iter()
        .map(|member| match (&member.1, by_id.get(&member.0.0)) {
            (Some(members), _) => shaped(members, by_id, depth + 1),
            (None, Some(result)) => Ok(result.clone()),
            (None, None) => Err(format!("{} has no result", member.0.0)),
        })
        .collect();
    raw(&results?)
}
