//! Tests of Celery's built-in tasks.

use super::{
    Signature, Whole, add, add_of, again, batched_add, blocking_add, call, echo, echo_of, fail,
    json, replaced,
};
use serde_json::Value;
use serde_json::value::to_raw_value;

/// Calls `celery.NAME` and compares its end: the value, or the type of the exception.
async fn ends(name: &str, args: Value, kwargs: Value, end: Result<Value, &str>) {
    let tasks = [
        add::task(),
        blocking_add::task(),
        batched_add::task(),
        echo::task(),
        fail::task(),
        again::task(),
        replaced::task(),
    ];
    let worker = Whole::start(tasks);
    let mut task = call(&format!("celery.{name}"), &args);
    task.kwargs = to_raw_value(&kwargs).unwrap();
    let ended = worker.call(&task).await;
    let found = match ended["status"].as_str() {
        Some("SUCCESS") => Ok(ended["result"].clone()),
        _ => Err(ended["result"]["exc_type"].as_str().unwrap()),
    };
    assert_eq!(found, end, "{name} {args} {kwargs}");
    assert_eq!(worker.stop().await, [""; 0]);
}

#[tokio::test]
async fn simple_tasks_do_what_celerys_do() {
    let none = || json!({});
    let both = || json!([1, "b"]);
    let index = |index: Value| json!({ "index": index });
    ends("accumulate", both(), none(), Ok(both())).await;
    ends("accumulate", both(), index(json!(1)), Ok(json!("b"))).await;
    ends("accumulate", both(), index(json!(-2)), Ok(json!(1))).await;
    ends("accumulate", both(), index(Value::Null), Ok(both())).await;
    ends("accumulate", both(), index(json!(2)), Err("IndexError")).await;
    ends("accumulate", both(), index(json!(-3)), Err("IndexError")).await;
    ends(
        "accumulate",
        both(),
        index(json!(i64::MIN)),
        Err("IndexError"),
    )
    .await;
    ends("backend_cleanup", json!([]), none(), Ok(Value::Null)).await;
    ends("chain", both(), index(json!(1)), Err("NotImplementedError")).await;
    let named = json!({ "task": "add" });
    ends(
        "chunks",
        json!([named, [[1, 2]], 0]),
        none(),
        Err("ValueError"),
    )
    .await;
}

#[tokio::test]
async fn maps_call_the_task_with_each_item() {
    let named = |name: &str| json!({ "task": name, "args": [9], "kwargs": {}, "options": {} });
    let map = async |name: &str, items: Value, end| {
        ends("map", json!([named(name), items]), json!({}), end).await;
    };
    map("echo", json!([1, [2]]), Ok(json!([[1], [[2]]]))).await;
    map("echo", json!([]), Ok(json!([]))).await;
    map("echo", json!(vec![0; 100]), Ok(json!(vec![[0]; 100]))).await;
    map("add", json!([1]), Err("TypeError")).await;
    map("fail", json!([1]), Err("ValueError")).await;
    map("again", json!([1]), Err("Retry")).await;
    map("absent", json!([1]), Err("NotRegistered")).await;
    map("replaced", json!(["task"]), Err("RuntimeError")).await;
    let pairs = json!([[1, 2], [3, 4], [5, 6]]);
    for task in ["add", "blocking_add", "batched_add"] {
        let sums = Ok(json!([3, 7, 11]));
        let kwargs = json!({ "task": named(task), "it": pairs });
        ends("starmap", json!([]), kwargs, sums.clone()).await;
        ends("starmap", json!([named(task), pairs]), json!({}), sums).await;
    }
    ends(
        "starmap",
        json!([named("add"), [1]]),
        json!({}),
        Err("TypeError"),
    )
    .await;
}

