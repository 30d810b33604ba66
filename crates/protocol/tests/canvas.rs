//! The plan of every captured canvas has the messages, chords and results that Python's client made.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use celery_protocol::canvas::{
    Caller, Options, Plan, Signature, Value as Shared, freeze, json as shared,
};
use celery_protocol::message::{EncodeError, EncodeOptions, Protocol, Task};
use celery_protocol::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use common::{Fixture, decoded_body, folder, parsed};

/// The most bytes of the messages of one plan.
const MOST: usize = 1 << 20;

/// A client with the settings of the captured one.
#[derive(Default)]
struct Client {
    ids: Cell<u32>,
    protocol: Protocol,
}

impl Client {
    fn plan(
        &self,
        canvas: Signature,
        args: &[Shared],
        kwargs: Option<&Shared>,
        options: Options,
    ) -> Plan {
        let now = Timestamp::parse("2026-11-22T07:40:20.996002+00:00").unwrap();
        Plan::new(self, canvas, (args, kwargs, options), now, MOST).unwrap()
    }
}

impl Caller for Client {
    fn new_id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("00000000-0000-4000-8000-{:012}", self.ids.get())
    }

    fn reply_to(&self) -> &'static str {
        "ffffffff-0000-3000-8000-000000000000"
    }

    fn has_results(&self) -> bool {
        true
    }

    fn queue_of(&self, _: &str) -> Arc<str> {
        "celery".into()
    }

    fn links_chains(&self) -> bool {
        self.protocol == Protocol::V1
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        let tag = self.new_id();
        let options = EncodeOptions::new(queue, &tag)
            .lang("py")
            .reply_to(self.reply_to())
            .protocol(self.protocol);
        task.encode_redis(&options)
    }
}

/// Returns the arguments and options with which a fixture calls its canvas.
fn call(name: &str) -> (Value, Value, Value) {
    let echo = |args: Value| json!({"task": "proj.echo", "args": args, "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false});
    let errback = json!({"task": "proj.errback", "args": [], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false});
    match name {
        "chain_expires_queue" => (
            json!([]),
            json!({}),
            json!({"queue": "q9", "expires": 60, "countdown": 3}),
        ),
        "chain_link_and_link_error" => (
            json!([]),
            json!({}),
            json!({"link": echo(json!(["cb"])), "link_error": errback}),
        ),
        "group_partial_args" => (json!([10]), json!({}), json!({})),
        "sig_partial_kwargs" => (json!([0]), json!({"b": 2}), json!({})),
        _ => (json!([]), json!({}), json!({})),
    }
}

/// Returns the canvas of a fixture. A client divides `chunks` itself.
fn canvas(fixture: &Fixture) -> Signature {
    let dict = &fixture.json["signature_dict_before_apply"];
    if fixture.name == "sig_stamp" {
        let task = |name: &str, args: Value| json!({"task": name, "args": args});
        let steps =
            json!({"tasks": [task("proj.add", json!([1, 2])), task("proj.mul", json!([3]))]});
        let chain = json!({"task": "celery.chain", "kwargs": steps, "subtask_type": "chain"});
        let mut chain = Signature::read(&shared(&chain).unwrap()).unwrap();
        let stamps: Options = serde_json::from_value(json!({"tenant": "acme"})).unwrap();
        chain.stamp(&stamps).unwrap();
        return chain;
    }
    if dict["task"] == "celery.chunks" {
        let mut chunks = dict.clone();
        chunks["subtask_type"] = json!("chunks");
        return Signature::read(&shared(&chunks).unwrap()).unwrap();
    }
    Signature::read(&shared(dict).unwrap()).unwrap()
}

/// Replaces ids by the order in which they appear, and times by a word.
#[derive(Default)]
struct Normal(HashMap<String, String>);

impl Normal {
    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) if is_uuid(&text) => {
                let next = format!("id {}", self.0.len());
                Value::String(self.0.entry(text).or_insert(next).clone())
            }
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(members) => {
                let mut members: Vec<_> = members.into_iter().collect();
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, value)| (name, self.value(value)))
                        .collect::<Map<_, _>>(),
                )
            }
            other => other,
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4
}

