//! Every answer beside Python's.

use serde_json::{Value, json};

use super::broker::{Broker, on_each_broker};
use super::shapes::differences;
use super::world::{
    Asking, OURS, PYTHON, in_an_hour, playground, post, post_with, start, start_python,
};

/// Longer than any test takes: the task is dropped with its worker.
const LONG: &str = "[600]";

/// Puts a task that runs, one that waits for a slot and one that waits for its ETA on a worker.
pub fn occupy(broker: &impl Broker, asking: &mut Asking, node: &str, queue: &str) {
    let id = |state: &str| format!("{queue}-{state}");
    post(broker, queue, &id("active"), "proj.sleep", LONG);
    asking.wait_for(node, "active", |active| {
        active.as_array().unwrap().len() == 1
    });
    post_with(
        broker,
        queue,
        &id("reserved"),
        "proj.echo",
        r#"[1, "two", null]"#,
        |task| {
            task.properties.priority = Some(3);
        },
    );
    post_with(
        broker,
        queue,
        &id("scheduled"),
        "proj.echo",
        "[{}]",
        |task| {
            task.eta = Some(in_an_hour());
        },
    );
    asking.wait_for(node, "reserved", |held| {
        held.as_array()
            .unwrap()
            .iter()
            .any(|it| it["id"] == id("reserved"))
    });
    asking.wait_for(node, "scheduled", |held| {
        held.as_array().unwrap().len() == 1
    });
}

on_each_broker! {
    answers_have_the_shape_of_pythons
    values_are_the_workers_own
    a_worker_is_addressed_by_name_and_pattern_and_stops_when_asked
}

/// Returns the requests to which both workers give the same answer, letter by letter.
fn letter_by_letter() -> Vec<(&'static str, Value)> {
    vec![
        ("no_such_command", json!({"a": 1})),
        ("it's", json!({})),
        ("autoscale", json!({"max": 3, "min": 1})),
        ("pool_restart", json!({})),
        ("query_task", json!({})),
        ("ping", json!({"unknown": 1})),
        ("revoke", json!({"task_id": "unknown"})),
        ("revoke", json!({"task_id": []})),
        ("revoke", json!({})),
        (
            "revoke",
            json!({"task_id": ["unknown"], "terminate": true, "signal": "SIGKILL"}),
        ),
        ("terminate", json!({"task_id": "unknown", "signal": "TERM"})),
        (
            "revoke_by_stamped_headers",
            json!({"headers": {"tenant": ["acme"]}}),
        ),
        (
            "revoke_by_stamped_headers",
            json!({"headers": {"tenant": "acme2"}, "terminate": true}),
        ),
        ("revoke_by_stamped_headers", json!({"headers": ["a=b"]})),
        ("revoke_by_stamped_headers", json!({})),
        ("time_limit", json!({"task_name": "unknown", "soft": 1})),
        (
            "rate_limit",
            json!({"task_name": "unknown", "rate_limit": "1/s"}),
        ),
        (
            "time_limit",
            json!({"task_name": "proj.echo", "soft": 60, "hard": 120.5}),
        ),
        ("time_limit", json!({"task_name": "proj.echo"})),
        ("time_limit", json!({})),
        (
            "rate_limit",
            json!({"task_name": "proj.fail", "rate_limit": "10/m"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "proj.fail", "rate_limit": "0/s"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "proj.fail", "rate_limit": 3}),
        ),
        (
            "rate_limit",
            json!({"task_name": "proj.fail", "rate_limit": 0}),
        ),
        (
            "rate_limit",
            json!({"task_name": "proj.fail", "rate_limit": null}),
        ),
        ("rate_limit", json!({"task_name": "proj.fail"})),
        ("pool_grow", json!({})),
        ("pool_grow", json!({"n": 2})),
        ("revoked", json!({})),
        ("dump_revoked", json!({})),
        ("add_consumer", json!({"queue": "more"})),
        ("add_consumer", json!({})),
        ("cancel_consumer", json!({"queue": "more"})),
        ("cancel_consumer", json!({"queue": "unknown"})),
        ("cancel_consumer", json!({})),
    ]
}

