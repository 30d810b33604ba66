//! Chords: counted in the keys of Celery's backend, begun, ended, failed.

use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;
use celery_testkit::RedisOptions;
use celery_worker::consumer::Results;
use celery_worker::delivery::Verdict;
use serde_json::value::RawValue;

use crate::rig::{Broker, json, message, task};

/// A member of the header of chord `g`.
fn member(id: &str, index: i64, body: &RawValue) -> Task {
    let mut member = task(id);
    member.group = Some("g".into());
    member.group_index = Some(index);
    member.embed.chord = Some(body.to_owned());
    member
}

fn body() -> Box<RawValue> {
    json(
        r#"{"task":"proj.xsum","args":[1],"kwargs":{},"options":{"task_id":"body","group_id":"g",
            "link_error":[{"task":"proj.errback","args":[],"kwargs":{},"options":{}}]},"subtask_type":null,"immutable":false}"#,
    )
}

fn failed() -> Verdict {
    Verdict::Failure {
        exception: ExceptionDoc::new("ValueError", "boom", Some("builtins")),
        traceback: None,
    }
}

const STATE: [&str; 6] = [
    "EXISTS",
    "celery-taskset-meta-g.j",
    "celery-taskset-meta-g.t",
    "celery-taskset-meta-g.s",
    "celery-taskset-meta-g.d",
    "unacked",
];

#[tokio::test]
async fn the_body_is_called_with_all_results() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    // One member was counted by a Python worker.
    broker
        .ask(&[
            "ZADD",
            "celery-taskset-meta-g.j",
            "1",
            r#"[1, "p", "SUCCESS", 12345678901234567890]"#,
        ])
        .await;
    broker
        .ask(&["SADD", "celery-taskset-meta-g.d", "p:1"])
        .await;
    broker.ask(&["SET", "celery-taskset-meta-g.s", "3"]).await;
    let mut rig = broker.consume(broker.options());
    let messages = [("late", 2), ("first", 0)]
        .map(|(id, index)| message(&member(id, index, &body()), "celery"));
    broker.push("celery", &messages).await;
    for result in ["7", "null"] {
        let delivery = rig.next().await;
        rig.settler.finish(delivery, Verdict::Success(json(result)));
    }
    let called = rig.next().await;
    assert_eq!(
        (called.task.id.as_str(), called.task.args.get()),
        ("body", "[[null,12345678901234567890,7],1]")
    );
    assert_eq!(called.task.group.as_deref(), Some("g"));
    rig.settler.finish(called, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.ask(&STATE).await, "0");
    assert_eq!(
        broker.ask(&["GET", "celery-taskset-meta-g.c"]).await,
        "done"
    );
    // A copy that comes late begins nothing.
    broker.push("celery", &messages[..1]).await;
    assert_eq!(rig.finish(1).await, ["late"]);
    broker.until_clean().await;
    assert_eq!(broker.ask(&STATE).await, "0");
}

#[tokio::test]
async fn a_failed_member_fails_the_body_when_all_have_ended() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "celery-taskset-meta-g.s", "3"]).await;
    let mut rig = broker.consume(broker.options());
    let mut revoked = member("c", 2, &body());
    revoked.expires = Some(celery_protocol::time::Timestamp::from_unix(1, 0));
    let messages = [
        message(&member("a", 0, &body()), "celery"),
        message(&member("b", 1, &body()), "celery"),
        message(&revoked, "celery"),
    ];
    broker.push("celery", &messages).await;
    let first = rig.next().await;
    rig.settler.finish(first, failed());
    broker
        .until_like(&["GET", "celery-task-meta-a"], |doc| {
            doc.contains("FAILURE")
        })
        .await;
    assert_eq!(broker.ask(&["EXISTS", "celery-task-meta-body"]).await, "0");
    assert_eq!(rig.finish(1).await, ["b"]);
    let errback = rig.next().await;
    assert_eq!(
        (errback.task.name.as_str(), errback.task.args.get()),
        ("proj.errback", r#"["body"]"#)
    );
    assert_eq!(errback.task.parent_id.as_deref(), Some("body"));
    rig.settler.finish(errback, Verdict::Ignore);
    broker.until_clean().await;
    let stored = broker.result("body").await;
    assert_eq!(stored["result"]["exc_type"], "ChordError");
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Dependency a raised ValueError('boom')"
    );
    assert_eq!(broker.result("c").await["status"], "REVOKED");
}

