//! Canvases that are put one after another become what Python makes of them, and signatures are
//! written as they were read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use celery_protocol::canvas::{
    CanvasError, Composable, DEPTH, Kind, Options, Signature, chain, json as shared, then,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use common::parsed;

fn captured() -> Value {
    parsed(include_bytes!("fixtures/canvas-compose/compose.json"))
}

fn read(signature: &Value) -> Signature {
    Signature::read(&shared(signature).unwrap()).unwrap()
}

fn written(signature: &Signature) -> Value {
    parsed(signature.json().unwrap().get().as_bytes())
}

/// Describes a canvas, as `text` of the capturing script does.
fn text(canvas: &Value) -> String {
    let parts = &canvas["kwargs"];
    let described = match canvas["subtask_type"].as_str() {
        Some("chain") => format!("({})", all(&parts["tasks"]).join(" | ")),
        Some("group") => format!("{{{}}}", all(&parts["tasks"]).join(", ")),
        Some("chord") => {
            let members = all(&parts["header"]).join(", ");
            format!("{{{members}}} > {}", text(&parts["body"]))
        }
        _ => {
            let name = canvas["task"].as_str().unwrap().trim_start_matches("proj.");
            let mark = if canvas["immutable"] == true { "!" } else { "" };
            format!("{name}{mark}")
        }
    };
    let mut options: Vec<_> = canvas["options"].as_object().unwrap().iter().collect();
    options.sort_by_key(|(name, _)| (*name).clone());
    let options = options.into_iter().map(|(name, value)| match value {
        Value::Array(callbacks) if name.starts_with("link") => {
            let callbacks: Vec<_> = callbacks
                .iter()
                .map(text)
                .map(|it| format!("{it:?}"))
                .collect();
            format!("{name}=[{}]", callbacks.join(", "))
        }
        value => format!("{name}={value}"),
    });
    let options: Vec<_> = options.collect();
    if options.is_empty() {
        described
    } else {
        format!("{described}[{}]", options.join(", "))
    }
}

fn all(tasks: &Value) -> Vec<String> {
    tasks.as_array().unwrap().iter().map(text).collect()
}

/// Returns the shapes that a row names, and the description of their result.
fn row(captured: &Value, row: &Value) -> (Vec<Signature>, String) {
    let row: Vec<_> = row
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let (expected, names) = row.split_last().unwrap();
    let shapes = names.iter().map(|name| read(&captured["shapes"][name]));
    (shapes.collect(), (*expected).to_owned())
}

#[test]
fn what_follows_becomes_what_python_makes_of_it() {
    let captured = captured();
    let rows = captured["followed"].as_array().unwrap();
    assert_eq!(rows.len(), 441);
    for pair in rows {
        let (shapes, expected) = row(&captured, pair);
        let [first, next] = <[Signature; 2]>::try_from(shapes).unwrap();
        let result = then(first, next).unwrap();
        assert_eq!(text(&written(&result)), expected, "{pair}");
    }
}

#[test]
fn chains_become_what_python_makes_of_them() {
    let captured = captured();
    let rows = captured["chains"].as_array().unwrap();
    assert_eq!(rows.len(), 216);
    for names in rows {
        let (shapes, expected) = row(&captured, names);
        let steps = chain(shapes).unwrap();
        // Python returns a group or a chord where no chain is left.
        let is_whole = |step: &Signature| !matches!(step.kind, Kind::Task { .. });
        let result = match <[Signature; 1]>::try_from(steps) {
            Ok([only]) if is_whole(&only) && !expected.starts_with('(') => only,
            Ok(only) => Signature::chain(only.into()).unwrap(),
            Err(steps) => Signature::chain(steps).unwrap(),
        };
        assert_eq!(text(&written(&result)), expected, "{names}");
    }
}

#[test]
fn captured_signatures_are_written_as_they_were_read() {
    let captured = parsed(include_bytes!("fixtures/signatures/dicts.json"));
    let signatures = captured["signatures"].as_array().unwrap();
    assert!(signatures.len() > 10);
    for signature in signatures {
        let dict = &signature["dict"];
        // Only the caller of a canvas divides chunks.
        if dict["task"] == "celery.chunks" {
            continue;
        }
        assert_eq!(&written(&read(dict)), dict, "{}", signature["how"]);
    }
}

