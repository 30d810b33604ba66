//! Gives signatures their ids before they are called or sent in other messages, so that a client
//! that waits for a later step knows its id.
//!
//! It follows `freeze` and `prepare_steps` in `celery/canvas.py` of 5.7. Unlike in Celery, the
//! header of a chord does not get its body here. The call of the chord adds it; before that, it
//! would only make the signatures larger.

use std::collections::VecDeque;

use super::calling::{Calling, Given, Place};
use super::error::{CanvasError, DEPTH};
use super::links::{Unrolled, link_errors, prepend, strip_header_links, unroll_body};
use super::options::{Options, Value};
use super::outcome::Outcome;
use super::signature::{Chord, Kind, Signature};
use crate::message::Carried;

/// The steps of a chain, the last one first, and their results in the same order.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) tasks: Vec<Signature>,
    pub(super) outcomes: Vec<Outcome>,
}

impl<M: Carried> Calling<'_, M> {
    /// Gives a signature and its parts their ids and their place, and returns the result to come.
    ///
    /// # Errors
    /// [`CanvasError`] if a part of it cannot be called.
    pub fn freeze(&mut self, it: &mut Signature, place: Place<'_>) -> Result<Outcome, CanvasError> {
        match &mut it.kind {
            Kind::Task { .. } => self.freeze_task(&mut it.options, place),
            Kind::Chain(steps) => {
                let mut kept = Vec::with_capacity(steps.len());
                let steps = std::mem::take(steps);
                let frozen = self.steps(steps, Given::default(), place, &[], Some(&mut kept))?;
                kept.reverse();
                it.kind = Kind::Chain(kept);
                let first = frozen.outcomes.first();
                let outcome = *first.ok_or(CanvasError::NoSteps)?;
                it.options.set("task_id", self.outcomes.id(outcome))?;
                Ok(outcome)
            }
            Kind::Group(members) => self.freeze_group(&mut it.options, members, place),
            Kind::Chord(chord) => {
                let (outcome, group) = self.freeze_chord(chord, place)?;
                it.options.set("task_id", &group)?;
                Ok(outcome)
            }
        }
    }

    fn freeze_task(
        &mut self,
        options: &mut Options,
        place: Place<'_>,
    ) -> Result<Outcome, CanvasError> {
        let id = match options.text("task_id") {
            Some(id) => id,
            None => place.id.map_or_else(|| self.caller.new_id(), str::to_owned),
        };
        options.set("task_id", &id)?;
        if let Some(root) = place.root {
            options.set("root_id", root)?;
        }
        if !options.has("reply_to") {
            options.set("reply_to", &*self.caller.reply_to_task(&id))?;
        }
        if let (Some(group), false) = (place.group, options.has("group_id")) {
            options.set("group_id", group)?;
        }
        if let Some(chord) = place.chord {
            options.insert("chord", Value::clone(chord));
        }
        if let Some(index) = place.index {
            options.set("group_index", &index)?;
        }
        Ok(self.outcomes.task(&id))
    }

    /// Gives ids to a group and to its members. The members of an inner group become members of
    /// this group.
    pub(super) fn freeze_group(
        &mut self,
        options: &mut Options,
        members: &mut Vec<Signature>,
        place: Place<'_>,
    ) -> Result<Outcome, CanvasError> {
        let id = options
            .text("task_id")
            .unwrap_or_else(|| self.caller.new_id());
        options.set("task_id", &id)?;
        if let Some(group) = place.group {
            options.set("group_id", group)?;
        }
        if let Some(chord) = place.chord {
            options.insert("chord", Value::clone(chord));
        }
        if let Some(index) = place.index {
            options.set("group_index", &index)?;
        }
        match place.root {
            _ if options.has("root_id") => {}
            Some(root) => options.set("root_id", root)?,
            None => options.set_null("root_id"),
        }
        if !options.has("parent_id") {
            options.set_null("parent_id");
        }
        let root = options.text("root_id");
        let mut pending = VecDeque::from(std::mem::take(members));
        let mut outcomes = Vec::with_capacity(pending.len());
        while let Some(mut member) = pending.pop_front() {
            match member.kind {
                // Each member is put to the front, which reverses their order, as in Celery.
                Kind::Group(inner) => inner.into_iter().for_each(|it| pending.push_front(it)),
                _ if member.is_empty_chain() => {}
                _ => {
                    let place = Place {
                        id: None,
                        root: root.as_deref(),
                        index: Some(outcomes.len()),
                        ..place
                    };
                    outcomes.push(self.freeze(&mut member, place)?);
                    members.push(member);
                }
            }
        }
        Ok(self.outcomes.group(&id, outcomes))
    }

    /// Returns the result of the body, and the id of the header's group.
    fn freeze_chord(
        &mut self,
        chord: &mut Chord,
        place: Place<'_>,
    ) -> Result<(Outcome, String), CanvasError> {
        let header = Place {
            root: place.root,
            ..Place::default()
        };
        let options = chord.group.get_or_insert_default();
        let header = self.freeze_group(options, &mut chord.header, header)?;
        let body = self.freeze(&mut chord.body, place)?;
        let first = self.outcomes.first_ancestor(body);
        self.outcomes.set_parent(first, Some(header));
        Ok((body, self.outcomes.id(header).to_owned()))
    }

    /// Makes the tasks of a chain from its steps. Chains among the steps are spliced in, and a
    /// group before another step becomes a chord. With `kept`, the steps only get their ids, and
    /// are collected there unchanged, the last one first.
    pub(super) fn steps(
        &mut self,
        steps: Vec<Signature>,
        given: Given<'_>,
        last: Place<'_>,
        errbacks: &[Value],
        mut kept: Option<&mut Vec<Signature>>,
    ) -> Result<Steps, CanvasError> {
        let root = Place {
            root: last.root,
            ..Place::default()
        };
        let mut steps = without_empty_head(steps);
        let mut made = Steps::default();
        let mut next: Option<Outcome> = None;
        // The number of chords that are bodies of each other at the current step.
        let mut nested = 0;
        while let Some(step) = steps.pop_back() {
            let is_group = matches!(step.kind, Kind::Group(_));
            let mut step = if is_group { step.unrolled() } else { step };
            if step.is_empty_group() && !(steps.is_empty() && made.tasks.is_empty()) {
                continue;
            }
            if kept.is_none() {
                step = match unroll_body(step, &self.load)? {
                    Unrolled::Steps(unrolled) => {
                        steps.extend(unrolled);
                        continue;
                    }
                    Unrolled::Whole(step) => step,
                };
            }
            if steps.is_empty() && !matches!(step.kind, Kind::Chain(_) | Kind::Group(_)) {
                step.prepend(given.args);
                step.add_kwargs(given.kwargs)?;
            }
            let mut upgraded = None;
            step = match (step.kind, made.tasks.pop()) {
                (Kind::Chain(inner), following) => {
                    made.tasks.extend(following);
                    steps.extend(inner);
                    continue;
                }
                (Kind::Group(members), Some(body)) => {
                    nested += 1;
                    if nested > DEPTH {
                        return Err(CanvasError::TooManyGroups);
                    }
                    let mut options = Options::default();
                    if let Some(next) = next.filter(|next| !self.outcomes.is_group(*next)) {
                        options.set("task_id", self.outcomes.id(next))?;
                    }
                    match last.root {
                        Some(root) => options.set("root_id", root)?,
                        None => options.set_null("root_id"),
                    }
                    let body_outcome = made.outcomes.pop();
                    if let Some(after) = self.child_of(body_outcome, made.outcomes.last().copied())
                    {
                        self.outcomes.set_parent(after, None);
                        next = Some(after);
                    }
                    upgraded = Some(kept.is_some().then(|| members.clone()));
                    Signature::chord(members, body, options)
                }
                (kind, following) => {
                    made.tasks.extend(following);
                    nested = 0;
                    Signature { kind, ..step }
                }
            };
            // If the last step became the body of a chord above, it has its place already.
            let is_last = made.tasks.is_empty() && upgraded.is_none();
            let outcome = self.freeze(&mut step, if is_last { last } else { root })?;
            if let Some(next) = next.filter(|next| self.outcomes.parent(*next).is_none())
                && !made.tasks.is_empty()
            {
                self.outcomes.set_parent(next, Some(outcome));
            }
            link_errors(&mut step, errbacks, &self.load)?;
            next = Some(match step.kind {
                Kind::Chord(_) => self.outcomes.first_ancestor(outcome),
                _ => outcome,
            });
            if let Some(kept) = kept.as_deref_mut() {
                kept.push(match upgraded.flatten() {
                    Some(members) => Signature::group(members),
                    None => step.clone(),
                });
            }
            made.tasks.push(step);
            made.outcomes.push(outcome);
        }
        if kept.is_none() {
            made.tasks.iter_mut().for_each(strip_header_links);
        }
        Ok(made)
    }

    /// Returns the result whose parent is `parent`, from `of` and its ancestors.
    fn child_of(&self, parent: Option<Outcome>, of: Option<Outcome>) -> Option<Outcome> {
        let mut outcome = of?;
        while self.outcomes.parent(outcome) != parent {
            outcome = self.outcomes.parent(outcome)?;
        }
        Some(outcome)
    }
}

/// Returns the steps of a chain, without empty groups before the first step that gets the
/// arguments.
fn without_empty_head(steps: Vec<Signature>) -> VecDeque<Signature> {
    let mut steps = VecDeque::from(steps);
    let mut stripped = None;
    while let Some(head) = steps.pop_front() {
        match head.kind {
            Kind::Chain(inner) => prepend(&mut steps, inner),
            Kind::Group(_) => {
                let head = head.unrolled();
                if steps.is_empty() || !head.is_empty_group() {
                    steps.push_front(head);
                    break;
                }
                stripped = Some(head);
            }
            _ => {
                steps.push_front(head);
                break;
            }
        }
    }
    if steps.is_empty() {
        steps.extend(stripped);
    }
    steps
}
