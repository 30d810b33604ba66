//! Compares the events that this worker and a Python worker publish.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::time::Timestamp;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::broker::{Broker, Envelope, on_each_broker};
use super::world::{
    Asking, OURS, PATIENCE, PYTHON, playground, post_with, start, start_python, start_python_with,
};

/// The members whose values must be equal. The values of all others must be of equal kinds.
const EQUAL: [&str; 13] = [
    "type",
    "name",
    "args",
    "kwargs",
    "retries",
    "result",
    "exception",
    "requeue",
    "terminated",
    "signum",
    "expired",
    "freq",
    "sw_sys",
];

/// The tasks: the end of the id, the name, the arguments, and the events that must be seen.
const TASKS: [(&str, &str, &str, &[&str]); 8] = [
    (
        "add",
        "proj.add",
        "[1, 2]",
        &["received", "started", "succeeded"],
    ),
    (
        "fail",
        "proj.fail",
        "[\"b\\u00e4h\"]",
        &["received", "started", "failed"],
    ),
    (
        "echo",
        "proj.echo",
        "[{\"a\": [null, 1.5, \"x\"]}]",
        &["received", "started", "succeeded"],
    ),
    (
        "retry",
        "proj.retry_noexc",
        "[600]",
        &["received", "started", "retried"],
    ),
    (
        "reject",
        "proj.reject",
        "[]",
        &["received", "started", "failed", "rejected"],
    ),
    ("expired", "proj.add", "[1, 2]", &["revoked"]),
    ("unknown", "proj.it's", "[]", &["failed"]),
    (
        "limit",
        "proj.sleep",
        "[60]",
        &["received", "started", "failed"],
    ),
];

