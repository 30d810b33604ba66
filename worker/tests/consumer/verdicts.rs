//! What each verdict does to broker and results.

use std::time::Duration;

use celery_protocol::result::ExceptionDoc;
use celery_protocol::time::Timestamp;
use celery_testkit::RedisOptions;
use celery_worker::Phase;
use celery_worker::consumer::Results;
use celery_worker::delivery::Verdict;
use serde_json::Value;

use crate::rig::{Broker, DEADLINE, json, message, task};

fn boom() -> ExceptionDoc {
    ExceptionDoc::new("ValueError", "boom", Some("builtins"))
}

#[tokio::test]
async fn a_success_is_stored_and_acknowledged() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let delivery = rig.next().await;
    assert_eq!(
        (&*delivery.queue, delivery.task.args.get()),
        ("celery", "[2,3]")
    );
    assert!(
        broker
            .ask(&["HVALS", "unacked"])
            .await
            .ends_with(r#","","celery"]]"#)
    );
    rig.settler.finish(delivery, Verdict::Success(json("5")));
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(
        (&stored["status"], &stored["result"]),
        (&"SUCCESS".into(), &5.into())
    );
    assert!(stored["date_done"].as_str().unwrap().ends_with("+00:00"));
    let ttl = broker.ask(&["TTL", "celery-task-meta-a"]).await;
    assert!((86_000..=86_400).contains(&ttl.parse().unwrap()), "{ttl}");
}

#[tokio::test]
async fn without_results_only_the_acknowledgement_remains() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.results = Results::Disabled;
    let mut rig = broker.consume(options);
    let messages: Vec<_> = (0..300)
        .map(|n| message(&task(&n.to_string()), "celery"))
        .collect();
    broker.push("celery", &messages).await;
    let ids = rig.finish(300).await;
    assert_eq!(ids, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    broker.until_clean().await;
    assert_eq!(broker.ask(&["KEYS", "celery-task-meta-*"]).await, "[]");
    // Few, large calls.
    let stats = broker.ask(&["INFO", "commandstats"]).await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))
        .unwrap();
    let calls: usize = calls.split(',').next().unwrap().parse().unwrap();
    assert!(calls <= 30, "{calls} calls for 300 tasks");
}

#[tokio::test]
async fn ignored_results_are_not_stored_nor_are_their_errors() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut asked = task("asked");
    asked.ignore_result = Some(true);
    let mut typed = task("typed");
    typed.name = "silent".into();
    broker
        .push(
            "celery",
            &[message(&asked, "celery"), message(&typed, "celery")],
        )
        .await;
    let first = rig.next().await;
    rig.settler.finish(first, Verdict::Success(json("5")));
    let second = rig.next().await;
    rig.settler.finish(
        second,
        Verdict::Failure {
            exception: boom(),
            traceback: None,
        },
    );
    broker.until_clean().await;
    assert_eq!(broker.ask(&["KEYS", "celery-task-meta-*"]).await, "[]");
}

#[tokio::test]
async fn a_failure_is_stored_with_its_exception() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let delivery = rig.next().await;
    let traceback = Some("Traceback: here".to_owned());
    rig.settler.finish(
        delivery,
        Verdict::Failure {
            exception: boom(),
            traceback,
        },
    );
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "ValueError");
    assert_eq!(stored["result"]["exc_message"], serde_json::json!(["boom"]));
    assert_eq!(stored["traceback"], "Traceback: here");
}

#[tokio::test]
async fn a_retry_publishes_the_task_again_until_there_were_enough() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    for retries in 0..=2 {
        let delivery = rig.next().await;
        assert_eq!(
            (delivery.task.id.as_str(), delivery.task.retries),
            ("a", retries)
        );
        rig.settler.finish(
            delivery,
            Verdict::Retry {
                countdown: Duration::from_millis(50),
                reason: (retries < 2).then(boom),
                traceback: None,
                max_retries: Some(2),
            },
        );
        if retries < 2 {
            broker
                .until_like(&["GET", "celery-task-meta-a"], |doc| doc.contains("RETRY"))
                .await;
        }
    }
    broker.until_clean().await;
    let stored = broker.result("a").await;
    assert_eq!(stored["status"], "FAILURE");
    assert_eq!(stored["result"]["exc_type"], "MaxRetriesExceededError");
    assert_eq!(
        stored["result"]["exc_message"][0],
        "Can't retry proj.add[a] args:(2, 3) kwargs:{}"
    );
    assert_eq!(stored["parent_id"], "a");
}

