//! What follows a task: callbacks, the rest of its chain and the count in its chord after a success, error callbacks and
//! the failure of whatever will not be run after a failure.
//!
//! The messages are steps of the settlement, so that they are published exactly when the task is acknowledged. The rules
//! are those of `celery/canvas.py` and `celery/backends/base.py` of 5.7, down to who is whose parent.
//!
//! What cannot be published (a signature that cannot be read, a chord without a result backend) goes to the dead letters
//! with the cause `follow-up`: nothing is dropped in silence.

use std::collections::HashMap;
use std::sync::Arc;

use celery_protocol::fields::Fields;
use celery_protocol::json;
use celery_protocol::message::{Task, TimeLimit};
use celery_protocol::result::{ExceptionDoc, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::transition::{CELERY, Rules, caught};
use crate::label::label;
use crate::source::{Complete, Letter, Part, Step};

/// Signatures inside each other beyond this depth are not followed: nobody writes them.
const DEPTH: usize = 64;

/// What is published after a task.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    pub(crate) steps: Vec<Step>,
    /// Each as Celery's result tuple `[[id, null], members]`, for the document's `children`. Where Python has a parent in it
    /// that is a tuple, too; an id there would be an error to its clients.
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
    #[serde(borrow)]
    eta: Option<&'a RawValue>,
    #[serde(borrow)]
    expires: Option<&'a RawValue>,
    reply_to: Option<String>,
    root_id: Option<String>,
    group_id: Option<String>,
    group_index: Option<i64>,
    time_limit: Option<f64>,
    soft_time_limit: Option<f64>,
    ignore_result: Option<bool>,
    shadow: Option<String>,
    headers: Option<Fields>,
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

/// The kwargs of a `celery.chord` signature.
#[derive(Deserialize)]
struct Chord<'a> {
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What a signature is a member of.
#[derive(Clone, Debug, Default)]
struct Place {
    group: Option<String>,
    index: Option<i64>,
    /// The body of the chord, if the group is its header.
    chord: Option<Box<RawValue>>,
}

impl Place {
    /// This place, or the one that the options tell of.
    fn or(self, options: &Options<'_>) -> Place {
        Place {
            group: self.group.or_else(|| options.group_id.clone()),
            index: self.index.or(options.group_index),
            chord: self.chord.or_else(|| options.chord.map(RawValue::to_owned)),
        }
    }

    /// As options of a signature.
    fn options(&self) -> Result<Vec<(&'static str, Box<RawValue>)>, String> {
        let mut options = Vec::new();
        if let Some(group) = &self.group {
            options.push(("group_id", raw(group)?));
        }
        if let Some(index) = self.index {
            options.push(("group_index", raw(&index)?));
        }
        if let Some(chord) = &self.chord {
            options.push(("chord", chord.clone()));
        }
        Ok(options)
    }
}

/// How a follow-up is told about its parent.
struct Parent<'a> {
    rules: &'a Rules,
    task: &'a Task,
    /// These go before the arguments, unless the signature is immutable.
    given: Vec<Box<RawValue>>,
    now: Timestamp,
    depth: usize,
}

/// Callbacks, then the next step of the chain, with the result as their first argument; then the count in the chord.
pub(crate) fn after_success(
    rules: &Rules,
    task: &Arc<Task>,
    result: &RawValue,
    now: Timestamp,
) -> FollowUps {
    let mut follow = FollowUps::default();
    let embed = &task.embed;
    if embed.callbacks.is_none() && embed.chain.is_none() && embed.chord.is_none() {
        return follow;
    }
    let parent = Parent::new(rules, task, result.to_owned(), now);
    parent.call_all(embed.callbacks.as_deref(), &mut follow);
    let mut rest = list(embed.chain.as_deref());
    if let Some(next) = rest.pop() {
        parent.call(next, Place::default(), &rest, &mut follow);
    }
    let counted = count_own(rules, task, State::Success, result.to_owned(), now);
    follow.steps.extend(counted);
    follow
}

