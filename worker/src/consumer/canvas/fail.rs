//! What will not be run because something failed, fails.

use std::sync::Arc;

use celery_protocol::message::Task;
use celery_protocol::result::{ExceptionDoc, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

use super::call::Parent;
use super::signature::{Chord, DEPTH, Signature, Tasks, list, raw};
use super::{FollowUps, Load};
use crate::consumer::transition::Rules;
use crate::source::{Part, Step};

/// What will not be run because something failed.
pub(super) struct Failing<'a> {
    pub(super) rules: &'a Rules,
    /// What failed.
    pub(super) task: &'a Arc<Task>,
    pub(super) exception: &'a ExceptionDoc,
    pub(super) traceback: Option<&'a str>,
    pub(super) now: Timestamp,
    pub(super) steps: Vec<Step>,
    /// There was too much of it.
    pub(super) full: bool,
    pub(super) load: Load,
}

impl Failing<'_> {
    /// Fails a signature: FAILURE for whoever waits for it, its error callbacks if wanted, its count in a chord, and the
    /// same for what it is made of and what follows it.
    pub(super) fn fail(&mut self, text: &RawValue, errbacks: bool, depth: usize) {
        let Ok(signature) = serde_json::from_str::<Signature<'_>>(text.get()) else {
            return;
        };
        if depth > DEPTH || self.full {
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
                let document = doc.encode();
                if let Err(why) = self.load.add(document.len()) {
                    return self.stop(text, &why);
                }
                self.steps.push(Step::Result {
                    id: id.to_owned(),
                    document,
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
    pub(super) fn call_errbacks(&mut self, id: &str, root: &str, errbacks: Option<&RawValue>) {
        let (Some(_), Ok(given)) = (errbacks, raw(id)) else {
            return;
        };
        let mut follow = FollowUps::default();
        Parent::new(self.rules, self.task, given, self.now)
            .of(id, root, self.load.clone())
            .call_all(errbacks, &mut follow);
        self.steps.append(&mut follow.steps);
    }

    /// It is too much: this signature, and what comes after it, is not failed.
    fn stop(&mut self, text: &RawValue, why: &str) {
        self.full = true;
        let parent = Parent::new(self.rules, self.task, RawValue::NULL.to_owned(), self.now);
        self.steps.push(parent.not_published(text, why));
    }
}
