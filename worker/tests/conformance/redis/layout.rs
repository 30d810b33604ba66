//! The content of Redis's keys, which Python's workers also read.

use celery_protocol::time::Timestamp;
use celery_worker::consumer::Results;

use super::{Redis, items, text};
use crate::broker::{Broker, DeadLetter};
use crate::rig::{Rig, message, post, succeeded, task, tasks};

const QUEUE: [&str; 4] = ["LRANGE", "celery", "0", "-1"];

#[tokio::test]
async fn a_held_message_is_an_entry_of_kombu_and_a_result_expires() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    let held = broker.ask(&["HVALS", "unacked"]).await;
    assert!(held.starts_with(r#"[[{"body":"#), "{held}");
    assert!(held.ends_with(r#","","celery"]]"#), "{held}");
    rig.settler.finish(delivery, succeeded("5"));
    broker.until_clean().await;
    let ttl = broker.ask(&["TTL", "celery-task-meta-a"]).await;
    assert!((86_000..=86_400).contains(&ttl.parse().unwrap()), "{ttl}");
}

#[tokio::test]
async fn many_tasks_take_few_calls() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    options.results = Results::Disabled;
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &tasks(300)).await;
    rig.finish(300).await;
    broker.until_clean().await;
    let stats = broker.ask(&["INFO", "commandstats"]).await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))
        .unwrap();
    let calls: usize = calls.split(',').next().unwrap().parse().unwrap();
    assert!(calls <= 30, "{calls} calls for 300 tasks");
}

#[tokio::test]
async fn the_score_of_a_waiting_message_is_its_eta() {
    let mut broker = Redis::start().await;
    let rig = Rig::start(broker.options());
    let mut far = task("far");
    far.eta = Some(Timestamp::parse("2999-01-01T00:00:00Z").unwrap());
    post(&mut broker, "celery", &[far]).await;
    super::until("the ETA as score", async || {
        let scores = ["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"];
        let index = broker.ask(&scores).await;
        index.contains("32472144000").then_some(()).ok_or(index)
    })
    .await;
    drop(rig);
}

#[tokio::test]
async fn entries_that_are_not_messages_are_dead_letters() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(broker.options());
    let messages = [
        b"{not json}".to_vec(),
        b"[1,2]".to_vec(),
        message::<Redis>(&task("good"), "celery"),
    ];
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    broker.until_dead(2).await;
    for cause in ["envelope", "not-an-object"] {
        let letter = DeadLetter::of("", "", cause);
        assert!(broker.dead().await.contains(&letter), "{letter:?}");
    }
}

#[tokio::test]
async fn tasks_that_have_not_begun_go_back_unchanged_and_in_order() {
    let mut broker = Redis::start().await;
    post(&mut broker, "celery", &tasks(9)).await;
    let before = broker.ask(&QUEUE).await;
    Rig::start(broker.options()).give_back(9).await;
    assert_eq!(broker.ask(&QUEUE).await, before);
}

#[tokio::test]
async fn unread_messages_go_back_unchanged() {
    let mut broker = Redis::start().await;
    post(&mut broker, "celery", &tasks(9)).await;
    let before = broker.query(&QUEUE).await;
    let mut options = broker.options();
    options.held_bytes = 1;
    let rig = Rig::start(options);
    broker.until_depth("celery", 0, 9).await;
    rig.give_back(1).await;
    let sorted = |list| {
        let mut texts: Vec<String> = items(list).iter().map(text).collect();
        texts.sort_unstable();
        texts
    };
    assert_eq!(sorted(broker.query(&QUEUE).await), sorted(before));
}
