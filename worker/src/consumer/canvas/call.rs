//! Calls the signatures that follow a task, and collects what they publish.
//!
//! How signatures are called is in `celery_protocol::canvas`. This module adds what only a worker
//! knows: the task that was run is their parent, and what cannot be published becomes a dead
//! letter.

use std::borrow::Cow;
use std::sync::Arc;

use celery_protocol::canvas::{
    Call, Caller, Calling, CanvasError, Kind, Load, Options, Raws, Signature, Value, json, unrolled,
};
use celery_protocol::message::{EncodeError, Task};
use celery_protocol::time::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use super::follow_up::FollowUps;
use super::laravel;
use crate::broker::{Chord, Letter, Outgoing, ResultStep, Step};
use crate::consumer::rules::Rules;
use crate::trace::{self, Produced, SpanContext};

/// The worker as the caller of the signatures that follow a task.
#[derive(Clone, Copy)]
pub(super) struct Following<'a> {
    pub(super) rules: &'a Rules,
    pub(super) task: &'a Task,
    /// `true` if the task itself makes the calls, and does not only cause them by its end.
    pub(super) sends: bool,
}

impl Caller for Following<'_> {
    fn new_id(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn reply_to(&self) -> &str {
        &self.rules.reply_to
    }

    /// Returns the address of the task for the signature that takes its place: the sender of the task
    /// waits there. Python's worker names its own address, so that the sender gets no reply.
    fn reply_to_task(&self, task_id: &str) -> Cow<'_, str> {
        let of_task = self.task.properties.reply_to.as_deref();
        let is_its_place = self.rules.replies && task_id == self.task.id;
        let own = of_task.filter(|_| is_its_place);
        Cow::Borrowed(own.unwrap_or(&self.rules.reply_to))
    }

    fn has_results(&self) -> bool {
        self.rules.keeps_results()
    }

    fn parent(&self) -> Option<&Task> {
        Some(self.task)
    }

    fn queue_of(&self, task: &str) -> Arc<str> {
        self.rules.queue_of(task)
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        self.rules.encode(task, queue)
    }

    /// Gives a call without a priority the default one, or that of the task which makes it. As in
    /// Celery, the default goes first. Calls that follow the end of the task have the priority of
    /// the task from [`Follow::call_options`].
    fn complete(&self, called: &mut Signature) -> Result<(), CanvasError> {
        if called.options.has("priority") {
            return Ok(());
        }
        let inherits = self.sends && self.rules.inherit_priority;
        let inherited = self.task.properties.priority.filter(|_| inherits);
        match self.rules.default_priority.or(inherited) {
            Some(priority) => called.options.set("priority", &priority),
            None => Ok(()),
        }
    }

    fn carry(&self, message: &mut Task) {
        trace::carry(self.task, message, self.rules.traces.are_on());
        laravel::carry(self.task, message);
    }

    fn left_out(&self, header: &str) {
        tracing::warn!(
            "Task {}[{}]: the header {header:?} of a follow-up belongs to the protocol and is left out",
            self.task.name,
            self.task.id,
        );
    }
}

impl Following<'_> {
    /// Returns the step of a settlement that does what a call asks for.
    pub(super) fn step(&self, call: Call) -> Step {
        match call {
            Call::Publish(message) => Step::Publish(Outgoing {
                span: message.traceparent.as_deref().and_then(|header| {
                    let header = SpanContext::parse(header);
                    Produced::of(self.task, &message.id, &message.task, header)
                }),
                queue: message.queue,
                priority: message.priority,
                message: message.message,
            }),
            Call::Begin(chord) => Step::Result(ResultStep::Chord(Chord {
                group: chord.group,
                size: chord.size,
                saved: chord.saved,
            })),
        }
    }
}

/// The calls that follow from one task.
pub(super) struct Follow<'a> {
    following: Following<'a>,
    now: Timestamp,
    load: Load,
    pub(super) ups: FollowUps,
}