fn answers_have_the_shape_of_pythons(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut ours = playground(&broker, &["-c", "1", "-Q", "ours"]);
    broker.hold_waiting_tasks(&mut ours);
    let _ours = start(&mut ours);
    let _python = start_python(&broker, "theirs").unwrap();
    occupy(&broker, &mut asking, OURS, "ours");
    occupy(&broker, &mut asking, PYTHON, "theirs");

    let ids = json!({"ids": ["ours-active", "theirs-active"]});
    let mut wrong = Vec::new();
    for (method, arguments, allowed) in [
        ("ping", json!({}), &[][..]),
        ("clock", json!({}), &[]),
        ("active", json!({}), &[]),
        ("active", json!({"safe": true}), &[]),
        ("dump_active", json!({}), &[]),
        ("reserved", json!({}), &[]),
        ("scheduled", json!({}), &[]),
        ("dump_schedule", json!({}), &[]),
        // The ids differ.
        ("query_task", ids, &[".ours-active", ".theirs-active"]),
        ("registered", json!({}), &[]),
        ("registered", json!({"taskinfoitems": ["acks_late"]}), &[]),
        ("active_queues", json!({}), &[]),
        ("report", json!({}), &[]),
        // Counts by task; a pool without pipes; the limits of tasks, which only this worker has.
        ("stats", json!({}), &[".total", ".pool.writes", ".limits"]),
        (
            "hello",
            json!({"from_node": "other@test", "revoked": ["unknown"]}),
            &[],
        ),
        (
            "hello",
            json!({"from_node": "other@test", "revoked": {"unknown": 1.5}}),
            &[],
        ),
        // Python needs psutil for a number.
        ("memsample", json!({}), &[""]),
    ] {
        let python = asking.ask(PYTHON, method, arguments.clone());
        let ours = asking.ask(OURS, method, arguments);
        let found = differences(&python, &ours, allowed);
        wrong.extend(found.into_iter().map(|it| format!("{method} {it}")));
    }
    for (method, arguments) in letter_by_letter() {
        let python = asking.ask(PYTHON, method, arguments.clone());
        let ours = asking.ask(OURS, method, arguments);
        if python != ours {
            wrong.push(format!("{method}: {python} and {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn values_are_the_workers_own(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let options = ["-c", "1", "-Q", "ours,more", "--prefetch-multiplier", "70"];
    let mut command = playground(&broker, &options);
    broker.hold_waiting_tasks(&mut command);
    let worker = start(&mut command);
    occupy(&broker, &mut asking, OURS, "ours");

    let active = asking.ask(OURS, "active", json!({}));
    assert_eq!(active.as_array().unwrap().len(), 1);
    let active = &active[0];
    assert_eq!(active["id"], "ours-active");
    assert_eq!(
        (&active["name"], &active["type"]),
        (&json!("proj.sleep"), &json!("proj.sleep"))
    );
    assert_eq!(
        (&active["args"], &active["kwargs"]),
        (&json!([600]), &json!({}))
    );
    assert_eq!(
        (&active["hostname"], &active["worker_pid"]),
        (&json!(OURS), &json!(worker.pid()))
    );
    assert!(active["time_start"].as_f64().unwrap() > 1e9);
    let reserved = asking.ask(OURS, "reserved", json!({}));
    assert_eq!(reserved[0]["args"], json!([1, "two", null]));
    assert_eq!(reserved[0]["delivery_info"]["priority"], 3);
    assert_eq!(
        (&reserved[0]["time_start"], &reserved[0]["worker_pid"]),
        (&Value::Null, &Value::Null)
    );
    let scheduled = asking.ask(OURS, "scheduled", json!({}));
    assert_eq!(scheduled[0]["request"]["id"], "ours-scheduled");
    assert!(scheduled[0]["eta"].as_str().unwrap().ends_with("+00:00"));

    let ids = json!({"ids": ["ours-scheduled", "ours-reserved", "ours-active", "unknown"]});
    let states = asking.ask(OURS, "query_task", ids);
    assert_eq!(states.as_object().unwrap().len(), 3);
    for state in ["active", "reserved", "scheduled"] {
        assert_eq!(states[format!("ours-{state}")][0], state);
    }
    let one = asking.ask(OURS, "query_task", json!({"ids": "ours-scheduled"}));
    assert_eq!(one["ours-scheduled"][0], "scheduled");

    let stats = asking.ask(OURS, "stats", json!({}));
    assert_eq!(
        (&stats["pid"], &stats["total"]),
        (&json!(worker.pid()), &json!({"proj.sleep": 1}))
    );
    assert_eq!(
        (&stats["pool"]["max-concurrency"], &stats["prefetch_count"]),
        (&json!(1), &json!(70))
    );
    let queues = asking.ask(OURS, "active_queues", json!({}));
    assert_eq!(
        (&queues[0]["name"], &queues[1]["name"]),
        (&json!("ours"), &json!("more"))
    );
    let registered = asking.ask(
        OURS,
        "registered",
        json!({"taskinfoitems": ["acks_late", "none"]}),
    );
    let registered: Vec<&str> = registered
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        registered.contains(&"proj.echo [acks_late=True]"),
        "{registered:?}"
    );
    assert!(registered.is_sorted());
    let conf = asking.ask(OURS, "conf", json!({}));
    assert_eq!(
        (&conf["worker_concurrency"], &conf["task_queues"]),
        (&json!(1), &json!(["ours", "more"]))
    );
    let report = asking.ask(OURS, "report", json!({}));
    assert!(
        report["ok"]
            .as_str()
            .unwrap()
            .contains("worker_concurrency: 1\n"),
        "{report}"
    );
}

fn a_worker_is_addressed_by_name_and_pattern_and_stops_when_asked(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut worker = start(&mut playground(&broker, &[]));
    let pong = json!({OURS: {"ok": "pong"}});
    for (request, answers) in [
        (json!({}), true),
        (json!({"destination": [OURS, "other@test"]}), true),
        (json!({"pattern": "rust@*", "matcher": "glob"}), true),
        (json!({"pattern": "r.*t$", "matcher": "pcre"}), true),
        (json!({"destination": ["rust"]}), false),
        (json!({"pattern": "python@*", "matcher": "glob"}), false),
        (json!({"pattern": "(", "matcher": "pcre"}), false),
        (json!({"pattern": "rust@*", "matcher": "unknown"}), false),
    ] {
        let mut asked = request.clone();
        asked["method"] = json!("ping");
        if !answers {
            // The worker answers a second request, so it has heard the first.
            asked["timeout"] = json!(0.01);
        }
        let heard = Value::from(asking.send(&asked));
        assert_eq!(heard == pong, answers, "{request}");
        assert_eq!(asking.ask(OURS, "ping", json!({})), pong[OURS]);
    }
    assert_eq!(broker.hearers(), 1);
    asking.send(&json!({"method": "shutdown", "limit": 0}));
    worker
        .wait_for_line(super::world::PATIENCE, "Got shutdown from remote")
        .unwrap();
    assert!(worker.wait(super::world::PATIENCE).unwrap().success());
    assert_eq!(broker.hearers(), 0);
}
