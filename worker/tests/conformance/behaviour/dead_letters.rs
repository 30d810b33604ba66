//! Which messages become dead letters, why, and how they come back.

use std::process::Command;

use celery_protocol::time::Timestamp;

use crate::broker::{Broker, DeadLetter, Reachable};
use crate::rig::{DEADLINE, Rig, message, post, rejected, task};

pub async fn unknown_tasks_and_missing_bodies_are_dead_letters<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut unknown = task("stranger");
    unknown.name = "unknown".into();
    let messages = [
        message::<B>(&unknown, "celery"),
        B::without_body("broken"),
        message::<B>(&task("good"), "celery"),
    ];
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    let dead = broker.dead().await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.contains(&DeadLetter::of("stranger", "unknown", "not-registered")));
    let broken = dead.iter().find(|letter| letter.id == "broken").unwrap();
    assert_eq!(broken.task, "proj.add");
    let stranger = broker.result("stranger").await;
    assert_eq!(stranger["result"]["exc_type"], "NotRegistered");
    assert_eq!(stranger["result"]["exc_message"][0], "unknown");
    assert_eq!(broker.result("broken").await["status"], "FAILURE");
}

pub async fn an_expired_task_is_revoked_and_not_a_dead_letter<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let mut old = task("old");
    old.expires = Some(Timestamp::parse("2020-01-01T00:00:00+00:00").unwrap());
    post(&mut broker, "celery", &[old, task("good")]).await;
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
    let old = broker.result("old").await;
    assert_eq!(
        (&old["status"], &old["result"]["exc_message"][0]),
        (&"REVOKED".into(), &"expired".into())
    );
}

pub async fn a_message_that_meets_a_bug_is_a_dead_letter_and_stops_no_other<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    let named = ["bug", "bug later", "fine"].map(|name| {
        let mut task = task(name);
        name.clone_into(&mut task.name);
        task
    });
    post(&mut broker, "celery", &named).await;
    assert_eq!(rig.finish(2).await, ["bug later", "fine"]);
    broker.until_clean().await;
    let dead = broker.dead().await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    for id in ["bug", "bug later"] {
        assert!(dead.contains(&DeadLetter::of(id, id, "bug")), "{dead:?}");
        assert_eq!(
            broker.result(id).await["result"]["exc_type"],
            "RuntimeError"
        );
    }
    assert_eq!(broker.result("fine").await["status"], "SUCCESS");
    assert!(rig.shutdown.is_running());
}

pub async fn the_command_dead_replay_puts_letters_back<B: Reachable>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a"), task("b")]).await;
    for _ in 0..2 {
        let delivery = rig.next().await;
        rig.settler.finish(delivery, rejected(false));
    }
    broker.until_dead(2).await;
    let listed = dead(&broker.url(), &["list"]).await;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("proj.add  rejected"), "{listed}");
    dead(&broker.url(), &["replay", "--all"]).await;
    let mut again = rig.finish(2).await;
    again.sort_unstable();
    assert_eq!(again, ["a", "b"]);
    broker.until_clean().await;
    broker.until_dead(0).await;
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}

/// Returns what `celery-worker dead …` prints.
async fn dead(url: &str, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.arg("dead").args(words).args(["-b", url]);
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(DEADLINE, run).await;
    let output = output.expect("the command does not end").unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}