/// Removes the body of a chord that is null among the options of signatures: it means none.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(members) => {
            let is_written = |(name, value): &(String, Value)| name != "chord" || !value.is_null();
            let members = members.into_iter().filter(is_written);
            Value::Object(members.map(|(name, value)| (name, plain(value))).collect())
        }
        other => other,
    }
}

/// Removes the ids of groups from a result tuple.
fn without_groups(tuple: &Value) -> Value {
    let [id, parent, members] = [&tuple[0][0], &tuple[0][1], &tuple[1]];
    let parent = parent.is_array().then(|| without_groups(parent));
    let members = members.as_array();
    let members = members.map(|members| members.iter().map(without_groups).collect::<Vec<_>>());
    let id = if members.is_some() { &Value::Null } else { id };
    json!([[id, parent], members])
}

/// Removes the callbacks of the steps of chains that are whole, which are bodies of chords. Python adds
/// there what it adds again when it calls the chain. A worker with protocol 2 would run each later
/// step twice.
fn unlink_steps(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(unlink_steps),
        Value::Object(members) => {
            if members.get("task") == Some(&json!("celery.chain")) {
                let steps = members["kwargs"]["tasks"].as_array_mut().unwrap();
                for step in steps {
                    step["options"].as_object_mut().unwrap().remove("link");
                }
            }
            members.values_mut().for_each(unlink_steps);
        }
        _ => {}
    }
}

/// Returns a message with its body opened, and without what differs from run to run.
fn opened(message: &[u8]) -> Value {
    let mut envelope = parsed(message);
    envelope["body"] = plain(decoded_body(message));
    if envelope["body"].is_array() && envelope["body"][2]["chain"] == json!([]) {
        envelope["body"][2]["chain"] = Value::Null;
    }
    // Protocol 1 has everything in its body.
    let place = if envelope["body"].is_array() {
        "headers"
    } else {
        unlink_steps(&mut envelope["body"]);
        "body"
    };
    for time in ["eta", "expires"] {
        if !envelope[place][time].is_null() {
            envelope[place][time] = json!("a time");
        }
    }
    // The captured client knew the tasks; ours sends them by name, as `send_task` does.
    envelope["headers"]["ignore_result"] = Value::Null;
    envelope["headers"]["origin"] = Value::Null;
    envelope["properties"]["delivery_tag"] = Value::Null;
    if ["celery.map", "celery.starmap"]
        .map(Value::from)
        .contains(&envelope["headers"]["task"])
    {
        // Python shows which of the lists are tuples.
        envelope["headers"]["kwargsrepr"] = Value::Null;
    }
    envelope
}

/// Returns messages by queue, the first one first; the sizes of chords; and the result tuple.
fn normal(queued: Vec<(String, Value)>, chords: Vec<(String, usize)>, tuple: Value) -> Value {
    let mut queues: Map<String, Value> = Map::new();
    for (queue, message) in queued {
        let list = queues.entry(queue).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(message);
    }
    let mut normal = Normal::default();
    let messages = normal.value(Value::Object(queues));
    let tuple = normal.value(tuple);
    let mut sizes: Vec<Value> = chords
        .into_iter()
        .map(|(group, size)| json!([normal.value(json!(group)), size.to_string()]))
        .collect();
    sizes.sort_by_key(Value::to_string);
    json!({"messages": messages, "tuple": tuple, "sizes": sizes})
}

fn expected(fixture: &Fixture) -> Value {
    let mut queued: Vec<_> = fixture.queued();
    // The right end of a list is the first message.
    queued.reverse();
    let queued = queued
        .into_iter()
        .map(|(queue, message)| (queue, opened(&message)));
    let chords = fixture.stored(".s").into_iter().map(|(key, size)| {
        let group = key.trim_start_matches("celery-taskset-meta-");
        let size = String::from_utf8(size).unwrap().parse().unwrap();
        (group.trim_end_matches(".s").to_owned(), size)
    });
    normal(
        queued.collect(),
        chords.collect(),
        fixture.json["returned_result_as_tuple"].clone(),
    )
}