#[test]
fn callbacks_go_where_python_puts_them() {
    let task = |name: &str| json!({"task": name, "options": {}});
    let of = |kind: &str, tasks: Value| json!({"task": format!("celery.{kind}"), "subtask_type": kind, "kwargs": {"tasks": tasks}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {
        "header": [task("a"), {"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [task("b")], "body": task("c")}}],
        "body": task("d"),
    }});
    let pair = json!([task("a"), task("b")]);
    for (canvas, linked, failed) in [
        (task("a"), "a[link=[\"cb\"]]", "a[link_error=[\"cb\"]]"),
        (
            of("chain", pair.clone()),
            "(a | b)[link=[\"cb\"]]",
            "(a | b)[link_error=[\"cb\"]]",
        ),
        (
            of("group", pair),
            "{a[link=[\"cb!\"]], b}",
            "{a[link_error=[\"cb\"]], b[link_error=[\"cb\"]]}",
        ),
        (
            chord,
            "{a, {b} > c} > d[link=[\"cb\"]]",
            "{a, {b} > c[link_error=[\"cb\"]]} > d[link_error=[\"cb\"]]",
        ),
    ] {
        let callback = read(&task("cb")).json().unwrap();
        let (mut one, mut other) = (read(&canvas), read(&canvas));
        one.link(&callback).unwrap();
        // A callback that is there already is not added again.
        one.link(&callback).unwrap();
        other.link_error(&callback).unwrap();
        assert_eq!(text(&written(&one)), linked);
        assert_eq!(text(&written(&other)), failed);
    }
}

#[test]
fn stamps_reach_every_task_and_callback() {
    let callback = json!({"task": "cb", "options": {"stamped_headers": ["own"], "own": 1}});
    let task = json!({"task": "a", "options": {"link": [callback], "stamped_headers": ["at", "on"], "at": [1], "on": 1}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [task], "body": {"task": "b"}}});
    let chain =
        json!({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [chord]}});
    let mut chain = read(&chain);
    let stamps: Options = serde_json::from_value(json!({"at": [2], "on": 2})).unwrap();
    chain.stamp(&stamps).unwrap();
    let written = written(&chain);
    let chord = &written["kwargs"]["tasks"][0]["kwargs"];
    let task = &chord["header"][0]["options"];
    assert_eq!((&task["at"], &task["on"]), (&json!([2, 1]), &json!(2)));
    assert_eq!(task["stamped_headers"], json!(["at", "on"]));
    let callback = &task["link"][0]["options"];
    assert_eq!((&callback["on"], &callback["own"]), (&json!(2), &json!(1)));
    assert_eq!(callback["stamped_headers"], json!(["own", "at", "on"]));
    assert_eq!(
        chord["body"]["options"]["stamped_headers"],
        json!(["at", "on"])
    );
    assert_eq!(written["options"], json!({}));
}

#[test]
fn nesting_has_a_limit() {
    let task = json!({"task": "a"});
    let mut inner = task.clone();
    for _ in 0..DEPTH {
        inner = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [task], "body": inner}});
    }
    let deep = read(&inner);
    then(deep.clone(), read(&task)).unwrap();
    let around = |body| Composable::chord(Signature::group(vec![read(&task)]), body).unwrap();
    let too_deep: Signature = around(around(deep));
    assert!(matches!(
        then(too_deep, read(&task)),
        Err(CanvasError::TooDeep)
    ));
    let deeper =
        json!({"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [inner]}});
    let refused = Signature::read(&shared(&deeper).unwrap());
    assert!(matches!(refused, Err(CanvasError::TooDeep)));
}

fn canvas() -> impl Strategy<Value = Value> {
    let options = prop::collection::hash_map("[a-z_]{1,8}", any::<i64>(), 0..3);
    let name = "[a-z]{1,3}";
    let leaf = (
        name,
        prop::collection::vec(any::<i64>(), 0..3),
        any::<bool>(),
        options,
    );
    let leaf = leaf.prop_map(|(task, args, immutable, options)| {
        json!({"task": task, "args": args, "kwargs": {}, "options": options, "subtask_type": null, "immutable": immutable})
    });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let of = |kind: &'static str| move |tasks: Vec<Value>| json!({"task": format!("celery.{kind}"), "args": [], "kwargs": {"tasks": tasks}, "options": {}, "subtask_type": kind, "immutable": false});
        let tasks = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            tasks().prop_map(of("chain")),
            tasks().prop_map(of("group")),
            (tasks(), inner.clone()).prop_map(|(header, body)| json!({"task": "celery.chord", "args": [], "kwargs": {"header": header, "body": body, "kwargs": {}}, "options": {}, "subtask_type": "chord", "immutable": false})),
        ]
    })
}

/// Returns the names of the single tasks in a canvas, callbacks aside, in order.
fn names(canvas: &Value) -> Vec<String> {
    let parts = &canvas["kwargs"];
    let of = |list: &Value| {
        list.as_array()
            .unwrap()
            .iter()
            .flat_map(names)
            .collect::<Vec<_>>()
    };
    match canvas["subtask_type"].as_str() {
        Some("chain" | "group") => of(&parts["tasks"]),
        Some("chord") => [of(&parts["header"]), names(&parts["body"])].concat(),
        _ => vec![canvas["task"].as_str().unwrap().to_owned()],
    }
}

proptest! {
    #[test]
    fn signatures_are_written_as_they_were_read(canvas in canvas()) {
        prop_assert_eq!(written(&read(&canvas)), canvas);
    }

    #[test]
    fn no_task_is_lost_or_added_when_canvases_follow_each_other(first in canvas(), next in canvas()) {
        if let Ok(result) = then(read(&first), read(&next)) {
            prop_assert_eq!(names(&written(&result)), [names(&first), names(&next)].concat());
        }
        let steps = chain(vec![read(&first), read(&next)]).unwrap();
        let steps: Vec<_> = steps.iter().flat_map(|step| names(&written(step))).collect();
        prop_assert_eq!(steps, [names(&first), names(&next)].concat());
    }
}