impl<'a> Follow<'a> {
    pub(super) fn new(rules: &'a Rules, task: &'a Task, now: Timestamp, load: Load) -> Self {
        Follow {
            following: Following {
                rules,
                task,
                sends: false,
            },
            now,
            load,
            ups: FollowUps::default(),
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
    fn call_options(&self) -> Result<Options, CanvasError> {
        let mut options = Options::default();
        options.set("parent_id", &self.following.task.id)?;
        options.set("root_id", self.following.task.root())?;
        match self.following.task.properties.priority {
            Some(priority) if self.following.rules.inherit_priority => {
                options.set("priority", &priority)?;
            }
            _ => options.set_null("priority"),
        }
        Ok(options)
    }

    /// Calls a signature. If any part of it cannot be published, the whole signature goes to the
    /// dead letters.
    fn call(&mut self, text: &Value, given: &Value, options: Options) {
        let following = self.following;
        let mut calling = Calling::new(&following, self.now, self.load.clone());
        let called = calling.whole(|calling| {
            let args = std::slice::from_ref(given);
            calling.apply(Signature::read(text)?, args, None, options)
        });
        self.add(calling);
        if let Err(why) = called {
            self.not_published(text, &why);
        }
    }

    /// Calls signatures as the members of one group with an id of its own. A group among them is
    /// replaced by its members, as in any group.
    fn call_as_group(&mut self, signatures: &[&Value], given: &Value, options: &Options) {
        if signatures.is_empty() {
            return;
        }
        let following = self.following;
        let group = following.new_id();
        let mut calling = Calling::new(&following, self.now, self.load.clone());
        let mut outcomes = Vec::with_capacity(signatures.len());
        let mut refused = Vec::new();
        for (index, text) in signatures.iter().enumerate() {
            let called = calling.whole(|calling| {
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
                Ok(called)
            });
            match called {
                Ok(mut called) => outcomes.append(&mut called),
                Err(why) => refused.push((text, why)),
            }
        }
        if !outcomes.is_empty() {
            let outcome = calling.outcomes.group(&group, outcomes);
            calling.children.push(outcome);
        }
        self.add(calling);
        for (text, why) in refused {
            self.not_published(text, &why);
        }
    }

    /// Adds the steps of calls and the results that belong to the task.
    fn add(&mut self, calling: Calling<'_>) {
        let outcomes = calling.outcomes;
        let following = self.following;
        let steps = calling.calls.into_iter().map(|call| following.step(call));
        self.ups.steps.extend(steps);
        let tuples = calling.children.iter();
        let tuples = tuples.filter_map(|child| to_raw_value(&outcomes.tuple(*child)).ok());
        self.ups.children.extend(tuples);
    }

    fn not_published(&mut self, text: &RawValue, why: &CanvasError) {
        let Following { rules, task, .. } = self.following;
        let letter = not_published(rules, task, text, &rules.refusal(why));
        self.ups.steps.push(letter);
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

#[cfg(test)]
mod tests {
    use celery_protocol::canvas::json as shared;
    use celery_protocol::compression::Compression;
    use celery_protocol::message::DecodeOptions;
    use celery_protocol::serializer::Serializer;
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;
    use crate::consumer::Routes;

    /// Returns the list, the priority and the message of `proj.echo` with these options, or why
    /// there is none.
    fn sent(options: Value) -> Result<(String, u8, Task), String> {
        let mut rules = testing::rules();
        rules.default_queue = "shop".into();
        rules.routes = Routes::new([("proj.e*", "echoes"), ("proj.mul", "products")]).unwrap();
        let parent = crate::task::testing::task("proj.add", "[]");
        let following = Following {
            rules: &rules,
            task: &parent,
            sends: false,
        };
        let load = Load::new(rules.most);
        let mut calling = Calling::new(&following, crate::clock::now(), load);
        let text = shared(&json!({ "task": "proj.echo", "options": options })).unwrap();
        calling.apply(Signature::read(&text)?, &[], None, Options::default())?;
        let Some(Call::Publish(sent)) = calling.calls.pop() else {
            return Err("no message".to_owned());
        };
        let accept = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
        let task =
            Task::decode_redis_with(&sent.message, &DecodeOptions::default().accept(&accept))
                .unwrap();
        Ok((sent.queue.to_string(), sent.priority, task))
    }

    #[test]
    fn odd_options_do_not_stop_the_message() {
        for (priority, expected) in [
            (json!(-1), 0),
            (json!(15), 9),
            (json!("4"), 4),
            (json!(3.9), 3),
            (json!([]), 0),
            (json!("high"), 0),
            (json!(null), 0),
        ] {
            let (_, sent, _) = sent(json!({ "priority": priority })).unwrap();
            assert_eq!(sent, expected, "{priority}");
        }
        let (_, _, task) = sent(json!({
            "time_limit": "60", "soft_time_limit": {}, "ignore_result": 0, "shadow": 7, "group_index": "x",
            "headers": null, "retries": -1, "expires": null, "countdown": 0, "task_id": 5,
        }))
        .unwrap();
        assert_eq!(
            (task.time_limit.hard, task.time_limit.soft),
            (Some(60.0), None)
        );
        assert_eq!((task.id.as_str(), task.shadow.as_deref()), ("5", Some("7")));
        assert_eq!((task.ignore_result, task.retries), (Some(false), 0));
        assert!(task.eta.is_none() && task.expires.is_none());
    }

    #[test]
    fn the_queue_is_named_or_routed_or_the_default() {
        for (options, queue) in [
            (json!({ "queue": "mails" }), "mails"),
            (
                json!({ "queue": "mails", "exchange": "x", "routing_key": "y" }),
                "mails",
            ),
            (json!({ "queue": null }), "echoes"),
            (json!({ "queue": "" }), "echoes"),
            (json!({ "routing_key": "mails" }), "echoes"),
            (json!({ "exchange": "mails" }), "echoes"),
            (json!({ "exchange": "x", "routing_key": "mails" }), "mails"),
        ] {
            assert_eq!(sent(options.clone()).unwrap().0, queue, "{options}");
        }
        assert!(sent(json!({ "queue": { "name": "mails" } })).is_err());
    }

    #[test]
    fn serializer_and_compression_come_from_the_signature() {
        for (serializer, expected) in [
            ("json", Serializer::Json),
            ("msgpack", Serializer::Msgpack),
            ("yaml", Serializer::Yaml),
        ] {
            for (compression, compressed) in [
                (json!("gzip"), Some(Compression::Zlib)),
                (json!("zstd"), Some(Compression::Zstd)),
                (json!(null), None),
                (json!(""), None),
            ] {
                let options = json!({ "serializer": serializer, "compression": compression });
                let (_, _, task) = sent(options).unwrap();
                assert_eq!((task.serializer, task.compression), (expected, compressed));
            }
        }
        assert!(sent(json!({ "serializer": "pickle" })).is_err());
        assert!(sent(json!({ "compression": "gz" })).is_err());
    }
}