/// Error callbacks with the id of the failed task, the failure of every step of the chain that will not be run, and the
/// count in the chord.
pub(crate) fn after_failure(
    rules: &Rules,
    task: &Arc<Task>,
    exception: &ExceptionDoc,
    traceback: Option<&str>,
    now: Timestamp,
) -> Vec<Step> {
    let mut failing = Failing {
        rules,
        task,
        exception,
        traceback,
        now,
        steps: Vec::new(),
    };
    failing.call_errbacks(&task.id, task.root(), task.embed.errbacks.as_deref());
    let counted = count_own(rules, task, State::Failure, exception.to_json(), now);
    failing.steps.extend(counted);
    for step in list(task.embed.chain.as_deref()) {
        failing.fail(step, false, 0);
    }
    failing.steps
}

/// The count in the chord of a task that will not be run.
pub(crate) fn after_revoke(
    rules: &Rules,
    task: &Arc<Task>,
    exception: &ExceptionDoc,
    now: Timestamp,
) -> Option<Step> {
    count_own(rules, task, State::Revoked, exception.to_json(), now)
}

/// Every member of a chord's header has ended: its body is called with their results, or fails with the first of them
/// that failed.
pub(crate) fn after_chord(
    rules: &Rules,
    part: &Part,
    complete: &Complete,
    now: Timestamp,
) -> Vec<Step> {
    caught(|| join(rules, part, complete, now)).unwrap_or_else(|| {
        let (group, word) = (part.group.clone(), part.word());
        let parent = Parent::new(rules, &part.task, RawValue::NULL.to_owned(), now);
        let steps = vec![parent.not_published(&part.body, "a bug of the worker")];
        vec![Step::Join { group, word, steps }]
    })
}

fn join(rules: &Rules, part: &Part, complete: &Complete, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut counted = Vec::new();
    match results(complete) {
        Ok(results) => {
            let mut follow = FollowUps::default();
            let parent = Parent::new(rules, &part.task, results, now);
            parent.call(&part.body, Place::default(), &[], &mut follow);
            steps = follow.steps;
        }
        Err(why) => {
            let exception = ExceptionDoc::new("ChordError", why, Some(CELERY));
            tracing::error!("Chord {} raised: {}", part.group, exception.summary());
            let mut failing = Failing {
                rules,
                task: &part.task,
                exception: &exception,
                traceback: None,
                now,
                steps: Vec::new(),
            };
            failing.fail(&part.body, true, 0);
            for step in failing.steps {
                match step {
                    // The body is a member of another chord.
                    step @ Step::Count(_) => counted.push(step),
                    step => steps.push(step),
                }
            }
        }
    }
    let (group, word) = (part.group.clone(), part.word());
    counted.push(Step::Join { group, word, steps });
    counted
}

/// A member of a chord that cannot be counted: its body will not be published. The task has been run; running it again
/// would not make a chord of those keys.
pub(crate) fn not_counted(rules: &Rules, part: &Part, why: &str, now: Timestamp) -> Step {
    let parent = Parent::new(rules, &part.task, part.result.clone(), now);
    parent.not_published(&part.body, why)
}

/// The results of a header, in its order and shape, or why there are none.
fn results(complete: &Complete) -> Result<Box<RawValue>, String> {
    let broken = |why: String| format!("Join error: {why}");
    let mut members = Vec::with_capacity(complete.members.len());
    for member in &complete.members {
        let text = json::normalise(member).map_err(|error| broken(error.to_string()))?;
        let (_, id, state, result): (u8, String, String, Box<RawValue>) =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if matches!(State::from_word(&state), State::Failure | State::Revoked) {
            let raised = ExceptionDoc::from_json(result.get());
            let raised = raised.map_or_else(|_| result.get().to_owned(), |doc| doc.summary());
            return Err(format!("Dependency {id} raised {raised}"));
        }
        members.push((id, result));
    }
    let saved = complete.saved.as_deref().and_then(|saved| {
        let text = json::normalise(saved).ok()?;
        serde_json::from_str::<Saved>(&text).ok()
    });
    match saved {
        Some(saved) => {
            let by_id: HashMap<String, Box<RawValue>> = members.into_iter().collect();
            shaped(&saved.result.1.unwrap_or_default(), &by_id, 0).map_err(broken)
        }
        None => {
            let results: Vec<Box<RawValue>> =
                members.into_iter().map(|(_, result)| result).collect();
            raw(&results).map_err(broken)
        }
    }
}

