//! Chords: begun, counted, ended, failed.

use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use celery_worker::consumer::Results;
use celery_worker::delivery::Outcome;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::broker::{Backend, Broker, DeadLetter};
use crate::rig::{Rig, failed, json, post, succeeded, task};

/// Returns a member of the header of chord `g`.
pub fn member(id: &str, index: i64, body: &RawValue) -> Task {
    let mut member = task(id);
    member.group = Some("g".into());
    member.group_index = Some(index);
    member.embed.chord = Some(body.to_owned());
    member
}

/// Returns the body of chord `g`.
pub fn body() -> Box<RawValue> {
    json(
        r#"{"task":"proj.xsum","args":[1],"kwargs":{},"options":{"task_id":"body","group_id":"g",
            "link_error":[{"task":"proj.errback","args":[],"kwargs":{},"options":{}}]},"subtask_type":null,"immutable":false}"#,
    )
}

/// Asserts that the body of chord `g` comes and ends the chord. Its argument is the results null,
/// 12345678901234567890 and 7, in the order of the header.
pub async fn the_body_comes_and_ends_the_chord<B: Broker>(broker: &mut B, rig: &mut Rig) {
    let called = rig.next().await;
    assert_eq!(
        (called.task.id.as_str(), called.task.args.get()),
        ("body", "[[null,12345678901234567890,7],1]")
    );
    assert_eq!(called.task.group.as_deref(), Some("g"));
    rig.settler.finish(called, succeeded("1"));
    broker.until_clean().await;
    assert_eq!(broker.backend().open_chords().await, 0);
}

pub async fn the_body_is_called_with_all_results<B: Broker>() {
    let mut broker = B::start().await;
    broker.backend().begin_chord("g", 3).await;
    assert_eq!(broker.backend().open_chords().await, 1);
    let mut rig = Rig::start(broker.options());
    let header =
        [("late", 2), ("first", 0), ("second", 1)].map(|(id, index)| member(id, index, &body()));
    post(&mut broker, "celery", &header).await;
    for result in ["7", "null", "12345678901234567890"] {
        let delivery = rig.next().await;
        assert_ne!(delivery.task.id, "body");
        rig.settler.finish(delivery, succeeded(result));
    }
    the_body_comes_and_ends_the_chord(&mut broker, &mut rig).await;
}

/// Asserts that a frozen chord may be called again. Celery sends all tasks of a header except the
/// last one before it stores the size of the chord.
pub async fn a_frozen_chord_may_be_applied_again<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let header =
        [("first", 0), ("second", 1), ("third", 2)].map(|(id, index)| member(id, index, &body()));
    let results = ["null", "12345678901234567890", "7"];
    for before_the_size in [0, 1, 2] {
        for (task, result) in header.iter().zip(results).take(before_the_size) {
            post(&mut broker, "celery", std::slice::from_ref(task)).await;
            let delivery = rig.next().await;
            rig.settler.finish(delivery, succeeded(result));
        }
        broker.until_clean().await;
        broker.backend().begin_chord("g", header.len()).await;
        post(&mut broker, "celery", &header[before_the_size..]).await;
        for result in &results[before_the_size..] {
            let delivery = rig.next().await;
            rig.settler.finish(delivery, succeeded(result));
        }
        the_body_comes_and_ends_the_chord(&mut broker, &mut rig).await;
    }
}

pub async fn a_failed_member_fails_the_body_when_all_have_ended<B: Broker>() {
    let mut broker = B::start().await;
    broker.backend().begin_chord("g", 3).await;
    let mut rig = Rig::start(broker.options());
    let mut revoked = member("c", 2, &body());
    revoked.expires = Some(Timestamp::from_unix(1, 0));
    let header = [member("a", 0, &body()), member("b", 1, &body()), revoked];
    post(&mut broker, "celery", &header).await;
    let first = rig.next().await;
    rig.settler.finish(first, failed());
    broker.until_status("a", "FAILURE").await;
    assert_eq!(broker.result("body").await, Value::Null);
    assert_eq!(rig.finish(1).await, ["b"]);
    let errback = rig.next().await;
    assert_eq!(
        (errback.task.name.as_str(), errback.task.args.get()),
        ("proj.errback", r#"["body"]"#)
    );
    assert_eq!(errback.task.parent_id.as_deref(), Some("body"));
    rig.settler.finish(errback, Outcome::Ignored);
    broker.until_clean().await;
    let stored = broker.result("body").await;
    assert_eq!(stored["result"]["exc_type"], "ChordError");
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Dependency a raised ValueError('boom')"
    );
    assert_eq!(broker.result("c").await["status"], "REVOKED");
}

pub async fn a_chord_in_a_chain_goes_on_with_the_chain<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
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
    post(&mut broker, "celery", &[first]).await;
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
        rig.settler.finish(delivery, succeeded(result));
    }
    broker.until_clean().await;
    assert_eq!(broker.backend().open_chords().await, 0);
    assert_eq!(broker.dead().await, []);
}

pub async fn a_failed_chain_in_a_header_is_counted_by_its_last_step<B: Broker>() {
    let mut broker = B::start().await;
    broker.backend().begin_chord("g", 1).await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(&format!(
        r#"[{{"task":"proj.mul","args":[3],"kwargs":{{}},"options":{{"task_id":"last","group_id":"g","group_index":0,"chord":{}}}}}]"#,
        body().get()
    )));
    post(&mut broker, "celery", &[first]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, failed());
    let errback = rig.next().await;
    assert_eq!(errback.task.args.get(), r#"["body"]"#);
    rig.settler.finish(errback, Outcome::Ignored);
    broker.until_clean().await;
    let stored = broker.result("body").await;
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Dependency last raised ValueError('boom')"
    );
}

pub async fn a_chord_that_cannot_be_counted_is_not_forgotten<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.results = Results::Disabled;
    let mut rig = Rig::start(options);
    let mut good = task("good");
    good.group = Some("g".into());
    good.embed.chord = Some(json(
        r#"{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body"}}"#,
    ));
    post(&mut broker, "celery", &[good]).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    let letter = DeadLetter::of("good", "proj.add", "follow-up");
    assert_eq!(broker.dead().await, [letter]);
}
