//! What follows a task: callbacks and the rest of its chain after a success, error callbacks after a failure.
//!
//! The messages are steps of the settlement, so that they are published exactly when the task is acknowledged.
//!
//! Not here: counting the members of a chord, and chords as steps of a chain. A task that carries such a thing is not
//! forgotten: what could not be published goes to the dead letters with the cause `follow-up`, from where it can be
//! replayed.

use std::sync::Arc;

use celery_protocol::message::{Task, TimeLimit};
use celery_protocol::result::{ExceptionDoc, ResultDoc};
use celery_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::transition::Rules;
use crate::source::{Letter, Step};

/// What is published after a task.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    pub(crate) steps: Vec<Step>,
    /// Each as Celery's result tuple, for the document's `children`.
    pub(crate) children: Vec<Box<RawValue>>,
}

/// A signature, as far as it is understood here. Members that are not are ignored, as Celery does.
#[derive(Debug, Deserialize)]
struct Signature<'a> {
    task: String,
    #[serde(borrow, default)]
    args: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    kwargs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    options: Options<'a>,
    #[serde(default)]
    subtask_type: Option<String>,
    #[serde(default)]
    immutable: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Options<'a> {
    task_id: Option<String>,
    queue: Option<String>,
    routing_key: Option<String>,
    priority: Option<u8>,
    countdown: Option<f64>,
    eta: Option<String>,
    reply_to: Option<String>,
    root_id: Option<String>,
    group_id: Option<String>,
    group_index: Option<i64>,
    time_limit: Option<f64>,
    soft_time_limit: Option<f64>,
    ignore_result: Option<bool>,
    #[serde(borrow)]
    link: Option<&'a RawValue>,
    #[serde(borrow)]
    link_error: Option<&'a RawValue>,
    #[serde(borrow)]
    chord: Option<&'a RawValue>,
    #[serde(borrow)]
    chain: Option<&'a RawValue>,
}

/// The kwargs of a `celery.chain` or `celery.group` signature.
#[derive(Deserialize)]
struct Tasks<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
}

/// How a follow-up is told about its parent.
struct Parent<'a> {
    rules: &'a Rules,
    task: &'a Task,
    /// Goes before the arguments, unless the signature is immutable.
    first_argument: &'a RawValue,
    now: Timestamp,
}

/// Callbacks, then the next step of the chain, with the result as their first argument.
pub(crate) fn after_success(
    rules: &Rules,
    task: &Task,
    result: &RawValue,
    now: Timestamp,
) -> FollowUps {
    let mut follow = FollowUps::default();
    let embed = &task.embed;
    if embed.callbacks.is_none() && embed.chain.is_none() && embed.chord.is_none() {
        return follow;
    }
    let parent = Parent {
        rules,
        task,
        first_argument: result,
        now,
    };
    parent.call_all(embed.callbacks.as_deref(), &mut follow);
    let mut rest = list(embed.chain.as_deref());
    if let Some(next) = rest.pop() {
        let rest = (!rest.is_empty()).then_some(rest);
        parent.call(next, None, rest.as_deref(), &mut follow);
    }
    if let Some(chord) = &embed.chord {
        follow
            .steps
            .push(parent.not_published(chord, "a chord cannot be counted yet"));
    }
    follow
}

/// Error callbacks with the id of the failed task, and the failure of every step of the chain that will not be run.
pub(crate) fn after_failure(
    rules: &Rules,
    task: &Task,
    exception: &ExceptionDoc,
    traceback: Option<&str>,
    now: Timestamp,
) -> Vec<Step> {
    let mut follow = FollowUps::default();
    let embed = &task.embed;
    if embed.errbacks.is_some()
        && let Ok(id) = serde_json::value::to_raw_value(&task.id)
    {
        let parent = Parent {
            rules,
            task,
            first_argument: &id,
            now,
        };
        parent.call_all(embed.errbacks.as_deref(), &mut follow);
    }
    if rules.results {
        if let Some(chord) = &embed.chord {
            follow.steps.extend(fail_chord(task, chord, exception, now));
        }
        for step in list(embed.chain.as_deref()) {
            let id = serde_json::from_str::<Signature<'_>>(step.get())
                .ok()
                .and_then(|s| s.options.task_id);
            if let Some(id) = id.filter(|id| celery_protocol::keys::check_task_id(id).is_ok()) {
                let doc = ResultDoc::failure(&id, exception, traceback.map(str::to_owned), now);
                follow.steps.push(Step::Result {
                    document: doc.encode(),
                    id,
                });
            }
        }
    }
    follow.steps
}