/// A saved group.
#[derive(Deserialize)]
struct Saved {
    result: Tree,
}

/// Celery's result tuple: `[[id, parent], members]`.
#[derive(Deserialize)]
struct Tree((String, serde::de::IgnoredAny), Option<Vec<Tree>>);

/// The results of a group whose members may be groups.
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

/// The count of a task in the chord to whose header it belongs.
fn count_own(
    rules: &Rules,
    task: &Arc<Task>,
    state: State,
    result: Box<RawValue>,
    now: Timestamp,
) -> Option<Step> {
    let body = task.embed.chord.as_deref()?;
    match &task.group {
        Some(group) if rules.results => Some(Step::Count(Box::new(Part {
            group: group.clone(),
            index: task.group_index,
            id: task.id.clone(),
            state,
            result,
            body: body.to_owned(),
            task: Arc::clone(task),
        }))),
        _ => {
            let parent = Parent::new(rules, task, result, now);
            Some(parent.not_published(body, "a chord needs a group and a result backend"))
        }
    }
}

/// What will not be run because something failed.
struct Failing<'a> {
    rules: &'a Rules,
    /// What failed.
    task: &'a Arc<Task>,
    exception: &'a ExceptionDoc,
    traceback: Option<&'a str>,
    now: Timestamp,
    steps: Vec<Step>,
}

impl Failing<'_> {
    /// Fails a signature: FAILURE for whoever waits for it, its error callbacks if wanted, its count in a chord, and the
    /// same for what it is made of and what follows it.
    fn fail(&mut self, text: &RawValue, errbacks: bool, depth: usize) {
        let Ok(signature) = serde_json::from_str::<Signature<'_>>(text.get()) else {
            return;
        };
        if depth > DEPTH {
            return;
        }
        let kwargs = signature.kwargs.map_or("{}", RawValue::get);
        let options = &signature.options;
        match signature.subtask_type.as_deref() {
            Some("group" | "chain") => {
                let tasks = serde_json::from_str::<Tasks<'_>>(kwargs).map(|tasks| tasks.tasks);
                for member in tasks.unwrap_or_default() {
                    self.fail(member, errbacks, depth + 1);
                }
            }
            Some("chord") => {
                if let Ok(chord) = serde_json::from_str::<Chord<'_>>(kwargs) {
                    self.fail(chord.body, errbacks, depth + 1);
                }
            }
            _ => {}
        }
        let id = options.task_id.as_deref();
        if let Some(id) = id.filter(|id| celery_protocol::keys::check_task_id(id).is_ok()) {
            let is_group = signature.subtask_type.as_deref() == Some("group");
            if self.rules.results && !is_group {
                let traceback = self.traceback.map(str::to_owned);
                let mut doc = ResultDoc::failure(id, self.exception, traceback, self.now);
                doc.group_id.clone_from(&options.group_id);
                self.steps.push(Step::Result {
                    document: doc.encode(),
                    id: id.to_owned(),
                });
            }
            if errbacks {
                let root = options.root_id.clone();
                let root = root.unwrap_or_else(|| self.task.root().to_owned());
                self.call_errbacks(id, &root, options.link_error);
            }
            if let (Some(body), Some(group), true) = (
                options.chord,
                &options.group_id,
                self.rules.results && !is_group,
            ) {
                self.steps.push(Step::Count(Box::new(Part {
                    group: group.clone(),
                    index: options.group_index,
                    id: id.to_owned(),
                    state: State::Failure,
                    result: self.exception.to_json(),
                    body: body.to_owned(),
                    task: Arc::clone(self.task),
                })));
            }
        }
        for step in list(options.chain) {
            self.fail(step, false, depth + 1);
        }
    }

    /// Calls the error callbacks of a task with its id.
    fn call_errbacks(&mut self, id: &str, root: &str, errbacks: Option<&RawValue>) {
        let (Some(_), Ok(given)) = (errbacks, raw(id)) else {
            return;
        };
        let mut failed = Task::clone(self.task);
        failed.id = id.to_owned();
        failed.root_id = Some(root.to_owned());
        let mut follow = FollowUps::default();
        Parent::new(self.rules, &failed, given, self.now).call_all(errbacks, &mut follow);
        self.steps.append(&mut follow.steps);
    }
}

