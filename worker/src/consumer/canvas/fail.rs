//! Fails the tasks that will not be run because another task failed.
//!
//! It follows `_fail_chain`, `chord_error_from_stack` and `_handle_group_chord_error` in
//! `celery/backends/base.py` of 5.7. Where Celery leaves a waiting client without an answer, this
//! module also stores the documents that the client waits for:
//!
//! * of the members of a group in a chain;
//! * of the body of a chord that is itself a body;
//! * of the chord whose header the failed body belongs to.

use std::collections::HashSet;
use std::sync::Arc;

use celery_protocol::canvas::{Kind, Load, Options, Signature, Value};
use celery_protocol::message::Task;
use celery_protocol::result::{ExceptionDoc, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

use super::call::{Follow, not_published};
use crate::broker::{Part, Reply, ResultStep, Step};
use crate::consumer::rules::Rules;
use crate::consumer::verdict::traceback;

/// The failure of the tasks that will not be run.
pub(super) struct Failing<'a> {
    pub(super) rules: &'a Rules,
    /// The task that has ended.
    pub(super) task: &'a Arc<Task>,
    pub(super) now: Timestamp,
    pub(super) load: Load,
    /// The tasks that the task has published, as results name them.
    pub(super) children: Vec<Box<RawValue>>,
    pub(super) steps: Vec<Step>,
    /// `true` once the documents have reached the limit on bytes.
    full: bool,
}

/// An exception and its traceback.
#[derive(Clone, Copy)]
pub(super) struct Raised<'a> {
    pub(super) exception: &'a ExceptionDoc,
    pub(super) traceback: Option<&'a str>,
}

impl<'a> Failing<'a> {
    pub(super) fn new(
        rules: &'a Rules,
        task: &'a Arc<Task>,
        now: Timestamp,
        children: Vec<Box<RawValue>>,
    ) -> Self {
        Failing {
            rules,
            task,
            now,
            load: Load::new(rules.most),
            children,
            steps: Vec::new(),
            full: false,
        }
    }

    /// Fails the remaining steps of a chain.
    pub(super) fn chain(&mut self, steps: &[Value], raised: Raised<'_>) {
        for step in steps {
            if let Ok(step) = Signature::read(step) {
                self.step(&step, raised);
            }
        }
    }

    fn step(&mut self, step: &Signature, raised: Raised<'_>) {
        if let Some(id) = step.options.text("task_id") {
            self.document(&id, &step.options, raised, Vec::new());
        }
        match &step.kind {
            Kind::Group(members) => members.iter().for_each(|member| self.step(member, raised)),
            Kind::Chord(chord) => self.step(&chord.body, raised),
            Kind::Chain(steps) => steps.iter().for_each(|step| self.step(step, raised)),
            Kind::Task { .. } => self.count(&step.options, raised),
        }
    }

    /// Fails the body of a chord with the chord's error. A body that is a group fails with `cause`, if
    /// that is known.
    pub(super) fn chord(
        &mut self,
        body: &Signature,
        error: &ExceptionDoc,
        cause: Option<&ExceptionDoc>,
    ) {
        let cause = cause.unwrap_or(error);
        let (error_text, cause_text) = (traceback(error), traceback(cause));
        let raised = |exception, traceback| Raised {
            exception,
            traceback: Some(traceback),
        };
        self.body(body, raised(error, &error_text), raised(cause, &cause_text));
    }

    /// Fails the body of a chord with the chord's error. A body that is a group fails with the
    /// exception of the member of the header.
    fn body(&mut self, body: &Signature, error: Raised<'_>, cause: Raised<'_>) {
        if let Kind::Group(members) = &body.kind {
            let group = &body.options;
            for member in members {
                self.member_of_body(member, &group.list("link_error"), cause);
            }
            if let Some(id) = group.text("task_id") {
                let without = Raised {
                    traceback: None,
                    ..cause
                };
                self.document(&id, &Options::default(), without, self.children.clone());
            }
        } else {
            let id = body.options.text("task_id");
            if let Some(id) = &id {
                // As in Celery, the body is the root of its error callbacks.
                self.errbacks(&body.options.list("link_error"), id, id);
                self.document(id, &Options::default(), error, self.children.clone());
            }
            if let Kind::Chord(chord) = &body.kind {
                self.body(&chord.body, error, error);
            }
        }
        self.count_leaves(body, error);
        let without = Raised {
            traceback: None,
            ..error
        };
        self.chain(&body.options.list("chain"), without);
    }