#[tokio::test]
async fn a_chord_in_a_chain_goes_on_with_the_chain() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    // As Python 5.7 writes chain(add, group(add, chain(add, add)), xsum, mul).
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[2],"kwargs":{},"options":{"task_id":"end"},"subtask_type":null,"immutable":false},
            {"task":"celery.chord","args":[],"subtask_type":"chord","immutable":false,"options":{"task_id":"g"},"kwargs":{"kwargs":{},
             "header":{"task":"celery.group","args":[],"subtask_type":"group","immutable":false,"options":{"task_id":"g","root_id":null},"kwargs":{"tasks":[
              {"task":"proj.add","args":[10],"kwargs":{},"options":{"task_id":"x","group_index":0},"subtask_type":null,"immutable":false},
              {"task":"celery.chain","args":[],"subtask_type":"chain","immutable":false,"options":{},"kwargs":{"tasks":[
               {"task":"proj.add","args":[20],"kwargs":{},"options":{"task_id":"y"},"subtask_type":null,"immutable":false},
               {"task":"proj.add","args":[30],"kwargs":{},"options":{"task_id":"z"},"subtask_type":null,"immutable":false}]}}]}},
             "body":{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body"},"subtask_type":null,"immutable":false}}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    for (id, args, result) in [
        ("first", "[2,3]", "5"),
        ("x", "[5,10]", "15"),
        ("y", "[5,20]", "25"),
        ("z", "[25,30]", "55"),
        ("body", "[[15,55]]", "70"),
        ("end", "[70,2]", "140"),
    ] {
        let delivery = rig.next().await;
        let task = &delivery.task;
        assert_eq!((task.id.as_str(), task.args.get()), (id, args));
        assert_eq!(task.root(), "first");
        rig.settler.finish(delivery, Verdict::Success(json(result)));
    }
    broker.until_clean().await;
    assert_eq!(broker.ask(&STATE).await, "0");
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "0");
}

#[tokio::test]
async fn a_failed_chain_in_a_header_is_counted_by_its_last_step() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "celery-taskset-meta-g.s", "1"]).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(&format!(
        r#"[{{"task":"proj.mul","args":[3],"kwargs":{{}},"options":{{"task_id":"last","group_id":"g","group_index":0,"chord":{}}}}}]"#,
        body().get()
    )));
    broker.push("celery", &[message(&first, "celery")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, failed());
    let errback = rig.next().await;
    assert_eq!(errback.task.args.get(), r#"["body"]"#);
    rig.settler.finish(errback, Verdict::Ignore);
    broker.until_clean().await;
    let stored = broker.result("body").await;
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Dependency last raised ValueError('boom')"
    );
}

#[tokio::test]
async fn a_claim_that_died_with_its_worker_is_found_again() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "celery-taskset-meta-g.s", "1"]).await;
    broker
        .ask(&[
            "ZADD",
            "celery-taskset-meta-g.j",
            "0",
            r#"[1,"a","SUCCESS",5]"#,
        ])
        .await;
    broker
        .ask(&["SADD", "celery-taskset-meta-g.d", "a:0"])
        .await;
    broker
        .ask(&["SET", "celery-taskset-meta-g.c", "rs:a:0", "EX", "30"])
        .await;
    let mut rig = broker.consume(broker.options());
    let again = message(&member("a", 0, &body()), "celery");
    broker.push("celery", &[again]).await;
    assert_eq!(rig.finish(2).await, ["a", "body"]);
    broker.until_clean().await;
}

#[tokio::test]
async fn a_body_that_another_claimed_is_left_to_it() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "celery-taskset-meta-g.s", "1"]).await;
    broker
        .ask(&[
            "SET",
            "celery-taskset-meta-g.c",
            "0123456789abcdef",
            "EX",
            "30",
        ])
        .await;
    let mut rig = broker.consume(broker.options());
    let messages = [
        message(&member("a", 0, &body()), "celery"),
        message(&task("b"), "celery"),
    ];
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(2).await, ["a", "b"]);
    broker.until_clean().await;
    assert_eq!(
        broker.ask(&["EXISTS", "celery-taskset-meta-g.j"]).await,
        "1"
    );
    assert!(rig.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn chords_are_kept_where_results_are() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut backend = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.results = Results::Server(backend.endpoint.clone());
    let mut rig = broker.consume(options);
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"celery.chord","args":[],"subtask_type":"chord","options":{},"kwargs":{"kwargs":{},
             "header":[{"task":"proj.add","args":[10],"kwargs":{},"options":{"task_id":"x"}},
                       {"task":"proj.add","args":[20],"kwargs":{},"options":{"task_id":"y"}}],
             "body":{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body"}}}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    assert_eq!(rig.finish(4).await, ["first", "x", "y", "body"]);
    broker.until_clean().await;
    assert_eq!(backend.result("body").await["status"], "SUCCESS");
    backend
        .until_like(&["KEYS", "celery-taskset-meta-*"], |keys| {
            keys.ends_with(".c]") && !keys.contains(' ')
        })
        .await;
    assert_eq!(broker.ask(&["KEYS", "celery-task*"]).await, "[]");
}

#[tokio::test]
async fn options_of_a_follow_up_are_kept() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"task_id":"late","expires":60,"shadow":"shade","headers":{"x":1},
              "eta":{"__type__":"datetime","__value__":"2020-01-02T03:04:05+00:00"},"stamped_headers":["s"],"s":["v"]}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    let late = rig.next().await;
    let task = &late.task;
    assert!(task.expires.is_some() && task.eta.is_some());
    assert_eq!(task.shadow.as_deref(), Some("shade"));
    assert_eq!(task.headers.get("x").map(RawValue::get), Some("1"));
    assert_eq!(task.stamps.get("s").map(RawValue::get), Some(r#"["v"]"#));
    rig.settler.finish(late, Verdict::Ignore);
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "0");
}

#[tokio::test]
async fn a_follow_up_to_a_key_that_is_no_list_does_not_repeat_its_parent() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "taken", "x"]).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
    let mut rig = broker.consume(options);
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"queue":"taken"}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    broker.until_clean().await;
    assert_eq!(broker.result("first").await["status"], "SUCCESS");
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "1");
}
