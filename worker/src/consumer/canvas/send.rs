//! Calls that a running task makes: it sends a signature, replaces itself by one, or adds one to
//! its chord.
//!
//! It follows `apply_async`, `replace` and `add_to_chord` in `celery/app/task.py` of 5.7. The steps
//! wait in the outbox of the delivery until the task is settled.

use std::sync::Arc;

use celery_protocol::canvas::{
    Calling, CanvasError, Kind, Load, Options, Place, Signature, Value, json, list, then,
};
use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;
use serde_json::value::{RawValue, to_raw_value};

use super::call::Following;
use super::fail::Failing;
use crate::clock::now;
use crate::consumer::rules::{CELERY, Rules};
use crate::delivery::{Caller, Manner, Planned, Sent};

/// The task that makes the result of a chord out of the results of a group that replaces a task.
const ACCUMULATE: &str = "celery.accumulate";

impl Caller for Rules {
    fn plan_call(
        &self,
        task: &Arc<Task>,
        signature: Signature,
        manner: Manner,
        bytes: usize,
    ) -> Result<Planned, ExceptionDoc> {
        let load = Load::new(self.most);
        load.add(bytes).map_err(value_error)?;
        let following = Following {
            rules: self,
            task,
            sends: true,
        };
        let mut calling = Calling::new(&following, now(), load);
        let mut signature = match manner {
            Manner::Send => signature,
            Manner::Replace => following.replacement(&mut calling, signature)?,
            Manner::AddToChord => following.member_of_own_chord(signature)?,
        };
        if self.errbacks_on_headers {
            signature.errors_to_headers().map_err(value_error)?;
        }
        let outcome = calling
            .apply(signature, &[], None, Options::default())
            .map_err(|why| self.raised(&why))?;
        if calling.calls.is_empty() {
            return Err(value_error("a group without tasks"));
        }
        let outcomes = &calling.outcomes;
        let tuple = |outcome| to_raw_value(&outcomes.tuple(outcome)).map_err(value_error);
        let children = calling.children.iter().copied();
        Ok(Planned {
            id: outcomes.id(outcome).to_owned(),
            tuple: tuple(outcome)?,
            sent: Sent {
                children: children.map(tuple).collect::<Result<_, _>>()?,
                bytes: calling.load.bytes(),
                added: usize::from(manner == Manner::AddToChord),
                steps: {
                    let calls = calling.calls.into_iter();
                    calls.map(|call| following.step(call)).collect()
                },
            },
        })
    }

    fn plan_failure(
        &self,
        task: &Arc<Task>,
        body: &Signature,
        why: String,
        cause: Option<ExceptionDoc>,
    ) -> Planned {
        let error = ExceptionDoc::new("ChordError", why, Some(CELERY));
        let mut failing = Failing::new(self, task, now(), Vec::new());
        failing.chord(body, &error, cause.as_ref());
        Planned {
            id: String::new(),
            tuple: RawValue::NULL.to_owned(),
            sent: Sent {
                steps: failing.steps,
                children: failing.children,
                ..Sent::default()
            },
        }
    }

    fn has_results(&self) -> bool {
        self.keeps_results()
    }
}

impl Rules {
    /// Returns the exception of a call that is refused.
    fn raised(&self, why: &CanvasError) -> ExceptionDoc {
        let text = self.refusal(why);
        match why {
            CanvasError::NoResults if self.replies => {
                ExceptionDoc::new("NotImplementedError", text, Some("builtins"))
            }
            _ => value_error(text),
        }
    }
}