    /// Fails a member of a group that is a body. An error callback of both the member and the group
    /// is called once.
    fn member_of_body(&mut self, member: &Signature, of_group: &[Value], cause: Raised<'_>) {
        let mut own = Vec::new();
        let result = errbacks_of(member, &mut own);
        let Some(id) = result.options.text("task_id") else {
            return;
        };
        own.extend(of_group.iter().cloned());
        let mut known = HashSet::new();
        own.retain(|errback| known.insert(errback.get().to_owned()));
        self.errbacks(&own, &id, &id);
        self.document(&id, &Options::default(), cause, self.children.clone());
    }

    /// Counts a failed body that is a member of another chord, as many times as that chord expects.
    fn count_leaves(&mut self, body: &Signature, raised: Raised<'_>) {
        match &body.kind {
            Kind::Task { .. } => self.count(&body.options, raised),
            Kind::Group(members) => members.iter().for_each(|it| self.count_leaves(it, raised)),
            Kind::Chain(steps) => {
                if let Some(last) = steps.last() {
                    self.count_leaves(last, raised);
                }
            }
            Kind::Chord(chord) => self.count_leaves(&chord.body, raised),
        }
    }

    fn count(&mut self, options: &Options, raised: Raised<'_>) {
        let (Some(body), Some(group), Some(id)) = (
            options.get("chord"),
            options.text("group_id"),
            options.text("task_id"),
        ) else {
            return;
        };
        if self.rules.keeps_results() && !self.full {
            let part = Part {
                group,
                index: options.integer("group_index"),
                id,
                state: State::Failure,
                result: raised.exception.to_json(),
                body: (**body).to_owned(),
                task: Arc::clone(self.task),
                children: self.children.clone(),
                added: 0,
                has_ended: true,
            };
            self.steps
                .push(Step::Result(ResultStep::Count(Box::new(part))));
        }
    }

    fn document(
        &mut self,
        id: &str,
        options: &Options,
        raised: Raised<'_>,
        children: Vec<Box<RawValue>>,
    ) {
        if self.full || !self.rules.results || celery_protocol::names::check_task_id(id).is_err() {
            return;
        }
        let traceback = raised.traceback.map(str::to_owned);
        let mut doc = ResultDoc::failure(id, raised.exception, traceback, self.now);
        doc.children = Some(children);
        doc.group_id = options.text("group_id");
        doc.parent_id = options.text("parent_id");
        let address = options.text("reply_to").filter(|_| self.rules.replies);
        let reply = address.map(|queue| {
            let correlation_id = id.to_owned();
            Box::new(Reply {
                queue,
                correlation_id,
            })
        });
        let step = Step::store(&doc, reply);
        if let Err(why) = self.load.add(step.size()) {
            // This task and the tasks after it are not failed.
            self.full = true;
            let letter = not_published(self.rules, self.task, RawValue::NULL, &why.to_string());
            return self.steps.push(letter);
        }
        self.steps.push(step);
    }

    /// Calls the error callbacks of a task with its id.
    pub(super) fn errbacks(&mut self, errbacks: &[Value], id: &str, root: &str) {
        if self.full {
            return;
        }
        let mut calling = Follow::new(self.rules, self.task, self.now, self.load.clone());
        calling.errbacks(errbacks, id, root);
        self.steps.append(&mut calling.ups.steps);
        self.children.append(&mut calling.ups.children);
    }
}

/// Returns the signature whose result is also the result of `it`, and collects the error callbacks
/// on the way there. A chord contributes its own and those of its body, a group those of its
/// members.
fn errbacks_of<'s>(it: &'s Signature, errbacks: &mut Vec<Value>) -> &'s Signature {
    errbacks.extend(it.options.list("link_error"));
    match &it.kind {
        Kind::Chord(chord) => errbacks_of(&chord.body, errbacks),
        Kind::Group(members) => {
            for member in members {
                errbacks_of(member, errbacks);
            }
            it
        }
        _ => it,
    }
}
