//! Calls signatures: turns single tasks into messages, and takes composites apart.
//!
//! It follows `apply_async` and `run` in `celery/canvas.py` of 5.7, which decide the options of
//! each task and their order. Options of a call override those of the signature; a null hides them.

use std::sync::Arc;

use celery_protocol::canvas::{Kind, Options, Raws, Signature, Value, json};
use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use super::follow_up::{FollowUps, Load};
use super::freeze::{Given, Place};
use super::outcome::{Outcome, Outcomes};
use crate::broker::{Letter, Step};
use crate::consumer::rules::Rules;

/// About how many bytes a value takes besides its text.
const AROUND: usize = 16;

/// The calls that follow from one task.
pub(super) struct Calling<'a> {
    pub(super) rules: &'a Rules,
    /// The task that was run: the parent of the called tasks, unless the call names another.
    pub(super) task: &'a Task,
    pub(super) now: Timestamp,
    pub(super) load: Load,
    pub(super) outcomes: Outcomes,
    pub(super) follow: FollowUps,
}

impl<'a> Calling<'a> {
    pub(super) fn new(rules: &'a Rules, task: &'a Task, now: Timestamp, load: Load) -> Self {
        Calling {
            rules,
            task,
            now,
            load,
            outcomes: Outcomes::default(),
            follow: FollowUps::default(),
        }
    }

    /// Calls the callbacks of a task that succeeded, with its result.
    pub(super) fn callbacks(&mut self, signatures: &[Value], result: &Value) {
        let Ok(options) = self.call_options() else {
            return;
        };
        if let [only] = signatures {
            return self.call(only, result, options);
        }
        let is_group = |text: &&Value| {
            let signature = Signature::read(text);
            signature.is_ok_and(|signature| matches!(signature.kind, Kind::Group(_)))
        };
        let (groups, others): (Vec<_>, Vec<_>) = signatures.iter().partition(is_group);
        for group in groups {
            self.call(group, result, options.clone());
        }
        self.call_as_group(&others, result, &options);
    }

    /// Calls the next step of a chain, with the result of the step before.
    pub(super) fn next(&mut self, step: &Value, rest: &[Value], result: &Value) {
        let options = self.call_options().and_then(|mut options| {
            options.set("chain", &Raws(rest))?;
            Ok(options)
        });
        if let Ok(options) = options {
            self.call(step, result, options);
        }
    }

    /// Calls the error callbacks of a task, with its id.
    pub(super) fn errbacks(&mut self, signatures: &[Value], id: &str, root: &str) {
        let mut options = Options::default();
        let named = options
            .set("parent_id", id)
            .and_then(|()| options.set("root_id", root))
            .and_then(|()| json(id));
        let Ok(given) = named else {
            return;
        };
        // As in Celery, a chain is called separately, not as a member of the group.
        let (chains, others): (Vec<_>, Vec<_>) = signatures.iter().partition(|text| is_chain(text));
        for chain in chains {
            self.call(chain, &given, Options::default());
        }
        self.call_as_group(&others, &given, &options);
    }

    /// Calls the body of a chord, with the results of its header.
    pub(super) fn body(&mut self, body: &Value, results: &Value) {
        self.call(body, results, Options::default());
    }

    /// Returns the options that Celery gives with every call of a callback. The priority is that of
    /// the task if it is inherited; otherwise it is null, which hides the priority of a composite.
    fn call_options(&self) -> Result<Options, String> {
        let mut options = Options::default();
        options.set("parent_id", &self.task.id)?;
        options.set("root_id", self.task.root())?;
        match self.task.properties.priority {
            Some(priority) if self.rules.inherit_priority => options.set("priority", &priority)?,
            _ => options.set_null("priority"),
        }
        Ok(options)
    }

    /// Calls a signature. If any part of it cannot be published, the whole signature goes to the
    /// dead letters.
    fn call(&mut self, text: &Value, given: &Value, options: Options) {
        self.whole(text, |calling| {
            let args = std::slice::from_ref(given);
            calling.apply(Signature::read(text)?, args, None, options)
        });
    }