impl Following<'_> {
    /// Returns the signature that takes the place of the running task. It gets the task's id, its
    /// callbacks, and its place in a group, a chord or a chain.
    fn replacement(
        self,
        calling: &mut Calling<'_>,
        mut it: Signature,
    ) -> Result<Signature, ExceptionDoc> {
        if it.options.has("chord") {
            let text = "A signature replacing a task must not be part of a chord";
            return Err(improperly_configured(text));
        }
        if it.is_empty_chain() {
            let text = "Cannot replace with an empty chain";
            return Err(improperly_configured(text));
        }
        self.in_place(calling, &mut it).map_err(value_error)?;
        let embed = &self.task.embed;
        let mut rest = embed.chain.as_deref().map(list).unwrap_or_default();
        // The rest of the chain has its next step last.
        rest.reverse();
        for step in rest {
            let mut step = Signature::read(&step).map_err(value_error)?;
            self.nest(&mut step.options).map_err(value_error)?;
            it = then(it, step).map_err(value_error)?;
        }
        Ok(it)
    }

    /// Gives a replacement everything but the rest of the task's chain.
    fn in_place(self, calling: &mut Calling<'_>, it: &mut Signature) -> Result<(), CanvasError> {
        let task = self.task;
        gather(it)?;
        if let Kind::Chain(steps) = &mut it.kind
            && let Some(last) = steps.last_mut()
        {
            gather(last)?;
        }
        let given = |list_of: &Option<Box<_>>| list_of.as_deref().map(list).unwrap_or_default();
        for callback in given(&task.embed.callbacks) {
            // A chain keeps its callbacks itself, and they move to its last task below.
            it.link(&callback)?;
        }
        for errback in given(&task.embed.errbacks) {
            it.link_error(&errback)?;
        }
        if let Kind::Chain(steps) = &mut it.kind
            && let Some(last) = steps.last_mut()
        {
            let links = it.options.list("link");
            it.options.remove(&["link"]);
            if !links.is_empty() {
                last.options.extend("link", links)?;
            }
        }
        let place = Place {
            id: Some(&task.id),
            ..Place::default()
        };
        calling.freeze(it, place)?;
        self.family(&mut it.options)?;
        self.nest(&mut it.options)?;
        if let Kind::Chain(steps) = &mut it.kind {
            for step in steps {
                self.nest(&mut step.options)?;
            }
        }
        Ok(())
    }

    /// Returns the signature as a member of the chord that the running task belongs to.
    fn member_of_own_chord(self, mut it: Signature) -> Result<Signature, ExceptionDoc> {
        if self.task.embed.chord.is_none() || self.task.group.is_none() {
            return Err(value_error("Current task is not member of any chord"));
        }
        if !self.rules.keeps_results() {
            return Err(self.rules.raised(&CanvasError::NoResults));
        }
        self.family(&mut it.options).map_err(value_error)?;
        Ok(it)
    }

    /// Sets the task's chord, group and root.
    fn family(self, options: &mut Options) -> Result<(), CanvasError> {
        let task = self.task;
        match &task.embed.chord {
            Some(body) => options.insert("chord", Value::from(body.clone())),
            None => options.set_null("chord"),
        }
        options.insert("group_id", json(&task.group)?);
        options.insert("group_index", json(&task.group_index)?);
        options.insert("root_id", json(&task.root_id)?);
        Ok(())
    }

    fn nest(self, options: &mut Options) -> Result<(), CanvasError> {
        let nesting = self.task.replaced_task_nesting.saturating_add(1);
        options.set("replaced_task_nesting", &nesting)
    }
}

/// Turns a group into a chord whose body returns the list of its results, so that one task follows
/// the group.
fn gather(it: &mut Signature) -> Result<(), CanvasError> {
    if !matches!(it.kind, Kind::Group(_)) {
        return Ok(());
    }
    let mut body = Signature::group(Vec::new());
    ACCUMULATE.clone_into(&mut body.task);
    body.kind = Kind::Task {
        kwargs: json(&serde_json::json!({ "index": 0 }))?,
        subtask_type: None,
    };
    let group = std::mem::replace(it, Signature::group(Vec::new()));
    let Kind::Group(members) = group.kind else {
        return Ok(());
    };
    *it = Signature::chord(members, body, Options::default());
    if let Kind::Chord(chord) = &mut it.kind {
        chord.group = Some(group.options);
    }
    Ok(())
}

fn value_error(why: impl ToString) -> ExceptionDoc {
    ExceptionDoc::new("ValueError", why.to_string(), Some("builtins"))
}