/// A chord whose members no worker counts: `celery.chord_unlock` looks for their results.
#[tokio::test]
async fn a_chord_is_unlocked_when_its_header_is_done() {
    let tuple = |id: &str| json!([[id, null], null]);
    for (second, expected) in [
        (add_of(json!([2, 2])), Ok(json!([[3, [4]]]))),
        (
            Signature::new("fail"),
            Err("Dependency b raised ValueError('deliberate')"),
        ),
    ] {
        let worker = Whole::start([add::task(), echo::task(), fail::task()]);
        let errback = echo_of("errback");
        let body = echo_of("body").link_error(errback);
        let mut unlock = call("celery.chord_unlock", &json!(["group", body]));
        let header = json!([tuple("a"), [["inner", null], [tuple("b")]]]);
        let kwargs =
            json!({ "result": header, "interval": 0.05, "_chord_unlock_exchange_type": "direct" });
        unlock.kwargs = to_raw_value(&kwargs).unwrap();
        worker.post(&unlock);
        // It has looked in vain, and looks again.
        let members = [add_of(json!([1, 2])), second];
        for (id, member) in ["a", "b"].into_iter().zip(members) {
            let sends = json!([[member.option("task_id", id)], [["g", null], []], "g", []]);
            let mut sender = call("celery.group", &sends);
            sender.id = format!("sends {id}");
            worker.post(&sender);
        }
        let ended = worker.end_of("body").await;
        match expected {
            Ok(value) => assert_eq!(ended["result"], value),
            Err(why) => {
                assert_eq!(ended["result"]["exc_type"], "ChordError");
                assert_eq!(ended["result"]["exc_message"], json!([why]));
                assert_eq!(worker.end_of("errback").await["result"], json!(["body"]));
            }
        }
        // As in Celery, its own result is ignored.
        assert!(worker.server.result(&unlock.id).is_none());
        assert_eq!(worker.stop().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_chord_whose_header_does_not_end_fails_when_no_look_is_left() {
    let worker = Whole::start([echo::task()]);
    let header = json!([[["a", null], null]]);
    let unlock = json!(["group", echo_of("body"), 0.01, 2, header]);
    worker.post(&call("celery.chord_unlock", &unlock));
    let ended = worker.end_of("body").await;
    let why = ended["result"]["exc_message"][0].as_str().unwrap();
    assert!(
        why.starts_with("chord_unlock could not be retried: MaxRetries"),
        "{why}"
    );
    assert_eq!(worker.stop().await, [""; 0]);
}

#[tokio::test]
async fn the_built_in_tasks_send_what_celerys_send() {
    let worker = Whole::start([add::task(), echo::task()]);
    let named = json!({ "task": "add", "args": [], "kwargs": {}, "options": {} });
    let numbers = json!([[1, 2], [3, 4], [5, 6]]);
    let sent = worker
        .call(&call("celery.chunks", &json!([named, numbers, 2])))
        .await;
    let (mut values, parts) = (Vec::new(), sent["result"][1].as_array().unwrap().clone());
    for part in parts {
        values.push(worker.end_of(part[0][0].as_str().unwrap()).await["result"].clone());
    }
    assert_eq!(json!(values), json!([[3, 7], [11]]));

    let members = [
        add_of(json!([10])).option("task_id", "x"),
        add_of(json!([20])).option("task_id", "y"),
    ];
    let result = json!([["group", null], [[["x", null], null], [["y", null], null]]]);
    let args = json!([members, result, "group", [1]]);
    let ended = worker.call(&call("celery.group", &args)).await;
    assert_eq!(ended["result"], result);
    for (id, value) in [("x", 11), ("y", 21)] {
        let ended = worker.end_of(id).await;
        assert_eq!(
            (&ended["result"], &ended["group_id"]),
            (&json!(value), &json!("group"))
        );
    }

    let header = [add_of(json!([1])), add_of(json!([2]))];
    let ended = worker
        .call(&call(
            "celery.chord",
            &json!([header, echo_of("body"), [5]]),
        ))
        .await;
    assert_eq!(ended["result"][0][0], "body");
    assert_eq!(worker.end_of("body").await["result"], json!([[6, 7]]));
    assert_eq!(worker.stop().await, [""; 0]);
}