/// The body of a chord will not be run when a member of its header has failed.
fn fail_chord(
    task: &Task,
    body: &RawValue,
    exception: &ExceptionDoc,
    now: Timestamp,
) -> Option<Step> {
    let id = serde_json::from_str::<Signature<'_>>(body.get())
        .ok()?
        .options
        .task_id?;
    celery_protocol::keys::check_task_id(&id).ok()?;
    let text = format!("Dependency {} raised {}", task.id, exception.summary());
    let exception = ExceptionDoc::new("ChordError", text, Some("celery.exceptions"));
    let document = ResultDoc::failure(&id, &exception, None, now).encode();
    Some(Step::Result { id, document })
}

impl Parent<'_> {
    /// One signature is called as it is, several as a group with an id of its own.
    fn call_all(&self, signatures: Option<&RawValue>, follow: &mut FollowUps) {
        let signatures = list(signatures);
        let group = (signatures.len() > 1).then(new_id);
        for (index, signature) in signatures.iter().enumerate() {
            let place = group
                .as_deref()
                .map(|group| (group, i64::try_from(index).unwrap_or(0)));
            self.call(signature, place, None, follow);
        }
    }

    fn call(
        &self,
        signature: &RawValue,
        group: Option<(&str, i64)>,
        rest: Option<&[&RawValue]>,
        follow: &mut FollowUps,
    ) {
        match self.members(signature, rest) {
            Ok(Some((id, members))) => return self.call_group(&id, &members, follow),
            Ok(None) => {}
            Err(why) => return follow.steps.push(self.not_published(signature, &why)),
        }
        match self.message(signature, group, rest) {
            Ok((step, id)) => {
                follow.steps.push(step);
                let tuple = serde_json::json!([[id, self.task.id], null]);
                follow
                    .children
                    .extend(serde_json::value::to_raw_value(&tuple));
            }
            Err(why) => follow.steps.push(self.not_published(signature, &why)),
        }
    }

    /// The id and the members, if the signature is a group.
    fn members<'s>(
        &self,
        text: &'s RawValue,
        rest: Option<&[&RawValue]>,
    ) -> Result<Option<(String, Vec<&'s RawValue>)>, String> {
        let signature: Signature<'s> =
            serde_json::from_str(text.get()).map_err(|error| error.to_string())?;
        if signature.subtask_type.as_deref() != Some("group") {
            return Ok(None);
        }
        if rest.is_some_and(|rest| !rest.is_empty()) {
            return Err("a group that is followed by something is a chord".to_owned());
        }
        let kwargs = signature.kwargs.map_or("{}", RawValue::get);
        let members: Tasks<'s> = serde_json::from_str(kwargs).map_err(|error| error.to_string())?;
        Ok(Some((
            signature.options.task_id.unwrap_or_else(new_id),
            members.tasks,
        )))
    }

    /// Every member is called with the same first argument.
    fn call_group(&self, id: &str, members: &[&RawValue], follow: &mut FollowUps) {
        let mut group = FollowUps::default();
        for (index, member) in members.iter().enumerate() {
            let index = i64::try_from(index).unwrap_or(0);
            self.call(member, Some((id, index)), None, &mut group);
        }
        follow.steps.append(&mut group.steps);
        let tuple = serde_json::json!([[id, self.task.id], group.children]);
        follow
            .children
            .extend(serde_json::value::to_raw_value(&tuple));
    }

    /// The message of a signature, and its task's id.
    fn message(
        &self,
        text: &RawValue,
        group: Option<(&str, i64)>,
        rest: Option<&[&RawValue]>,
    ) -> Result<(Step, String), String> {
        let signature: Signature<'_> =
            serde_json::from_str(text.get()).map_err(|error| error.to_string())?;
        match signature.subtask_type.as_deref() {
            Some("chain") => return self.chain(&signature, group, rest),
            Some(kind @ ("group" | "chord" | "chunks")) => {
                return Err(format!("a {kind} as a follow-up"));
            }
            _ => {}
        }
        let options = &signature.options;
        let id = options.task_id.clone().unwrap_or_else(new_id);
        let mut task = Task::new(
            id.clone(),
            signature.task.as_str(),
            self.arguments(&signature)?,
            kwargs(&signature)?,
        );
        task.root_id = Some(
            options
                .root_id
                .clone()
                .unwrap_or_else(|| self.task.root().to_owned()),
        );
        task.parent_id = Some(self.task.id.clone());
        task.group = options
            .group_id
            .clone()
            .or_else(|| group.map(|(id, _)| id.to_owned()));
        task.group_index = options.group_index.or(group.map(|(_, index)| index));
        task.time_limit = TimeLimit {
            hard: options.time_limit,
            soft: options.soft_time_limit,
        };
        task.ignore_result = options.ignore_result;
        task.properties.priority = options.priority;
        task.properties.reply_to = options.reply_to.clone();
        task.eta = self.eta(options)?;
        task.embed.callbacks = options.link.map(as_list).transpose()?;
        task.embed.errbacks = options.link_error.map(as_list).transpose()?;
        task.embed.chord = options.chord.map(RawValue::to_owned);
        let mut chain = rest.unwrap_or_default().to_vec();
        // A step that brings a chain of its own runs it before what was left of ours.
        chain.extend(list(options.chain));
        if !chain.is_empty() {
            task.embed.chain =
                Some(serde_json::value::to_raw_value(&chain).map_err(|error| error.to_string())?);
        }
        let queue: Arc<str> = match options.queue.as_deref().or(options.routing_key.as_deref()) {
            Some(queue) => Arc::from(queue),
            None => Arc::clone(&self.rules.default_queue),
        };
        let message = self.rules.encode(&task, &queue)?;
        Ok((
            Step::Push {
                queue,
                priority: task.priority(),
                message,
            },
            id,
        ))
    }

    /// A chain as a follow-up: its first step, carrying the others.
    fn chain(
        &self,
        signature: &Signature<'_>,
        group: Option<(&str, i64)>,
        rest: Option<&[&RawValue]>,
    ) -> Result<(Step, String), String> {
        let kwargs = signature.kwargs.map_or("{}", RawValue::get);
        let steps: Tasks<'_> = serde_json::from_str(kwargs).map_err(|error| error.to_string())?;
        let (first, others) = steps.tasks.split_first().ok_or("an empty chain")?;
        // Stored in reverse: what is left of ours comes last, so it stands first.
        let mut chain = rest.unwrap_or_default().to_vec();
        chain.extend(others.iter().rev());
        self.message(first, group, Some(&chain))
    }

    /// The parent's result before the signature's own arguments.
    fn arguments(&self, signature: &Signature<'_>) -> Result<Box<RawValue>, String> {
        let mut all = Vec::with_capacity(signature.args.len() + 1);
        if !signature.immutable {
            all.push(self.first_argument);
        }
        all.extend(&signature.args);
        serde_json::value::to_raw_value(&all).map_err(|error| error.to_string())
    }

    fn eta(&self, options: &Options<'_>) -> Result<Option<Timestamp>, String> {
        if let Some(eta) = &options.eta {
            return Timestamp::parse(eta)
                .map(Some)
                .map_err(|error| error.to_string());
        }
        // Saturating is what `as` does with floats.
        let wait = options
            .countdown
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| (seconds * 1e6) as i64);
        Ok(wait.map(|wait| self.now.plus_micros(wait)))
    }

    fn not_published(&self, signature: &RawValue, why: &str) -> Step {
        tracing::error!(
            "Task {}[{}]: a follow-up was not published but moved to the dead letters: {why}",
            self.task.name,
            self.task.id,
        );
        let letter = Letter {
            queue: Arc::clone(&self.rules.default_queue),
            id: self.task.id.clone(),
            task: self.task.name.clone(),
            cause: "follow-up".to_owned(),
        };
        Step::Note(letter, signature.get().as_bytes().to_vec())
    }
}

fn kwargs(signature: &Signature<'_>) -> Result<Box<RawValue>, String> {
    match signature.kwargs {
        Some(kwargs) => Ok(kwargs.to_owned()),
        None => RawValue::from_string("{}".to_owned()).map_err(|error| error.to_string()),
    }
}

/// A list of signatures; one alone counts as a list of one, as in Celery.
fn list(signatures: Option<&RawValue>) -> Vec<&RawValue> {
    match signatures {
        None => Vec::new(),
        Some(text) if text.get() == "null" => Vec::new(),
        Some(text) => serde_json::from_str(text.get()).unwrap_or_else(|_| vec![text]),
    }
}

fn as_list(signatures: &RawValue) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(&list(Some(signatures))).map_err(|error| error.to_string())
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