#[tokio::test]
async fn ignore_reject_and_give_back() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let raw = message(&task("kept"), "celery");
    broker
        .push(
            "celery",
            &[
                message(&task("ignored"), "celery"),
                message(&task("rejected"), "celery"),
            ],
        )
        .await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, Verdict::Ignore);
    let delivery = rig.next().await;
    rig.settler
        .finish(delivery, Verdict::Reject { requeue: false });
    broker.until_clean().await;
    assert_eq!(broker.result("ignored").await, Value::Null);
    assert_eq!(
        broker.result("rejected").await["result"]["exc_type"],
        "Reject"
    );
    assert!(
        broker
            .ask(&["XRANGE", "celery.dead", "-", "+"])
            .await
            .contains("cause rejected")
    );

    broker.push("celery", std::slice::from_ref(&raw)).await;
    let delivery = rig.next().await;
    rig.settler
        .finish(delivery, Verdict::Reject { requeue: true });
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    // With the shutdown begun, what is given back stays in the list.
    rig.shutdown.advance(Phase::Warm);
    rig.settler
        .finish(delivery, Verdict::GiveBack { started: true });
    assert_eq!(rig.consumer.close(DEADLINE).await, Default::default());
    assert_eq!(
        broker.ask(&["EXISTS", "unacked", "unacked_index"]).await,
        "0"
    );
    let back = broker.ask(&["LRANGE", "celery", "0", "-1"]).await;
    assert!(back.contains(r#""redelivered":true"#), "{back}");
}

#[tokio::test]
async fn what_was_not_started_goes_back_unchanged_and_in_order() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let raw: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|id| message(&task(id), "celery"))
        .collect();
    broker.push("celery", &raw).await;
    let held = [rig.next().await, rig.next().await, rig.next().await];
    rig.shutdown.advance(Phase::Warm);
    for delivery in held.into_iter().rev() {
        rig.settler
            .finish(delivery, Verdict::GiveBack { started: false });
    }
    assert!(rig.deliveries.recv().await.is_none());
    assert_eq!(rig.consumer.close(DEADLINE).await, Default::default());
    let wanted: Vec<_> = raw
        .iter()
        .rev()
        .map(|m| String::from_utf8_lossy(m))
        .collect();
    assert_eq!(
        broker.ask(&["LRANGE", "celery", "0", "-1"]).await,
        format!("[{}]", wanted.join(" "))
    );
}

#[tokio::test]
async fn a_message_with_an_eta_waits_without_a_place() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.held = 1;
    let mut rig = broker.consume(options);
    let mut far = task("far");
    far.eta = Some(Timestamp::parse("2999-01-01T00:00:00Z").unwrap());
    let mut soon = task("soon");
    soon.eta = Some(celery_protocol::time::Timestamp::from_unix_micros(
        now_micros() + 400_000,
    ));
    let messages: Vec<_> = [&far, &soon, &task("now")]
        .map(|t| message(t, "celery"))
        .into();
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(2).await, ["now", "soon"]);
    broker.until(&["LLEN", "celery"], "0").await;
    broker.until(&["HLEN", "unacked"], "1").await;
    assert_eq!(rig.consumer.parked(), 1);
    let index = broker
        .ask(&["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"])
        .await;
    assert!(index.contains("32472144000"), "{index}");
    rig.shutdown.advance(Phase::Draining);
    broker.until(&["LLEN", "celery"], "1").await;
    assert_eq!(
        broker.ask(&["EXISTS", "unacked", "unacked_index"]).await,
        "0"
    );
    assert_eq!(rig.consumer.close(DEADLINE).await, Default::default());
}

