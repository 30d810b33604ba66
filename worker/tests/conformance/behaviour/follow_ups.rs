//! The messages that are published after a task: callbacks, errbacks, chains, groups.

use celery_worker::delivery::Outcome;
use serde_json::value::RawValue;

use crate::broker::Broker;
use crate::rig::{Rig, failed, json, post, succeeded, task};

pub async fn a_chain_goes_on_with_the_result<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"task_id":"third"},"subtask_type":null,"immutable":true},
            {"task":"proj.mul","args":[3],"kwargs":{"x":1},"options":{"task_id":"second"},"subtask_type":null,"immutable":false}]"#,
    ));
    first.embed.callbacks = Some(json(
        r#"[{"task":"proj.echo","args":[],"kwargs":{},"options":{"task_id":"told"}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    for _ in 0..2 {
        let delivery = rig.next().await;
        let task = &delivery.task;
        assert_eq!(
            (task.parent_id.as_deref(), task.root()),
            (Some("first"), "first")
        );
        match task.id.as_str() {
            "told" => assert_eq!((task.name.as_str(), task.args.get()), ("proj.echo", "[5]")),
            "second" => assert_eq!(
                (task.args.get(), task.kwargs.get()),
                ("[5,3]", r#"{"x":1}"#)
            ),
            other => panic!("{other}"),
        }
        rig.settler.finish(delivery, succeeded("15"));
    }
    let third = rig.next().await;
    assert_eq!(
        (third.task.id.as_str(), third.task.args.get()),
        ("third", "[4]")
    );
    assert_eq!(
        (third.task.parent_id.as_deref(), third.task.root()),
        (Some("second"), "first")
    );
    rig.settler.finish(third, succeeded("4"));
    broker.until_clean().await;
    let children = broker.result("first").await["children"].clone();
    assert_eq!(
        children,
        serde_json::json!([[["told", null], null], [["second", null], null]])
    );
}

pub async fn a_failed_step_fails_the_rest_of_its_chain<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[],"kwargs":{},"options":{"task_id":"second"}}]"#,
    ));
    first.embed.errbacks = Some(json(
        r#"[{"task":"proj.errback","args":[],"kwargs":{},"options":{}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, failed());
    let errback = rig.next().await;
    assert_eq!(
        (errback.task.name.as_str(), errback.task.args.get()),
        ("proj.errback", r#"["first"]"#)
    );
    rig.settler.finish(errback, Outcome::Ignored);
    broker.until_clean().await;
    assert_eq!(
        broker.result("second").await["result"]["exc_type"],
        "ValueError"
    );
}

pub async fn a_chain_may_end_with_a_group<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"celery.group","args":[],"options":{"task_id":"g"},"subtask_type":"group","kwargs":{"tasks":[
            {"task":"proj.mul","args":[2],"kwargs":{},"options":{"task_id":"x"}},
            {"task":"proj.mul","args":[3],"kwargs":{},"options":{"task_id":"y"}}]}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    for (id, args, index) in [("x", "[5,2]", 0), ("y", "[5,3]", 1)] {
        let member = rig.next().await;
        assert_eq!(
            (member.task.id.as_str(), member.task.args.get()),
            (id, args)
        );
        assert_eq!(
            (member.task.group.as_deref(), member.task.group_index),
            (Some("g"), Some(index))
        );
        rig.settler.finish(member, Outcome::Ignored);
    }
    broker.until_clean().await;
}

pub async fn options_of_a_follow_up_are_kept<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"task_id":"late","expires":60,"shadow":"shade","headers":{"x":1},
              "eta":{"__type__":"datetime","__value__":"2020-01-02T03:04:05+00:00"},"stamped_headers":["s"],"s":["v"]}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    let late = rig.next().await;
    let task = &late.task;
    assert!(task.expires.is_some() && task.eta.is_some());
    assert_eq!(task.shadow.as_deref(), Some("shade"));
    assert_eq!(task.headers.get("x").map(RawValue::get), Some("1"));
    assert_eq!(task.stamps.get("s").map(RawValue::get), Some(r#"["v"]"#));
    rig.settler.finish(late, Outcome::Ignored);
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}

pub async fn a_follow_up_may_go_to_a_queue_that_does_not_exist_yet<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut first = task("first");
    let options = format!(
        r#"{{"task_id":"then","queue":"elsewhere","priority":{}}}"#,
        B::LAST_PRIORITY
    );
    first.embed.chain = Some(json(&format!(
        r#"[{{"task":"proj.mul","args":[4],"kwargs":{{}},"options":{options}}}]"#
    )));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    broker.until_clean().await;
    broker.until_depth("elsewhere", 1, 0).await;
    let mut options = broker.options();
    options.queues = vec!["elsewhere".into()];
    let mut rig = Rig::start(options);
    let then = rig.next().await;
    assert_eq!(then.task.priority(), B::LAST_PRIORITY);
    assert_eq!((then.task.id.as_str(), &*then.queue), ("then", "elsewhere"));
    rig.settler.finish(then, succeeded("1"));
    broker.until_depth("elsewhere", 0, 0).await;
}