impl<'a> Parent<'a> {
    fn new(rules: &'a Rules, task: &'a Task, given: Box<RawValue>, now: Timestamp) -> Self {
        Parent {
            rules,
            task,
            given: vec![given],
            now,
            depth: 0,
        }
    }

    /// The same parent, which gives these arguments to what lies one deeper.
    fn giving(&self, given: Vec<Box<RawValue>>) -> Result<Parent<'a>, String> {
        if self.depth > DEPTH {
            return Err("signatures in signatures without end".to_owned());
        }
        Ok(Parent {
            rules: self.rules,
            task: self.task,
            given,
            now: self.now,
            depth: self.depth + 1,
        })
    }

    /// One signature is called as it is; of several, groups are, and the others as a group with an id of its own.
    fn call_all(&self, signatures: Option<&RawValue>, follow: &mut FollowUps) {
        let signatures = list(signatures);
        let is_group = |text: &&&RawValue| {
            let signature = serde_json::from_str::<Signature<'_>>(text.get());
            signature.is_ok_and(|s| s.subtask_type.as_deref() == Some("group"))
        };
        let (groups, others): (Vec<_>, Vec<_>) = signatures.iter().partition(is_group);
        for group in groups {
            self.call(group, Place::default(), &[], follow);
        }
        let group = (signatures.len() > 1).then(new_id);
        for (index, signature) in others.into_iter().enumerate() {
            let place = Place {
                index: group.is_some().then(|| position(index)),
                group: group.clone(),
                chord: None,
            };
            self.call(signature, place, &[], follow);
        }
    }

    /// Publishes what a signature stands for, followed by `rest` (in reverse).
    fn call(&self, text: &RawValue, place: Place, rest: &[&RawValue], follow: &mut FollowUps) {
        let published = follow.steps.len();
        if let Err(why) = self.try_call(text, place, rest, follow) {
            // All of it or nothing: a header without its last member would never be complete.
            follow.steps.truncate(published);
            follow.steps.push(self.not_published(text, &why));
        }
    }

    fn try_call(
        &self,
        text: &RawValue,
        place: Place,
        rest: &[&RawValue],
        follow: &mut FollowUps,
    ) -> Result<(), String> {
        let signature: Signature<'_> = read(text)?;
        match signature.subtask_type.as_deref() {
            Some("group") => self.group(&signature, place, rest, follow),
            Some("chain") => self.chain(&signature, place, rest, follow),
            Some("chord") => self.chord(&signature, place, rest, follow),
            Some("chunks") => Err("chunks as a follow-up".to_owned()),
            _ => {
                let (step, id) = self.message(text, &signature, place, rest)?;
                follow.steps.push(step);
                follow.child(&serde_json::json!([[id, null], null]));
                Ok(())
            }
        }
    }

    /// Every member of a group is called with the same arguments.
    fn group(
        &self,
        signature: &Signature<'_>,
        place: Place,
        rest: &[&RawValue],
        follow: &mut FollowUps,
    ) -> Result<(), String> {
        if !rest.is_empty() {
            return Err("a group that is followed by something is a chord".to_owned());
        }
        let members: Tasks<'_> = read_kwargs(signature)?;
        let id = signature.options.task_id.clone().unwrap_or_else(new_id);
        let place = place.or(&signature.options);
        // As the last step of a member of a header, its members are members of that header.
        let (group, chord) = match place.chord {
            Some(chord) => (place.group, Some(chord)),
            None => (Some(id.clone()), None),
        };
        let inside = self.giving(self.arguments(signature))?;
        let mut called = FollowUps::default();
        for (index, member) in members.tasks.into_iter().enumerate() {
            let place = Place {
                group: group.clone(),
                index: Some(position(index)),
                chord: chord.clone(),
            };
            inside.try_call(member, place, &[], &mut called)?;
        }
        follow.steps.append(&mut called.steps);
        follow.child(&serde_json::json!([[id, null], called.children]));
        Ok(())
    }

    /// A chain is its first step, carrying the others; what it is a member of, its last step is.
    fn chain(
        &self,
        signature: &Signature<'_>,
        place: Place,
        rest: &[&RawValue],
        follow: &mut FollowUps,
    ) -> Result<(), String> {
        let steps: Tasks<'_> = read_kwargs(signature)?;
        let (first, others) = steps.tasks.split_first().ok_or("an empty chain")?;
        let place = place.or(&signature.options);
        let inside = self.giving(self.arguments(signature))?;
        // Stored in reverse: what is left of ours comes last, so it stands first.
        let mut chain = rest.to_vec();
        chain.extend(list(signature.options.chain));
        let Some((last, between)) = others.split_last() else {
            return inside.try_call(first, place, &chain, follow);
        };
        let last = with_options(last, place.options()?)?;
        chain.push(&last);
        chain.extend(between.iter().rev());
        inside.try_call(first, Place::default(), &chain, follow)
    }

    /// A chord is its header, every member of which carries the body; what it is followed by or a member of, its body is.
    fn chord(
        &self,
        signature: &Signature<'_>,
        place: Place,
        rest: &[&RawValue],
        follow: &mut FollowUps,
    ) -> Result<(), String> {
        if !self.rules.results {
            return Err("a chord needs a result backend".to_owned());
        }
        let Chord { header, body } = read_kwargs(signature)?;
        let options = &signature.options;
        let mut group = options.task_id.clone();
        let mut members = Vec::new();
        match header.get().starts_with('[') {
            true => {
                for member in list(Some(header)) {
                    unrolled(member, &mut members, 0)?;
                }
            }
            false => {
                let header_group: Signature<'_> = read(header)?;
                group = header_group.options.task_id.or(group);
                unrolled(header, &mut members, 0)?;
            }
        }
        let group = group.unwrap_or_else(new_id);
        let body_signature: Signature<'_> = read(body)?;
        let own = &body_signature.options;
        let mut set = place.or(options).options()?;
        let body_id = own.task_id.clone().unwrap_or_else(new_id);
        set.push(("task_id", raw(&body_id)?));
        if own.group_id.is_none() && !set.iter().any(|(name, _)| *name == "group_id") {
            set.push(("group_id", raw(&group)?));
        }
        for (name, ours, its) in [
            ("chain", Some(rest.to_vec()), own.chain),
            (
                "chain",
                options.chain.map(|_| list(options.chain)),
                own.chain,
            ),
            ("link", options.link.map(|_| list(options.link)), own.link),
            (
                "link_error",
                options.link_error.map(|_| list(options.link_error)),
                own.link_error,
            ),
        ] {
            if let Some(mut all) = ours.filter(|all| !all.is_empty()) {
                all.extend(list(its));
                set.push((name, raw(&all)?));
            }
        }
        let body = with_options(body, set)?;
        let given = self.arguments(signature);
        if members.is_empty() {
            let inside = self.giving(vec![raw(&[(); 0])?])?;
            return inside.try_call(&body, Place::default(), &[], follow);
        }
        let mut size = 0;
        for member in &members {
            size += leaves(member, 0)?;
        }
        let inside = self.giving(given)?;
        let mut called = FollowUps::default();
        called.steps.push(Step::Chord {
            group: group.clone(),
            size,
        });
        for (index, member) in members.into_iter().enumerate() {
            let place = Place {
                group: Some(group.clone()),
                index: Some(position(index)),
                chord: Some(body.clone()),
            };
            inside.try_call(member, place, &[], &mut called)?;
        }
        follow.steps.append(&mut called.steps);
        follow.child(&serde_json::json!([[group, null], called.children]));
        Ok(())
    }

    /// The message of a single task, and its id.
    fn message(
        &self,
        text: &RawValue,
        signature: &Signature<'_>,
        place: Place,
        rest: &[&RawValue],
    ) -> Result<(Step, String), String> {
        let options = &signature.options;
        let place = place.or(options);
        let id = options.task_id.clone().unwrap_or_else(new_id);
        let mut task = Task::new(
            id.clone(),
            signature.task.as_str(),
            raw(&self.arguments(signature))?,
            kwargs(signature)?,
        );
        task.root_id = Some(
            options
                .root_id
                .clone()
                .unwrap_or_else(|| self.task.root().to_owned()),
        );
        task.parent_id = Some(self.task.id.clone());
        task.group = place.group;
        task.group_index = place.index;
        task.time_limit = TimeLimit {
            hard: options.time_limit,
            soft: options.soft_time_limit,
        };
        task.ignore_result = options.ignore_result;
        task.shadow.clone_from(&options.shadow);
        for (name, value) in options.headers.iter().flat_map(Fields::iter) {
            task.headers.insert(name, value.to_owned());
        }
        stamp(&mut task, text)?;
        task.properties.priority = options.priority;
        task.properties.reply_to.clone_from(&options.reply_to);
        task.eta = self.eta(options)?;
        if let Some(expires) = options.expires.map(|e| self.time(e)).transpose()?.flatten() {
            task.set_expires(expires, self.now);
        }
        task.embed.callbacks = options.link.map(as_list).transpose()?;
        task.embed.errbacks = options.link_error.map(as_list).transpose()?;
        task.embed.chord = place.chord;
        let mut chain = rest.to_vec();
        // A step that brings a chain of its own runs it before what was left of ours.
        chain.extend(list(options.chain));
        if !chain.is_empty() {
            task.embed.chain = Some(raw(&chain)?);
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

    /// What the parent gives before the signature's own arguments.
    fn arguments(&self, signature: &Signature<'_>) -> Vec<Box<RawValue>> {
        let given = match signature.immutable {
            true => &[],
            false => self.given.as_slice(),
        };
        let own = signature.args.iter().map(|arg| (*arg).to_owned());
        given.iter().cloned().chain(own).collect()
    }

    fn eta(&self, options: &Options<'_>) -> Result<Option<Timestamp>, String> {
        // As in Celery, a countdown goes before an ETA.
        let wait = options.countdown.filter(|seconds| *seconds > 0.0);
        match (wait, options.eta) {
            // Saturating is what `as` does with floats.
            (Some(wait), _) => Ok(Some(self.now.plus_micros((wait * 1e6) as i64))),
            (None, Some(eta)) => self.time(eta),
            (None, None) => Ok(None),
        }
    }

    /// A time as a signature has it: text, kombu's datetime, or seconds from now.
    fn time(&self, value: &RawValue) -> Result<Option<Timestamp>, String> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Time {
            Text(String),
            Seconds(f64),
            Special {
                #[serde(rename = "__value__")]
                value: String,
            },
            None(()),
        }
        let text = match serde_json::from_str(value.get()).map_err(|error| error.to_string())? {
            Time::Seconds(seconds) => {
                return Ok(Some(self.now.plus_micros((seconds * 1e6) as i64)));
            }
            Time::None(()) => return Ok(None),
            Time::Text(text) | Time::Special { value: text } => text,
        };
        let time = Timestamp::parse(&text).map_err(|error| error.to_string())?;
        Ok(Some(time))
    }

    fn not_published(&self, signature: &RawValue, why: &str) -> Step {
        tracing::error!(
            "Task {}: a follow-up was not published but moved to the dead letters: {}",
            label(self.task),
            why,
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

impl FollowUps {
    fn child(&mut self, tuple: &serde_json::Value) {
        self.children.extend(to_raw_value(tuple));
    }
}

/// The members of a header, those of groups among them in the groups' places.
fn unrolled<'s>(
    text: &'s RawValue,
    members: &mut Vec<&'s RawValue>,
    depth: usize,
) -> Result<(), String> {
    let signature: Signature<'s> = read(text)?;
    match signature.subtask_type.as_deref() {
        _ if depth > DEPTH => Err("groups in groups without end".to_owned()),
        Some("group") => {
            for member in read_kwargs::<Tasks<'s>>(&signature)?.tasks {
                unrolled(member, members, depth + 1)?;
            }
            Ok(())
        }
        _ => {
            members.push(text);
            Ok(())
        }
    }
}

/// How often a member of a header is counted: a chain by its last step, a chord by its body.
fn leaves(text: &RawValue, depth: usize) -> Result<usize, String> {
    if depth > DEPTH {
        return Err("signatures in signatures without end".to_owned());
    }
    let signature: Signature<'_> = read(text)?;
    match signature.subtask_type.as_deref() {
        Some("group") => {
            let members: Tasks<'_> = read_kwargs(&signature)?;
            let counts = members.tasks.iter().map(|member| leaves(member, depth + 1));
            counts.sum()
        }
        Some("chain") => {
            let steps: Tasks<'_> = read_kwargs(&signature)?;
            for step in steps.tasks.iter().rev() {
                let count = leaves(step, depth + 1)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            Ok(0)
        }
        Some("chord") => leaves(read_kwargs::<Chord<'_>>(&signature)?.body, depth + 1),
        _ => Ok(1),
    }
}

fn read<'s, T: Deserialize<'s>>(text: &'s RawValue) -> Result<T, String> {
    serde_json::from_str(text.get()).map_err(|error| error.to_string())
}

fn read_kwargs<'s, T: Deserialize<'s>>(signature: &Signature<'s>) -> Result<T, String> {
    let kwargs = signature.kwargs.map_or("{}", RawValue::get);
    serde_json::from_str(kwargs).map_err(|error| error.to_string())
}

/// The signature with these options set.
fn with_options(
    text: &RawValue,
    set: Vec<(&'static str, Box<RawValue>)>,
) -> Result<Box<RawValue>, String> {
    let mut signature: Fields = read(text)?;
    let mut options: Fields = match signature.get("options") {
        Some(options) => read::<Option<Fields>>(options)?.unwrap_or_default(),
        None => Fields::new(),
    };
    for (name, value) in set {
        options.insert(name, value);
    }
    signature.insert("options", raw(&options)?);
    raw(&signature)
}

/// The stamps of a signature stand among its options, by the names that `stamped_headers` lists.
fn stamp(task: &mut Task, text: &RawValue) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Stamped {
        options: Option<Fields>,
    }
    let Some(options) = read::<Stamped>(text)?.options else {
        return Ok(());
    };
    let Some(names) = options.get("stamped_headers") else {
        return Ok(());
    };
    let names = read::<Option<Vec<String>>>(names)?.unwrap_or_default();
    for name in &names {
        if let Some(value) = options.get(name) {
            task.stamps.insert(name.as_str(), value.to_owned());
        }
    }
    task.stamped_headers = Some(names);
    Ok(())
}

fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, String> {
    to_raw_value(value).map_err(|error| error.to_string())
}

fn position(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
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
    raw(&list(Some(signatures)))
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