#[tokio::test]
async fn no_more_become_due_than_there_is_room_for() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.held = 2;
    let mut rig = broker.consume(options);
    let eta = now_micros() + 500_000;
    let messages: Vec<_> = (0..6)
        .map(|n| {
            let mut late = task(&n.to_string());
            late.eta = Some(Timestamp::from_unix_micros(eta + n));
            message(&late, "celery")
        })
        .collect();
    broker.push("celery", &messages).await;
    let mut first = vec![rig.next().await, rig.next().await];
    broker.until(&["LLEN", "celery"], "4").await;
    assert_eq!(broker.ask(&["HLEN", "unacked"]).await, "2");
    assert_eq!(rig.consumer.parked(), 0);
    let mut ids: Vec<String> = first.iter().map(|d| d.task.id.clone()).collect();
    for delivery in first.drain(..) {
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
    ids.extend(rig.finish(4).await);
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5"]);
    broker.until_clean().await;
}

fn now_micros() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_micros().try_into().unwrap()
}

#[tokio::test]
async fn no_more_wait_for_their_eta_than_are_allowed() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.eta_task_limit = Some(2);
    let rig = broker.consume(options);
    for id in ["a", "b", "c", "d"] {
        let mut later = task(id);
        later.eta = Some(Timestamp::parse("2999-01-01T00:00:00").unwrap());
        broker.push("celery", &[message(&later, "celery")]).await;
    }
    broker.until(&["LLEN", "celery"], "2").await;
    assert_eq!(broker.ask(&["HLEN", "unacked"]).await, "2");
    drop(rig);
}

#[tokio::test]
async fn expired_unknown_and_malformed_messages_end_here() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut old = task("old");
    old.expires = Some(Timestamp::parse("2020-01-01T00:00:00+00:00").unwrap());
    let mut unknown = task("stranger");
    unknown.name = "unknown".into();
    let no_body =
        br#"{"headers":{"id":"broken","task":"proj.add"},"properties":{"delivery_tag":"t"}}"#;
    let messages = [
        message(&old, "celery"),
        message(&unknown, "celery"),
        no_body.to_vec(),
        b"{not json}".to_vec(),
        b"[1,2]".to_vec(),
        message(&task("good"), "celery"),
    ];
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    broker.until(&["XLEN", "celery.dead"], "4").await;
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    for part in [
        "id stranger task unknown cause not-registered",
        "id broken task proj.add",
        "cause envelope",
        "cause not-an-object",
    ] {
        assert!(letters.contains(part), "{part} is not in {letters}");
    }
    let old = broker.result("old").await;
    assert_eq!(
        (&old["status"], &old["result"]["exc_message"][0]),
        (&"REVOKED".into(), &"expired".into())
    );
    let stranger = broker.result("stranger").await;
    assert_eq!(stranger["result"]["exc_type"], "NotRegistered");
    assert_eq!(stranger["result"]["exc_message"][0], "unknown");
    assert_eq!(broker.result("broken").await["status"], "FAILURE");
}

#[tokio::test]
async fn every_malformed_message_ends_and_none_stops_the_others() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/protocol/tests/fixtures/malformed/redis"
    );
    let mut messages: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let fixture: Value = serde_json::from_str(&text).unwrap();
            serde_json::to_vec(&fixture["message"]).unwrap()
        })
        .collect();
    assert_eq!(messages.len(), 17);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let others = [
        "",
        "null",
        "[]",
        "{}",
        "{\"a\":\"\n\"}",
        "{\"headers\":[]}",
        &deep,
    ];
    messages.extend(others.map(|text| text.as_bytes().to_vec()));
    messages.push(b"{\"headers\":{\"id\":\"\xff\"}}".to_vec());
    let count = messages.len();
    messages.push(message(&task("last"), "celery"));
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.push("celery", &messages).await;
    let mut rig = broker.consume(broker.options());
    let mut delivered = 0;
    loop {
        let delivery = rig.next().await;
        let last = delivery.task.id == "last";
        rig.settler.finish(delivery, Verdict::Success(json("1")));
        if last {
            break;
        }
        delivered += 1;
    }
    broker.until_clean().await;
    let dead: usize = broker.ask(&["XLEN", "celery.dead"]).await.parse().unwrap();
    assert_eq!(delivered + dead, count);
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    for id in ["no_id_header", "body_not_3_tuple", "headers_null"] {
        assert!(letters.contains(id), "{id} is not in {letters}");
    }
}