fn produced(plan: &Plan) -> Value {
    let keys = celery_protocol::redis_keys::Keys::new("");
    let queued = plan.messages.iter().map(|sent| {
        let list = keys.queue(&sent.queue, sent.priority);
        (list, opened(&sent.message))
    });
    let chords = plan.chords.iter();
    normal(
        queued.collect(),
        chords
            .map(|chord| (chord.group.clone(), chord.size))
            .collect(),
        plan.outcomes.tuple(plan.result),
    )
}

fn list(value: &Value) -> Vec<Shared> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| shared(value).unwrap()).collect()
}

/// Plans the canvas of a fixture. Returns how the plan differs from what Python sent.
fn difference(
    fixture: &Fixture,
    protocol: Protocol,
    (args, kwargs, options): &(Value, Value, Value),
) -> Option<String> {
    let options: Options = serde_json::from_value(options.clone()).unwrap();
    let kwargs = shared(kwargs).unwrap();
    let client = Client {
        protocol,
        ..Client::default()
    };
    let plan = client.plan(canvas(fixture), &list(args), Some(&kwargs), options);
    let (mut produced, mut expected) = (produced(&plan), expected(fixture));
    // Python's tree names groups that it did not send. A nested chord gets another id when it is sent.
    if ["chord_header_chain_to_chord", "chord_in_chord_in_chord"].contains(&&*fixture.name) {
        for value in [&mut produced, &mut expected] {
            value["tuple"] = without_groups(&value["tuple"]);
        }
    }
    let lines = |value| serde_json::to_string_pretty(value).unwrap();
    let (produced, expected) = (lines(&produced), lines(&expected));
    let mut both = produced.lines().zip(expected.lines()).enumerate();
    let (at, _) = both.find(|(_, (produced, expected))| produced != expected)?;
    let near = |text: &str| {
        let lines = text.lines().skip(at.saturating_sub(8)).take(16);
        lines.collect::<Vec<_>>().join("\n")
    };
    let name = &fixture.name;
    Some(format!(
        "{name}: produced\n{}\nexpected\n{}\n",
        near(&produced),
        near(&expected)
    ))
}

