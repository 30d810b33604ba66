//! A worker with exactly the rights that the documentation names, and all its actions that need
//! any.

use std::future::pending;
use std::process::Command;
use std::time::Duration;

use celery_protocol::message::mark_redelivered;
use celery_protocol::redis_keys::Keys;
use celery_protocol::time::Timestamp;
use celery_worker::Phase;
use celery_worker::consumer::ClaimMode;
use celery_worker::delivery::Outcome;

use super::{Redis, redis};
use crate::broker::{Backend, Broker};
use crate::documented::worker_rights;
use crate::rig::{Rig, json, message, post, succeeded, task};

fn cli(url: &str, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let output = command.args(words).args(["-b", url]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    in_all_actions(ClaimMode::Adaptive).await;
}

#[tokio::test]
async fn the_documented_rights_are_enough_for_native_claims() {
    in_all_actions(ClaimMode::Native).await;
}

async fn in_all_actions(claim: ClaimMode) {
    let mut broker = Redis::start_durable().await;
    let mut options = broker.options_as(&worker_rights()).await;
    redis(&mut options).claim = claim;
    redis(&mut options).lease = Duration::from_millis(500);
    let time = broker.ask(&["TIME"]).await;
    let time = time.trim_start_matches('[').split(' ').next().unwrap();
    let seconds: i64 = time.parse().unwrap();

    let mut eta = task("eta");
    eta.eta = Some(Timestamp::from_unix_micros((seconds + 2) * 1_000_000));
    let mut member = task("member");
    member.group = Some("g".into());
    member.group_index = Some(0);
    member.embed.chord = Some(json(r#"{"task":"proj.xsum","options":{"task_id":"body"}}"#));
    broker.backend().begin_chord("g", 1).await;
    let mut chain = task("chain");
    // A chain lists its steps in reverse order: the last step is the first in the list.
    chain.embed.chain = Some(json(
        r#"[{"task":"proj.add","args":[1],"kwargs":{},"options":{"task_id":"next","priority":3}}]"#,
    ));
    let again = mark_redelivered(&message::<Redis>(&task("again"), "celery")).unwrap();
    // A message of a Python worker that is gone, with a named exchange.
    let binding = Keys::default().binding_member("key", "", "celery");
    broker
        .ask(&["SADD", "_kombu.binding.named", &binding])
        .await;
    let orphan = String::from_utf8(message::<Redis>(&task("orphan"), "celery")).unwrap();
    let orphan = orphan.replace(r#""exchange":"""#, r#""exchange":"named""#);
    let entry = format!(r#"[{orphan}, "named", "key"]"#);
    broker.ask(&["HSET", "unacked", "0b0e6d1f", &entry]).await;
    broker
        .ask(&["ZADD", "unacked_index", "1000", "0b0e6d1f"])
        .await;
    let mut rig = Rig::start(options.clone());
    let messages = [eta, member, chain].map(|task| message::<Redis>(&task, "celery"));
    broker.push("celery", &messages).await;
    broker
        .push("celery", &[again.raw, b"neither".to_vec()])
        .await;

    let wanted = ["again", "body", "chain", "eta", "member", "next", "orphan"];
    let mut done = Vec::new();
    while done.len() < wanted.len() {
        let delivery = rig.next().await;
        let id = delivery.task.id.clone();
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        if id == "chain" && !delivery.task.redelivered {
            rig.settler.finish(delivery, Outcome::Interrupted);
            continue;
        }
        rig.settler.finish(delivery, succeeded("1"));
        done.push(id);
    }
    done.sort_unstable();
    assert_eq!(done, wanted);
    broker.until_clean().await;
    for id in wanted {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
    // A delivery without a verdict at the end is given back.
    post(&mut broker, "celery", &[task("last")]).await;
    let _last = rig.next().await;
    rig.shutdown.advance(Phase::Cold);
    let left = rig.consumer.close(Duration::from_millis(50)).await;
    assert_eq!((left.returned, left.held), (1, 0));
    assert_eq!(broker.ask(&["ACL", "LOG"]).await, "[]");

    let url = broker.limited_url();
    broker
        .ask(&["ACL", "SETUSER", "limited", "+info", "+config|get", "+scan"])
        .await;
    let (code, text) = cli(&url, &["check"]);
    assert_eq!(code, Some(0), "{text}");
    broker
        .ask(&[
            "ACL",
            "SETUSER",
            "limited",
            "+xrange",
            "+xrevrange",
            "+xdel",
        ])
        .await;
    let (code, text) = cli(&url, &["dead", "list"]);
    assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");
    for words in [
        ["dead", "replay", "--held"],
        ["dead", "replay", "--all"],
        ["dead", "purge", "--all"],
    ] {
        let (code, text) = cli(&url, &words);
        assert_eq!(code, Some(0), "{text}");
    }
    broker.ask(&["ACL", "SETUSER", "limited", "+unlink"]).await;
    post(&mut broker, "celery", &[task("old")]).await;
    options.purge = true;
    let _rig = Rig::start(options);
    broker.until_clean().await;
    assert_eq!(broker.ask(&["ACL", "LOG"]).await, "[]");
}

#[tokio::test]
async fn the_check_names_missing_rights() {
    let mut broker = Redis::start_durable().await;
    for (rights, lacking, code, severity, findings) in [
        (
            ["~*", "resetchannels", "+@all"],
            "may not publish",
            1,
            "ERROR",
            1,
        ),
        (
            ["~celery*", "~unacked*", "&*"],
            "the key rs.redelivered",
            1,
            "ERROR",
            1,
        ),
        (
            ["~celery", "&*", "+@all"],
            "unacked_index, celery.dead",
            1,
            "ERROR",
            2,
        ),
        (
            ["~*", "&celery-task-meta-*", "&/*.celeryev/*"],
            "may not subscribe to /0.celery.pidbox",
            0,
            "WARNING",
            1,
        ),
        (
            ["~*", "&celery-task-meta-*", "&/*.celery.pidbox"],
            "may not publish events",
            0,
            "WARNING",
            1,
        ),
        (
            ["~*", "&*", "-client|tracking"],
            "CLIENT TRACKING",
            0,
            "WARNING",
            1,
        ),
        (
            ["~*", "&*", "-client|caching"],
            "CLIENT CACHING",
            0,
            "WARNING",
            1,
        ),
    ] {
        let user = [&["resetkeys", "resetchannels", "+@all"], &rights[..]].concat();
        broker.options_as(&user).await;
        let (ended, text) = cli(&broker.limited_url(), &["check"]);
        assert_eq!(ended, Some(code), "{text}");
        assert_eq!(text.matches(severity).count(), findings, "{text}");
        assert!(text.contains(lacking), "{lacking}: {text}");
    }
}

/// Rights that are missing in the rules of an older version. The messages are then claimed by
/// script.
#[tokio::test]
async fn without_the_rights_of_native_claims_the_script_claims() {
    for lacking in [
        &["-multi"][..],
        &["-exec"],
        &["-eval"],
        &["-lmove"],
        &["-multi", "-exec", "-eval", "-lmove"],
        &["-scard"],
        &["-sadd"],
    ] {
        let mut broker = Redis::start().await;
        let rights = [&worker_rights()[..], lacking].concat();
        let mut options = broker.options_as(&rights).await;
        redis(&mut options).claim = ClaimMode::Native;
        post(&mut broker, "celery", &[task("a"), task("b")]).await;
        let mut rig = Rig::start(options);
        assert_eq!(rig.finish(2).await, ["a", "b"], "{lacking:?}");
        broker.until_clean().await;
        assert_eq!(
            broker.ask(&["KEYS", "rs.held.*"]).await,
            "[]",
            "{lacking:?}"
        );
        broker
            .ask(&["ACL", "SETUSER", "limited", "+info", "+config|get", "+scan"])
            .await;
        let (_, text) = cli(&broker.limited_url(), &["check"]);
        // The check cannot try SADD: it changes nothing.
        let named = text.contains("claimed by script");
        assert_eq!(named, lacking != ["-sadd"], "{lacking:?}: {text}");
    }
}

#[tokio::test]
async fn the_held_list_of_a_queue_without_rights_is_left_to_others() {
    let mut broker = Redis::start().await;
    let mut options = broker.options_as(&worker_rights()).await;
    redis(&mut options).lease = Duration::from_millis(500);
    for (owner, list) in [("a", "mails"), ("b", "celery"), ("c", "celery")] {
        broker.ask(&["SADD", "rs.held.owners", owner]).await;
        let held = format!("rs.held.{owner}");
        let header = format!("rs:{owner}:1:1000.5:{list}");
        broker.ask(&["LPUSH", &held, &header]).await;
        let message = message::<Redis>(&task(owner), list);
        broker
            .ask(&[b"LPUSH", held.as_bytes(), message.as_slice()])
            .await;
    }
    let mut rig = Rig::start(options);
    let mut done = rig.finish(2).await;
    done.sort_unstable();
    assert_eq!(done, ["b", "c"]);
    assert_eq!(broker.ask(&["SMEMBERS", "rs.held.owners"]).await, "[a]");
    assert_eq!(broker.ask(&["LLEN", "rs.held.a"]).await, "2");
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(500);
    options.queues = vec!["mails".to_owned()];
    let mut rig = Rig::start(options);
    assert_eq!(rig.finish(1).await, ["a"]);
    broker
        .until(&["EXISTS", "rs.held.owners", "rs.held.a"], "0")
        .await;
}
