//! Calls a chord: publishes the members of its header, each with the body.
//!
//! It follows `_chord.apply_async` and `run` in `celery/canvas.py` of 5.7.

use super::calling::{Call, Calling, NewChord, Place};
use super::error::CanvasError;
use super::links::{add_body_callbacks, strip_header_links, unroll_chords};
use super::options::{Options, Value, json};
use super::outcome::Outcome;
use super::signature::{Kind, Signature};
use crate::message::Carried;

impl<M: Carried> Calling<'_, M> {
    /// Calls a chord: callbacks go to the body, a delay to the header, other options to both.
    pub(super) fn apply_chord(
        &mut self,
        mut it: Signature,
        args: &[Value],
        kwargs: Option<&Value>,
        mut call: Options,
    ) -> Result<Outcome, CanvasError> {
        if !self.caller.has_results() {
            return Err(CanvasError::NoResults);
        }
        it.prepend(args);
        let Kind::Chord(chord) = it.kind else {
            return Err(CanvasError::NotATask);
        };
        let (mut body, own) = (chord.body, it.options);
        let mut delay = Options::default();
        for name in ["countdown", "eta"] {
            if let Some(value) = call.take(name).or_else(|| own.get(name).cloned()) {
                delay.insert(name, value);
            }
        }
        let id = call.text("task_id").or_else(|| own.text("task_id"));
        call.remove(&["task_id"]);
        let mut of_body = call.clone();
        of_body.remove(&["parent_id", "link", "link_error"]);
        body.options.merge(&of_body);
        let root = body.options.text("root_id");
        let own_id = own.text("task_id");
        let mut options = own;
        options.update(&call);
        options.remove(&["countdown", "eta", "task_id"]);
        add_body_callbacks(&mut body, &mut options, &self.load)?;
        let mut of_body = options.clone();
        of_body.remove(&["parent_id"]);
        body.options.update(&of_body);
        if let Kind::Chain(steps) = &mut body.kind {
            *steps = unroll_chords(std::mem::take(steps), &self.load)?;
        }
        options.remove(&["chain", "chord"]);
        let mut header = chord.header;
        let mut group_options = chord.group.unwrap_or_default();
        let group = group_options
            .text("task_id")
            .or(own_id)
            .unwrap_or_else(|| self.caller.new_id());
        group_options.set("task_id", &group)?;
        let result = self.freeze_body(&mut body, id.as_deref(), &group, root.as_deref())?;
        let text = body.json()?;
        let place = Place {
            group: Some(&group),
            chord: Some(&text),
            root: root.as_deref(),
            ..Place::default()
        };
        let outcome = self.freeze_group(&mut group_options, &mut header, place)?;
        if header.is_empty() {
            self.outcomes.set_parent(result, Some(outcome));
            self.apply(body, &[json(&[(); 0])?], None, Options::default())?;
            return Ok(result);
        }
        self.calls.push(Call::Begin(NewChord {
            size: header.iter().map(Signature::leaves).sum(),
            saved: self.saved(outcome),
            group,
        }));
        options.update(&delay);
        let header = Signature {
            options: group_options,
            ..Signature::group(header)
        };
        let kwargs = merged(chord.kwargs.as_ref(), kwargs)?;
        let header = self.apply(header, &it.args, kwargs.as_ref(), options)?;
        self.outcomes.set_parent(result, Some(header));
        Ok(result)
    }

    fn freeze_body(
        &mut self,
        body: &mut Signature,
        id: Option<&str>,
        group: &str,
        root: Option<&str>,
    ) -> Result<Outcome, CanvasError> {
        let place = Place {
            id,
            root,
            group: Some(group),
            ..Place::default()
        };
        let result = self.freeze(body, place)?;
        strip_header_links(body);
        Ok(result)
    }

    /// Returns the result of a header to be saved, if the header is more than a list of tasks.
    fn saved(&self, header: Outcome) -> Option<Vec<u8>> {
        let mut members = self.outcomes.members(header).iter();
        members
            .any(|member| self.outcomes.is_group(*member))
            .then(|| {
                let tuple = self.outcomes.tuple(header);
                serde_json::json!({ "result": tuple })
                    .to_string()
                    .into_bytes()
            })
    }
}

/// Merges the keyword arguments of a chord and of its call; those of the call override the others.
fn merged(own: Option<&Value>, call: Option<&Value>) -> Result<Option<Value>, CanvasError> {
    let (Some(own), Some(call)) = (own, call) else {
        return Ok(call.or(own).cloned());
    };
    let read = |text: &Value| serde_json::from_str::<Options>(text.get());
    let mut all = read(own)?;
    all.update(&read(call)?);
    Ok(Some(json(&all)?))
}