/// The events of both workers.
struct Listener {
    heard: mpsc::Receiver<Envelope>,
    /// By node, then by the task (or "worker") and the type.
    events: BTreeMap<String, BTreeMap<String, Value>>,
    /// By node and routing key.
    envelopes: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Listener {
    fn start(broker: &impl Broker) -> Self {
        let (sender, heard) = mpsc::channel();
        broker.listen(sender);
        Listener {
            heard,
            events: BTreeMap::new(),
            envelopes: BTreeMap::new(),
        }
    }

    /// Listens until all these events of these nodes were heard.
    fn wait_for(&mut self, nodes: &[&str], wanted: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        let missing = |events: &BTreeMap<String, BTreeMap<String, Value>>| -> Vec<String> {
            let known = |node: &str, name: &String| {
                events.get(node).is_some_and(|it| it.contains_key(name))
            };
            let all = nodes
                .iter()
                .flat_map(|node| wanted.iter().map(move |name| (node, name)));
            all.filter(|(node, name)| !known(node, name))
                .map(|(node, name)| format!("{node}: {name}"))
                .collect()
        };
        while !missing(&self.events).is_empty() {
            let patience = deadline.saturating_duration_since(Instant::now());
            let Ok((channel, envelope)) = self.heard.recv_timeout(patience) else {
                panic!("not heard: {:?}", missing(&self.events));
            };
            self.hear(&channel, envelope);
        }
    }

    fn hear(&mut self, channel: &str, mut envelope: Value) {
        let body = STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
        let events = match serde_json::from_slice(&body).unwrap() {
            Value::Array(events) => events,
            event => vec![event],
        };
        let node = envelope["headers"]["hostname"].as_str().unwrap().to_owned();
        envelope["body"] = Value::Null;
        envelope["headers"]["hostname"] = Value::Null;
        let envelopes = self.envelopes.entry(node.clone()).or_default();
        envelopes.entry(channel.to_owned()).or_insert(envelope);
        for event in events {
            assert_eq!(event["hostname"], *node);
            let kind = event["type"].as_str().unwrap();
            let uuid = event["uuid"].as_str().unwrap_or("the-worker");
            let task = uuid.split_once('-').unwrap().1;
            let name = format!("{task}: {kind}");
            let mut members = comparable(event.as_object().unwrap());
            if name == "limit: task-failed" {
                // Celery 5.7 shows `ExceptionWithTraceback()` instead of the exception.
                members.insert("exception".to_owned(), "text".into());
            }
            let events = self.events.entry(node.clone()).or_default();
            events.entry(name).or_insert_with(|| members.into());
        }
    }
}

/// Returns the members of an event, with their kinds instead of values that may differ.
fn comparable(members: &Map<String, Value>) -> Map<String, Value> {
    let shown = |(name, value): (&String, &Value)| {
        let value = match value {
            value if EQUAL.contains(&name.as_str()) => value.clone(),
            Value::Number(_) => "number".into(),
            Value::String(_) => "text".into(),
            Value::Array(items) => json!(["of", items.len()]),
            other => other.clone(),
        };
        (name.clone(), value)
    };
    members.iter().map(shown).collect()
}

on_each_broker! {
    events_are_those_of_python
    the_option_enables_events_from_the_start
    sent_tasks_are_reported_as_by_python
}

fn events_are_those_of_python(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut listener = Listener::start(&broker);
    let ours = start(&mut playground(&broker, &["-Q", "ours"]));
    let python = start_python(&broker, "theirs").unwrap();
    for node in [OURS, PYTHON] {
        for answer in ["task events enabled", "task events already enabled"] {
            let answered = asking.ask(node, "enable_events", json!({}));
            assert_eq!(answered, json!({"ok": answer}), "{node}");
        }
    }
    for queue in ["ours", "theirs"] {
        for (end, name, args, _) in TASKS {
            post_with(
                &broker,
                queue,
                &format!("{queue}-{end}"),
                name,
                args,
                |task| match end {
                    "expired" => task.expires = Some(Timestamp::from_unix(1, 0)),
                    "limit" => task.time_limit.hard = Some(1.5),
                    _ => {}
                },
            );
        }
    }
    let of_task = |(end, _, _, events): &(&str, _, _, &'static [&str])| {
        let end = (*end).to_owned();
        events
            .iter()
            .map(move |event| format!("{end}: task-{event}"))
    };
    let mut wanted: Vec<String> = TASKS.iter().flat_map(of_task).collect();
    wanted.extend(["online", "heartbeat"].map(|event| format!("worker: worker-{event}")));
    let both = [OURS, PYTHON];
    listener.wait_for(&both, &wanted);

    for node in both {
        for answer in ["task events disabled", "task events already disabled"] {
            let answered = asking.ask(node, "disable_events", json!({}));
            assert_eq!(answered, json!({"ok": answer}), "{node}");
        }
    }
    ours.terminate();
    python.terminate();
    listener.wait_for(&both, &["worker: worker-offline".to_owned()]);

    let mut wrong = Vec::new();
    for of_nodes in [&listener.events, &listener.envelopes] {
        let (ours, python) = (&of_nodes[OURS], &of_nodes[PYTHON]);
        let missing = python.keys().filter(|name| !ours.contains_key(*name));
        wrong.extend(missing.map(|name| format!("{name}: missing here")));
        for (name, event) in ours
            .iter()
            .filter(|(name, event)| python.get(*name) != Some(event))
        {
            wrong.push(format!("{name}: {event} and {:?}", python.get(name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn the_option_enables_events_from_the_start(broker: impl Broker) {
    let mut listener = Listener::start(&broker);
    let mut silent = start(&mut playground(&broker, &["-Q", "silent"]));
    post_with(&broker, "silent", "silent-b", "proj.add", "[1, 2]", |_| {});
    silent
        .wait_for_line(PATIENCE, "[silent-b] succeeded")
        .unwrap();
    silent.terminate();
    silent.wait(PATIENCE).unwrap();
    let worker = start(&mut playground(&broker, &["-E", "-Q", "ours"]));
    post_with(&broker, "ours", "ours-a", "proj.add", "[1, 2]", |_| {});
    let kinds = ["received", "started", "succeeded"];
    listener.wait_for(&[OURS], &kinds.map(|kind| format!("a: task-{kind}")));
    worker.terminate();
    listener.wait_for(&[OURS], &["worker: worker-offline".to_owned()]);
    let events = &listener.events[OURS];
    assert!(
        !events.keys().any(|name| name.starts_with("b: ")),
        "{events:?}"
    );
}

/// Compares `task-sent` of a callback and a retry, without any other events. Python sends it under
/// another name than that of its node.
fn sent_tasks_are_reported_as_by_python(broker: impl Broker) {
    let (sender, heard) = mpsc::channel();
    broker.listen(sender);
    let ours = start(&mut playground(
        &broker,
        &["-Q", "ours", "--send-sent-event"],
    ));
    let sent_events = [("SENT_EVENTS", "1")];
    let Some(python) = start_python_with(&broker, "theirs", &sent_events) else {
        return;
    };
    for queue in ["ours", "theirs"] {
        post_with(
            &broker,
            queue,
            &format!("{queue}-add"),
            "proj.add",
            "[1, 2]",
            |task| {
                let options = json!({ "queue": queue, "task_id": format!("{queue}-callback") });
                let callback = json!({
                    "task": "proj.echo", "args": ["x"], "kwargs": { "k": null }, "options": options,
                    "subtask_type": null, "immutable": false,
                });
                task.embed.callbacks = Some(to_raw_value(&[callback]).unwrap());
            },
        );
        let retry = format!("{queue}-retry");
        post_with(&broker, queue, &retry, "proj.retry_noexc", "[600]", |_| {});
    }
    let mut events = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while events.len() < 4 {
        let patience = deadline.saturating_duration_since(Instant::now());
        let Ok((key, envelope)) = heard.recv_timeout(patience) else {
            panic!("heard only {events:#?}: {} {}", ours.log(), python.log());
        };
        let body = STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        if event["type"] != "task-sent" {
            // Python sends heartbeats in any case.
            assert_ne!(event["hostname"], OURS, "{event}");
            continue;
        }
        assert!(key.ends_with("task.sent"), "{key}");
        let uuid = event["uuid"].as_str().unwrap();
        let (queue, end) = uuid.split_once('-').unwrap();
        assert_eq!(event["hostname"] == OURS, queue == "ours", "{event}");
        let mut members = comparable(event.as_object().unwrap());
        for name in ["queue", "exchange", "routing_key"] {
            let value = event[name].as_str().unwrap().replace(queue, "queue");
            members.insert(name.to_owned(), value.into());
        }
        events.insert((end.to_owned(), queue.to_owned()), members);
    }
    let of = |end: &str, queue: &str| &events[&(end.to_owned(), queue.to_owned())];
    for end in ["callback", "retry"] {
        assert_eq!(of(end, "ours"), of(end, "theirs"), "{end}");
    }
}
