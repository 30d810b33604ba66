//! Calls signatures: turns single tasks into messages, and takes composites apart.
//!
//! It follows `apply_async` and `run` in `celery/canvas.py` of 5.7, which decide the options of
//! each task and their order. Options of a call override those of the signature; a null hides them.

use std::sync::Arc;

use super::calling::{Call, Calling, Given, Place};
use super::error::CanvasError;
use super::links::linked;
use super::options::{Options, Raws, Value};
use super::outcome::Outcome;
use super::signature::{Kind, Signature};
use crate::message::Carried;

/// About how many bytes a value takes besides its text.
const AROUND: usize = 16;

impl<M: Carried> Calling<'_, M> {
    /// Calls a signature with further arguments and options, and returns its result.
    ///
    /// # Errors
    /// [`CanvasError`] if a part of it cannot be called. Use [`whole`](Self::whole) to undo the
    /// other parts.
    pub fn apply(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        call: Options,
    ) -> Result<Outcome, CanvasError> {
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
    ) -> Result<Outcome, CanvasError> {
        it.prepend(args);
        it.add_kwargs(kwargs)?;
        it.options.merge(&call.given());
        let is_child = it.options.truth("add_to_parent").unwrap_or(true);
        let outgoing = self.message(&mut it)?;
        let outcome = self.outcomes.task(&outgoing.id);
        self.calls.push(Call::Publish(outgoing));
        if is_child {
            self.children.push(outcome);
        }
        Ok(outcome)
    }

    /// Calls a chain: callbacks go to the last task, error callbacks to each, other options to the
    /// first.
    fn apply_chain(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        call: Options,
    ) -> Result<Outcome, CanvasError> {
        let Kind::Chain(steps) = it.kind else {
            return Err(CanvasError::NotATask);
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
        let result = steps.outcomes.first().copied();
        let is_single = steps.tasks.len() == 1;
        let first = if self.links(&options) {
            linked(steps.tasks, &self.load)?
        } else {
            let first = steps.tasks.pop().ok_or(CanvasError::NoSteps)?;
            let mut chain = options.list("chain");
            for task in &steps.tasks {
                chain.push(task.json()?);
            }
            options.set("chain", &Raws(&chain))?;
            first
        };
        let of_first = self.apply(first, &[], None, options)?;
        // As in Celery, the only task of a chain gives its own result.
        Ok(result.filter(|_| !is_single).unwrap_or(of_first))
    }

    /// Returns `true` if a chain with these options is sent in protocol 1.
    fn links(&self, options: &Options) -> bool {
        match options.integer("task_protocol") {
            Some(protocol) => protocol == 1,
            None => self.caller.links_chains(),
        }
    }

    /// Calls a group: every member gets the arguments and all options.
    fn apply_group(
        &mut self,
        it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        mut call: Options,
    ) -> Result<Outcome, CanvasError> {
        let Kind::Group(members) = it.kind else {
            return Err(CanvasError::NotATask);
        };
        if call.get("link").or(call.get("link_error")).is_some() {
            return Err(CanvasError::CallbackOfGroup);
        }
        let is_child = call.truth("add_to_parent").unwrap_or(true);
        call.remove(&["add_to_parent", "link", "link_error"]);
        let mut options = it.options;
        options.merge_into_group(&call);
        let group = options
            .text("task_id")
            .unwrap_or_else(|| self.caller.new_id());
        options.remove(&["task_id", "add_to_parent", "group_index"]);
        options.set("group_id", &group)?;
        let mut outcomes = Vec::with_capacity(members.len());
        for (index, member) in flat(members) {
            self.load.copy(options.size())?;
            outcomes.extend(self.member(member, index, &group, args, kwargs, &options)?);
        }
        let is_child = is_child && !outcomes.is_empty();
        // As in Celery, if the only member of a group ends in a group, the outer group counts as
        // the inner one.
        let outcome = match outcomes.as_slice() {
            [only] if self.outcomes.is_group(*only) => *only,
            _ => self.outcomes.group(&group, outcomes),
        };
        if is_child {
            self.children.push(outcome);
        }
        Ok(outcome)
    }

    /// Calls a member of a group with the options of the group, and returns its result; `None` for
    /// an empty chain, which counts as no member.
    ///
    /// # Errors
    /// [`CanvasError`] if a part of it cannot be called.
    pub fn member(
        &mut self,
        mut it: Signature,
        index: usize,
        group: &str,
        args: &[Value],
        kwargs: Option<&Value>,
        options: &Options,
    ) -> Result<Option<Outcome>, CanvasError> {
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

/// Returns the tasks that the member of a group stands for: the members of an inner group, or the
/// member itself with its index.
pub fn unrolled(index: usize, member: Signature) -> Vec<(usize, Signature)> {
    match member.kind {
        Kind::Group(inner) => flat(inner),
        _ => vec![(index, member)],
    }
}