#[tokio::test]
async fn states_are_stored_and_a_result_elsewhere_before_the_acknowledgement() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut backend = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.results = Results::Server(backend.endpoint.clone());
    let mut rig = broker.consume(options);
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let delivery = rig.next().await;
    rig.settler
        .store_state(&delivery.task, "PROGRESS", json(r#"{"done":1}"#))
        .await
        .unwrap();
    let stored = backend.result("a").await;
    assert_eq!(
        (&stored["status"], &stored["date_done"]),
        (&"PROGRESS".into(), &Value::Null)
    );
    rig.settler.finish(delivery, Verdict::Success(json("5")));
    broker.until_clean().await;
    assert_eq!(backend.result("a").await["status"], "SUCCESS");
    assert_eq!(broker.ask(&["KEYS", "celery-task-meta-*"]).await, "[]");
}

#[tokio::test]
async fn a_chain_goes_on_with_the_result() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"task_id":"third"},"subtask_type":null,"immutable":true},
            {"task":"proj.mul","args":[3],"kwargs":{"x":1},"options":{"task_id":"second"},"subtask_type":null,"immutable":false}]"#,
    ));
    first.embed.callbacks = Some(json(
        r#"[{"task":"proj.echo","args":[],"kwargs":{},"options":{"task_id":"told"}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
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
        rig.settler.finish(delivery, Verdict::Success(json("15")));
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
    rig.settler.finish(third, Verdict::Success(json("4")));
    broker.until_clean().await;
    let children = broker.result("first").await["children"].clone();
    assert_eq!(
        children,
        serde_json::json!([[["told", null], null], [["second", null], null]])
    );
}

#[tokio::test]
async fn a_failed_step_fails_the_rest_of_its_chain() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[],"kwargs":{},"options":{"task_id":"second"}}]"#,
    ));
    first.embed.errbacks = Some(json(
        r#"[{"task":"proj.errback","args":[],"kwargs":{},"options":{}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(
        delivery,
        Verdict::Failure {
            exception: boom(),
            traceback: None,
        },
    );
    let errback = rig.next().await;
    assert_eq!(
        (errback.task.name.as_str(), errback.task.args.get()),
        ("proj.errback", r#"["first"]"#)
    );
    rig.settler.finish(errback, Verdict::Ignore);
    broker.until_clean().await;
    assert_eq!(
        broker.result("second").await["result"]["exc_type"],
        "ValueError"
    );
}

#[tokio::test]
async fn a_chain_may_end_with_a_group() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"celery.group","args":[],"options":{"task_id":"g"},"subtask_type":"group","kwargs":{"tasks":[
            {"task":"proj.mul","args":[2],"kwargs":{},"options":{"task_id":"x"}},
            {"task":"proj.mul","args":[3],"kwargs":{},"options":{"task_id":"y"}}]}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
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
        rig.settler.finish(member, Verdict::Ignore);
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn a_chord_that_cannot_be_counted_is_not_forgotten() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.results = Results::Disabled;
    let mut rig = broker.consume(options);
    let mut good = task("good");
    good.group = Some("g".into());
    good.embed.chord = Some(json(
        r#"{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body"}}"#,
    ));
    broker.push("celery", &[message(&good, "celery")]).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    assert!(
        letters.contains("id good task proj.add cause follow-up"),
        "{letters}"
    );
}