#[test]
fn plans_equal_what_python_sent() {
    let fixtures = folder("canvas-v2/redis", 42).into_iter();
    let differences: Vec<_> = fixtures
        .filter(|fixture| fixture.json["raises"].is_null())
        .filter_map(|fixture| difference(&fixture, Protocol::V2, &call(&fixture.name)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn plans_in_protocol_1_equal_what_python_sent() {
    let fixtures = folder("canvas-v1/redis", 42).into_iter();
    let differences: Vec<_> = fixtures
        .filter(|fixture| fixture.json["raises"].is_null())
        .filter_map(|fixture| difference(&fixture, Protocol::V1, &call(&fixture.name)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_chain_in_protocol_1_has_a_limit_below_that_of_readers() {
    let chain = |count| {
        let tasks = vec![json!({"task": "proj.add", "args": [[1], {"a": [2]}]}); count];
        let chain =
            json!({"task": "celery.chain", "kwargs": {"tasks": tasks}, "subtask_type": "chain"});
        let options: Options = serde_json::from_value(json!({"task_protocol": 1})).unwrap();
        let now = Timestamp::from_unix(1_800_000_000, 0);
        let chain = Signature::read(&shared(&chain).unwrap()).unwrap();
        Plan::new(&Client::default(), chain, (&[], None, options), now, MOST)
    };
    let plan = chain(40).unwrap();
    let task = Task::decode_redis(&plan.messages[0].message).unwrap();
    assert!(task.embed.callbacks.is_some() && plan.messages.len() == 1);
    let error = chain(41).unwrap_err().to_string();
    assert!(error.contains("more than 40 tasks"), "{error}");
}

#[test]
fn plans_of_nested_canvases_equal_what_python_sent() {
    let fixtures = folder("canvas-nested/redis", 45).into_iter();
    let differences: Vec<_> = fixtures
        .filter_map(|fixture| {
            let part = |name: &str| fixture.json["call"][name].clone();
            difference(
                &fixture,
                Protocol::V2,
                &(part("args"), part("kwargs"), part("options")),
            )
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn chunks_are_a_group_of_starmaps() {
    let read = |n: u64, items: usize, task: &str| {
        let kwargs = json!({"task": {"task": task}, "it": vec![[1]; items], "n": n});
        let chunks = json!({"task": "celery.chunks", "kwargs": kwargs, "subtask_type": "chunks"});
        Signature::read(&shared(&chunks).unwrap())
    };
    for (n, items, parts) in [(1, 3, 3), (2, 3, 2), (9, 3, 1), (1, 0, 0)] {
        let written = serde_json::to_value(read(n, items, "proj.add").unwrap()).unwrap();
        let tasks = written["kwargs"]["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), parts, "{n} {items}");
        for task in tasks {
            assert_eq!(task["kwargs"]["task"]["task"], "proj.add");
            assert!(task["kwargs"]["it"].as_array().unwrap().len() <= n.try_into().unwrap());
        }
    }
    assert!(read(0, 3, "proj.add").is_err());
    // Each part has a copy of the task, so a short message could stand for very many bytes.
    assert!(read(1, 10_000, &"x".repeat(10_000)).is_err());
}

/// A value as an option of a signature from elsewhere may have it.
fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9-]{0,6}".prop_map(Value::from),
        Just(json!({"task": "callback", "args": [1]})),
        Just(json!("2026-01-01T00:00:00Z")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let members = prop::collection::hash_map("task|args|kwargs|options", inner.clone(), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A canvas with any options in any place.
fn odd_canvas() -> impl Strategy<Value = Value> {
    const NAMES: &str = "task_id|group_id|group_index|root_id|parent_id|reply_to|chord|chain|link|\
        link_error|queue|exchange|routing_key|priority|countdown|eta|expires|headers|shadow|retries|\
        serializer|compression|stamped_headers|time_limit|delivery_mode|add_to_parent|other";
    let options = || prop::collection::hash_map(NAMES, odd(), 0..4);
    let leaf = (options(), odd(), any::<bool>()).prop_map(|(options, argument, immutable)| {
        json!({"task": "t", "args": [argument], "options": options, "immutable": immutable})
    });
    leaf.prop_recursive(4, 20, 3, move |inner| {
        let parts = prop::collection::vec(inner.clone(), 0..4);
        (parts, inner, options(), 0..3).prop_map(|(parts, body, options, kind)| {
            let (kind, kwargs) = match kind {
                0 => ("chain", json!({"tasks": parts})),
                1 => ("group", json!({"tasks": parts})),
                _ => ("chord", json!({"header": parts, "body": body})),
            };
            json!({"task": kind, "subtask_type": kind, "kwargs": kwargs, "options": options})
        })
    })
}

proptest! {
    // A case makes several canvases, which takes milliseconds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_canvas_breaks_the_planner(canvas in odd_canvas(), options in odd_canvas()) {
        const FEW: usize = 20_000;
        let Ok(signature) = Signature::read(&shared(&canvas).unwrap()) else {
            return Ok(());
        };
        let call: Options = serde_json::from_value(options["options"].clone()).unwrap();
        let now = Timestamp::from_unix(1_800_000_000, 0);
        let client = Client::default();
        let given = (&[shared(&1).unwrap()][..], None, call);
        if let Ok(plan) = Plan::new(&client, signature.clone(), given, now, FEW) {
            let bytes: usize = plan.messages.iter().map(|sent| sent.message.len()).sum();
            prop_assert!(bytes <= FEW || plan.messages.len() == 1);
            for sent in &plan.messages {
                prop_assert!(Task::decode_redis(&sent.message).is_ok() || canvas.to_string().contains("serializer") || options.to_string().contains("serializer"));
            }
            plan.outcomes.tuple(plan.result);
        }
        let mut frozen = signature;
        if freeze(&client, &mut frozen).is_ok() {
            let text = frozen.json().unwrap();
            prop_assert!(Signature::read(&text).is_ok());
        }
    }
}