    /// Calls signatures as the members of one group with an id of its own. A group among them is
    /// replaced by its members, as in any group.
    fn call_as_group(&mut self, signatures: &[&Value], given: &Value, options: &Options) {
        if signatures.is_empty() {
            return;
        }
        let group = new_id();
        let mut outcomes = Vec::with_capacity(signatures.len());
        for (index, text) in signatures.iter().enumerate() {
            self.whole(text, |calling| {
                let mut options = options.clone();
                options.set("group_id", &group)?;
                let args = std::slice::from_ref(given);
                let mut called = Vec::new();
                let member = Signature::read(text)?;
                let is_group = matches!(member.kind, Kind::Group(_));
                for (index, member) in unrolled(index, member) {
                    if is_group {
                        calling.load.copy(options.size())?;
                    }
                    called.extend(calling.member(member, index, &group, args, None, &options)?);
                }
                outcomes.append(&mut called);
                Ok(())
            });
        }
        if !outcomes.is_empty() {
            let outcome = self.outcomes.group(&group, outcomes);
            self.add_child(outcome);
        }
    }

    /// Runs a call that publishes either everything or nothing: a header that lacks a member would
    /// never be complete.
    fn whole(&mut self, text: &RawValue, call: impl FnOnce(&mut Self) -> Result<(), String>) {
        let (steps, children) = (self.follow.steps.len(), self.follow.children.len());
        let load = self.load.bytes();
        if let Err(why) = call(self) {
            self.follow.steps.truncate(steps);
            self.follow.children.truncate(children);
            self.load.put_back(load);
            let letter = not_published(self.rules, self.task, text, &why);
            self.follow.steps.push(letter);
        }
    }

    pub(super) fn apply(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        call: Options,
    ) -> Result<(), String> {
        let weight: usize = args.iter().map(|arg| AROUND + arg.get().len()).sum();
        if !matches!(it.kind, Kind::Task { .. }) {
            self.load.copy(weight + call.size())?;
        }
        match it.kind {
            Kind::Task { .. } => self.apply_task(it, args, kwargs, call),
            Kind::Chain(_) => self.apply_chain(it, args, kwargs, call),
            Kind::Group(_) => self.apply_group(it, args, kwargs, call),
            Kind::Chord(_) => self.apply_chord(it, args, kwargs, call),
        }
    }

    fn apply_task(
        &mut self,
        mut it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        call: Options,
    ) -> Result<(), String> {
        it.prepend(args);
        it.add_kwargs(kwargs)?;
        it.options.merge(&call.given());
        let is_child = it.options.truth("add_to_parent").unwrap_or(true);
        let (outgoing, id) = self.message(&it)?;
        self.follow.steps.push(Step::Publish(outgoing));
        if is_child {
            let outcome = self.outcomes.task(&id);
            self.add_child(outcome);
        }
        Ok(())
    }

    /// Calls a chain: callbacks go to the last task, error callbacks to each, other options to the
    /// first.
    fn apply_chain(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        call: Options,
    ) -> Result<(), String> {
        let Kind::Chain(steps) = it.kind else {
            return Ok(());
        };
        let mut options = it.options;
        options.update(&call);
        let text = |name: &str, options: &Options| options.text(name);
        let (id, root) = (text("task_id", &options), text("root_id", &options));
        let group = text("group_id", &options);
        let index = options.integer("group_index");
        let chord = options.get("chord").cloned();
        let (links, errbacks) = (options.list("link"), options.list("link_error"));
        options.remove(&[
            "task_id",
            "root_id",
            "parent_id",
            "group_id",
            "group_index",
            "chord",
            "link",
            "link_error",
        ]);
        let last = Place {
            id: id.as_deref(),
            root: root.as_deref(),
            group: group.as_deref(),
            index: index.and_then(|index| usize::try_from(index).ok()),
            chord: chord.as_ref(),
        };
        let mut steps = self.steps(steps, Given { args, kwargs }, last, &errbacks, None)?;
        if let (Some(last), false) = (steps.tasks.first_mut(), links.is_empty()) {
            last.options.extend("link", links)?;
        }
        let Some(first) = steps.tasks.pop() else {
            return Ok(());
        };
        let mut chain = options.list("chain");
        for task in &steps.tasks {
            chain.push(task.json()?);
        }
        options.set("chain", &Raws(&chain))?;
        self.apply(first, &[], None, options)
    }

