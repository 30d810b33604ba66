//! Signatures become messages.

use std::sync::Arc;

use celery_protocol::fields::Fields;
use celery_protocol::message::{Task, TimeLimit};
use celery_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::signature::{
    Chord, DEPTH, Options, Place, Signature, Tasks, as_list, kwargs, leaves, list, raw, read,
    read_kwargs, stamp, unrolled, with_options,
};
use super::{FollowUps, Load};
use crate::consumer::transition::Rules;
use crate::source::{Letter, Step};

/// What a value takes besides its text, about.
const AROUND: usize = 16;

/// How a follow-up is told about its parent.
pub(super) struct Parent<'a> {
    rules: &'a Rules,
    name: &'a str,
    id: &'a str,
    root: &'a str,
    /// These go before the arguments, unless the signature is immutable.
    given: Vec<Box<RawValue>>,
    /// About the bytes of `given`, which each group, chain and chord copies.
    weight: usize,
    now: Timestamp,
    depth: usize,
    load: Load,
}

impl<'a> Parent<'a> {
    pub(super) fn new(
        rules: &'a Rules,
        task: &'a Task,
        given: Box<RawValue>,
        now: Timestamp,
    ) -> Self {
        Parent {
            rules,
            name: &task.name,
            id: &task.id,
            root: task.root(),
            weight: given.get().len(),
            given: vec![given],
            now,
            depth: 0,
            load: Load::new(rules),
        }
    }

    /// The same, in the place of another task of the same workflow, whose messages are part of `load`.
    pub(super) fn of(self, id: &'a str, root: &'a str, load: Load) -> Self {
        Parent {
            id,
            root,
            load,
            ..self
        }
    }

    /// The same parent, which gives these arguments to what lies one deeper.
    fn giving(&self, given: Vec<Box<RawValue>>) -> Result<Parent<'a>, String> {
        if self.depth > DEPTH {
            return Err("signatures in signatures without end".to_owned());
        }
        Ok(Parent {
            weight: given.iter().map(|value| AROUND + value.get().len()).sum(),
            given,
            depth: self.depth + 1,
            load: self.load.clone(),
            ..*self
        })
    }

    /// One signature is called as it is; of several, groups are, and the others as a group with an id of its own.
    pub(super) fn call_all(&self, signatures: Option<&RawValue>, follow: &mut FollowUps) {
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
    pub(super) fn call(
        &self,
        text: &RawValue,
        place: Place,
        rest: &[&RawValue],
        follow: &mut FollowUps,
    ) {
        let (published, load) = (follow.steps.len(), self.load.bytes());
        if let Err(why) = self.try_call(text, place, rest, follow) {
            // All of it or nothing: a header without its last member would never be complete.
            follow.steps.truncate(published);
            self.load.put_back(load);
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
        if signature.subtask_type.is_some() {
            let body = place.chord.as_deref().map_or(0, |body| body.get().len());
            self.load.copy(self.weight + body)?;
        }
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
        let (group, members) = header_of(header, signature.options.task_id.as_deref())?;
        let body = with_options(body, body_options(signature, body, &group, place, rest)?)?;
        if members.is_empty() {
            let inside = self.giving(vec![raw(&[(); 0])?])?;
            return inside.try_call(&body, Place::default(), &[], follow);
        }
        let mut size = 0;
        for member in &members {
            size += leaves(member, 0)?;
        }
        let inside = self.giving(self.arguments(signature))?;
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
                .unwrap_or_else(|| self.root.to_owned()),
        );
        task.parent_id = Some(self.id.to_owned());
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
        self.load.add(message.len())?;
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

    pub(super) fn not_published(&self, signature: &RawValue, why: &str) -> Step {
        tracing::error!(
            "Task {}[{}]: a follow-up was not published but moved to the dead letters: {why}",
            self.name,
            self.id,
        );
        let letter = Letter {
            queue: Arc::clone(&self.rules.default_queue),
            id: self.id.to_owned(),
            task: self.name.to_owned(),
            cause: "follow-up".to_owned(),
        };
        Step::Note(letter, signature.get().as_bytes().to_vec())
    }
}

/// The id of a header's group and its members: a list of signatures, or a group.
fn header_of<'s>(
    header: &'s RawValue,
    chord_id: Option<&str>,
) -> Result<(String, Vec<&'s RawValue>), String> {
    let mut members = Vec::new();
    let mut group = None;
    if header.get().starts_with('[') {
        for member in list(Some(header)) {
            unrolled(member, &mut members, 0)?;
        }
    } else {
        let signature: Signature<'_> = read(header)?;
        group = signature.options.task_id;
        unrolled(header, &mut members, 0)?;
    }
    let group = group.or_else(|| chord_id.map(str::to_owned));
    Ok((group.unwrap_or_else(new_id), members))
}

/// The options that a chord's body gets from the chord: its place, and what follows it.
fn body_options(
    chord: &Signature<'_>,
    body: &RawValue,
    group: &str,
    place: Place,
    rest: &[&RawValue],
) -> Result<Vec<(&'static str, Box<RawValue>)>, String> {
    let body: Signature<'_> = read(body)?;
    let (options, own) = (&chord.options, &body.options);
    let mut set = place.or(options).options()?;
    let id = own.task_id.clone().unwrap_or_else(new_id);
    set.push(("task_id", raw(&id)?));
    if own.group_id.is_none() && !set.iter().any(|(name, _)| *name == "group_id") {
        set.push(("group_id", raw(group)?));
    }
    for (name, ours, its) in [
        ("chain", rest.to_vec(), own.chain),
        ("chain", list(options.chain), own.chain),
        ("link", list(options.link), own.link),
        ("link_error", list(options.link_error), own.link_error),
    ] {
        if !ours.is_empty() {
            let all: Vec<_> = ours.into_iter().chain(list(its)).collect();
            set.push((name, raw(&all)?));
        }
    }
    Ok(set)
}

fn position(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