fn improperly_configured(text: &str) -> ExceptionDoc {
    ExceptionDoc::new("ImproperlyConfigured", text, Some(CELERY))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, rules};
    use super::*;
    use crate::canvas::{Signature as Call, group};
    use crate::consumer::rules::NO_CHORDS;

    #[test]
    fn what_a_run_sends_is_limited() {
        let text = "x".repeat(MIB / 64);
        let member = || Call::new("echo").arg(&text);
        let task = Arc::new(crate::task::testing::task("proj.send", "[]"));
        // A message in JSON has its body as base64, a third more than the text.
        for (members, before, fits) in [
            (1, 0, true),
            (40, 0, true),
            (50, 0, false),
            (40, MIB / 4, false),
            (1, 2 * MIB, false),
        ] {
            let call = group((0..members).map(|_| member())).into_inner().unwrap();
            let planned = rules().plan_call(&task, call, Manner::Send, before);
            match planned {
                Ok(planned) => {
                    assert!(fits, "{members} {before}");
                    assert!(planned.sent.bytes > before + members * text.len());
                }
                Err(why) => {
                    assert!(
                        !fits && why.exc_type == "ValueError",
                        "{members} {before}: {why:?}"
                    );
                }
            }
        }
        // One message may be larger.
        let call = Call::new("echo").arg("x".repeat(MIB)).into_inner().unwrap();
        assert!(rules().plan_call(&task, call, Manner::Send, 0).is_ok());
    }

    #[test]
    fn the_replies_of_a_replaced_task_go_to_its_sender() {
        let mut task = crate::task::testing::task("proj.replace", "[]");
        task.properties.reply_to = Some("sender".to_owned());
        let task = Arc::new(task);
        let addresses = |rules: &Rules, manner| {
            let steps = [Call::new("proj.first"), Call::new("proj.last")];
            let call = crate::canvas::chain(steps).into_inner().unwrap();
            let planned = rules.plan_call(&task, call, manner, 0).unwrap();
            let [crate::broker::Step::Publish(first)] = &planned.sent.steps[..] else {
                panic!("{:?}", planned.sent.steps);
            };
            let first = Task::decode_redis(&first.message).unwrap();
            let chain = first.embed.chain.unwrap();
            let last: serde_json::Value = serde_json::from_str(chain.get()).unwrap();
            let last = last[0]["options"]["reply_to"].clone();
            (first.properties.reply_to.unwrap(), last)
        };
        let with_replies = Rules {
            replies: true,
            ..rules()
        };
        let replaced = addresses(&with_replies, Manner::Replace);
        assert_eq!(replaced, ("r".to_owned(), "sender".into()));
        let sent = addresses(&with_replies, Manner::Send);
        assert_eq!(sent, ("r".to_owned(), "r".into()));
        let stored = addresses(&rules(), Manner::Replace);
        assert_eq!(stored, ("r".to_owned(), "r".into()));
    }

    #[test]
    fn a_chord_is_refused_where_results_are_replies() {
        let task = Arc::new(crate::task::testing::task("proj.send", "[]"));
        let with_replies = Rules {
            replies: true,
            ..rules()
        };
        let header = [Call::new("proj.add"), Call::new("proj.add")];
        let chord = crate::canvas::chord(header, Call::new("proj.xsum"));
        let call = chord.into_inner().unwrap();
        let raised = with_replies.plan_call(&task, call, Manner::Send, 0);
        let raised = raised.err().unwrap();
        assert_eq!(raised.exc_type, "NotImplementedError");
        let said: String = serde_json::from_str(raised.exc_message[0].get()).unwrap();
        assert_eq!(said, NO_CHORDS);
    }
    /// As in Celery, members of the header get immutable callbacks; the body keeps the callback.
    #[test]
    fn errbacks_of_a_chord_are_on_its_header_where_the_setting_says_so() {
        let task = Arc::new(crate::task::testing::task("proj.send", "[]"));
        for (on_headers, expected) in [(false, 0), (true, 1)] {
            let rules = Rules {
                errbacks_on_headers: on_headers,
                ..rules()
            };
            let header = [Call::new("proj.add"), Call::new("proj.add")];
            let chord = crate::canvas::chord(header, Call::new("proj.xsum"));
            let call = chord
                .link_error(Call::new("proj.echo"))
                .into_inner()
                .unwrap();
            let planned = rules.plan_call(&task, call, Manner::Send, 0).unwrap();
            let mut members = 0;
            for step in &planned.sent.steps {
                let crate::broker::Step::Publish(member) = step else {
                    continue;
                };
                members += 1;
                let member = Task::decode_redis(&member.message).unwrap();
                let own = member
                    .embed
                    .errbacks
                    .as_deref()
                    .map(list)
                    .unwrap_or_default();
                assert_eq!(own.len(), expected, "{own:?}");
                for errback in own {
                    assert!(Signature::read(&errback).unwrap().immutable);
                }
                let body: serde_json::Value =
                    serde_json::from_str(member.embed.chord.unwrap().get()).unwrap();
                let of_body = &body["options"]["link_error"];
                assert_eq!(of_body[0]["immutable"], false, "{body}");
                assert_eq!(of_body.as_array().unwrap().len(), 1, "{body}");
            }
            assert_eq!(members, 2);
        }
    }
}