    /// Calls a group: every member gets the arguments and all options.
    fn apply_group(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        mut call: Options,
    ) -> Result<(), String> {
        let Kind::Group(members) = it.kind else {
            return Ok(());
        };
        if call.get("link").or(call.get("link_error")).is_some() {
            return Err("a callback of a group as a whole".to_owned());
        }
        let is_child = call.truth("add_to_parent").unwrap_or(true);
        call.remove(&["add_to_parent", "link", "link_error"]);
        let mut options = it.options;
        options.merge_into_group(&call);
        let group = options.text("task_id").unwrap_or_else(new_id);
        options.remove(&["task_id", "add_to_parent", "group_index"]);
        options.set("group_id", &group)?;
        let mut outcomes = Vec::with_capacity(members.len());
        for (index, member) in flat(members) {
            self.load.copy(options.size())?;
            outcomes.extend(self.member(member, index, &group, args, kwargs, &options)?);
        }
        if outcomes.is_empty() || !is_child {
            return Ok(());
        }
        // As in Celery, if the only member of a group ends in a group, the outer group counts as
        // the inner one.
        let outcome = match outcomes.as_slice() {
            [only] if self.outcomes.is_group(*only) => *only,
            _ => self.outcomes.group(&group, outcomes),
        };
        self.add_child(outcome);
        Ok(())
    }

    /// Calls a member of a group with the options of the group, and returns its result.
    fn member(
        &mut self,
        mut it: Signature,
        index: usize,
        group: &str,
        args: &[Value],
        kwargs: Option<&Value>,
        options: &Options,
    ) -> Result<Option<Outcome>, String> {
        if it.is_empty_chain() {
            return Ok(None);
        }
        let root = options.text("root_id");
        let place = Place {
            group: Some(group),
            root: root.as_deref(),
            index: Some(index),
            ..Place::default()
        };
        let outcome = self.freeze(&mut it, place)?;
        let mut call = options.clone();
        call.set("add_to_parent", &false)?;
        if let (None, Some(chord)) = (call.get("chord"), it.options.get("chord")) {
            call.insert("chord", Arc::clone(chord));
        }
        self.apply(it, args, kwargs, call)?;
        Ok(Some(outcome))
    }

    fn add_child(&mut self, outcome: Outcome) {
        let tuple = to_raw_value(&self.outcomes.tuple(outcome));
        self.follow.children.extend(tuple);
    }
}

/// Returns the members of a group and of the groups in it. As in Celery, each group numbers its own
/// members.
fn flat(members: Vec<Signature>) -> Vec<(usize, Signature)> {
    let mut all = Vec::with_capacity(members.len());
    for (index, member) in members.into_iter().enumerate() {
        all.extend(unrolled(index, member));
    }
    all
}

/// Returns the tasks that a member of a header stands for: the members of a group, or the member
/// itself with its index.
fn unrolled(index: usize, member: Signature) -> Vec<(usize, Signature)> {
    match member.kind {
        Kind::Group(inner) => flat(inner),
        _ => vec![(index, member)],
    }
}

/// Returns `true` if this is the signature of a chain.
fn is_chain(text: &Value) -> bool {
    let signature = Signature::read(text);
    signature.is_ok_and(|signature| matches!(signature.kind, Kind::Chain(_)))
}

/// Makes the step that moves a follow-up to the dead letters.
pub(super) fn not_published(rules: &Rules, task: &Task, signature: &RawValue, why: &str) -> Step {
    tracing::error!(
        "Task {}[{}]: a follow-up was not published but moved to the dead letters: {why}",
        task.name,
        task.id,
    );
    let letter = Letter {
        queue: Arc::clone(&rules.default_queue),
        id: task.id.clone(),
        task: task.name.clone(),
        cause: "follow-up".to_owned(),
    };
    Step::Note(letter, signature.get().as_bytes().to_vec())
}

pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
