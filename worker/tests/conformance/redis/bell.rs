//! The bell: it brings each message, and costs few calls.

use celery_worker::consumer::ConsumerOptions;

use super::{Harness, Native, Redis, redis};
use crate::broker::{Backend, Broker, until};
use crate::rig::{NEVER, Rig, post, task, tasks};

/// Returns options with which only the bell can bring a message.
fn only_by_bell(mut options: ConsumerOptions) -> ConsumerOptions {
    redis(&mut options).safety_claim = NEVER;
    redis(&mut options).lease = NEVER;
    options
}

impl<const NATIVE: bool> Harness<NATIVE> {
    /// Returns how often Redis has carried out each of these commands.
    async fn calls<const N: usize>(&mut self, commands: [&str; N]) -> [usize; N] {
        let stats = self.ask(&["INFO", "commandstats"]).await;
        commands.map(|command| {
            let line = format!("cmdstat_{command}:calls=");
            let (_, rest) = stats.split_once(&line).unwrap_or(("", "0,"));
            rest.split(',').next().unwrap().parse().unwrap()
        })
    }

    /// Waits until the worker that is alone has armed its bell after the last claim.
    async fn until_armed(&mut self) {
        until("the bell is armed", async || {
            let keys = self.ask(&["INFO", "stats"]).await;
            keys.contains("tracking_total_keys:4")
                .then_some(())
                .ok_or("it is not".to_owned())
        })
        .await;
    }
}

/// Posts tasks one by one, and waits for each of them.
async fn one_by_one<const NATIVE: bool>(broker: &mut Harness<NATIVE>, rig: &mut Rig, ids: &[&str]) {
    for id in ids {
        post(broker, "celery", &[task(id)]).await;
        assert_eq!(rig.finish(1).await, [*id]);
    }
}

#[tokio::test]
async fn a_task_alone_costs_a_claim_and_a_settlement() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(only_by_bell(broker.options()));
    // The first claim may meet the first message before it rings.
    one_by_one(&mut broker, &mut rig, &["first", "second"]).await;
    broker.until_clean().await;
    let commands = ["evalsha", "exists", "client|caching", "client|tracking"];
    let before = broker.calls(commands).await;
    for id in ["a", "b", "c", "d", "e"] {
        one_by_one(&mut broker, &mut rig, &[id]).await;
        broker.until_clean().await;
    }
    let after = broker.calls(commands).await;
    let made: Vec<usize> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    assert_eq!(made, [10, 5, 5, 0]);
}

#[tokio::test]
async fn a_task_without_a_result_costs_two_claims() {
    let mut broker = Redis::start().await;
    let mut options = only_by_bell(broker.options());
    options.results = celery_worker::consumer::Results::Disabled;
    let mut rig = Rig::start(options);
    one_by_one(&mut broker, &mut rig, &["first", "second"]).await;
    broker.until_clean().await;
    let before = broker.calls(["evalsha"]).await;
    for id in ["a", "b", "c"] {
        one_by_one(&mut broker, &mut rig, &[id]).await;
        broker.until_clean().await;
    }
    assert_eq!(broker.calls(["evalsha"]).await[0] - before[0], 6);
}

#[tokio::test]
async fn the_bell_brings_each_message() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(only_by_bell(broker.options()));
    for n in 0..200 {
        one_by_one(&mut broker, &mut rig, &[&n.to_string()]).await;
    }
    // Several at once, while the worker is idle and while it is not.
    for _ in 0..20 {
        post(&mut broker, "celery", &tasks(3)).await;
        assert_eq!(rig.finish(3).await, ["0", "1", "2"]);
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn the_bell_brings_each_message_that_is_claimed_by_native_commands() {
    let mut broker = Native::start().await;
    let mut rig = Rig::start(only_by_bell(broker.options()));
    for n in 0..50 {
        one_by_one(&mut broker, &mut rig, &[&n.to_string()]).await;
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn the_bell_rings_for_each_list_and_for_restored_messages() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(only_by_bell(broker.options()));
    for priority in ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"] {
        let list = format!("celery{priority}");
        one_by_one(&mut broker, &mut rig, &["model"]).await;
        let message = crate::rig::message::<Redis>(&task("a"), "celery");
        // As a client posts, and as a worker puts a message back.
        for command in ["LPUSH", "RPUSH"] {
            let words = [command.as_bytes(), list.as_bytes(), &message];
            broker.query(&words).await;
            assert_eq!(rig.finish(1).await, ["a"], "{list} {command}");
        }
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn two_idle_workers_miss_no_ring() {
    let mut broker = Redis::start().await;
    let mut rigs = [(); 2].map(|()| Rig::start(only_by_bell(broker.options())));
    for n in 0..100 {
        let id = n.to_string();
        post(&mut broker, "celery", &[task(&id)]).await;
        let [one, other] = &mut rigs;
        let ids = tokio::select! {
            ids = one.finish(1) => ids,
            ids = other.finish(1) => ids,
        };
        assert_eq!(ids, [id]);
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_while_idle_is_armed_again() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(only_by_bell(broker.options()));
    for id in ["a", "b", "c"] {
        one_by_one(&mut broker, &mut rig, &[id]).await;
        broker.until_clean().await;
        broker.until_armed().await;
        broker
            .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
    }
    one_by_one(&mut broker, &mut rig, &["last"]).await;
    broker.until_clean().await;
}

#[tokio::test]
async fn without_tracking_the_queues_are_polled() {
    for right in ["-client|tracking", "-client|caching"] {
        let mut broker = Redis::start().await;
        broker.ask(&["ACL", "SETUSER", "default", right]).await;
        let mut rig = Rig::start(only_by_bell(broker.options()));
        rig.consumer.connected().await;
        for id in ["a", "b"] {
            one_by_one(&mut broker, &mut rig, &[id]).await;
        }
        broker.until_clean().await;
    }
}

#[tokio::test]
async fn a_queue_that_is_not_a_list_does_not_ring_without_end() {
    let mut broker = Redis::start().await;
    broker.ask(&["SET", "string", "x"]).await;
    let mut options = only_by_bell(broker.options());
    options.queues = vec!["string".into(), "celery".into()];
    let mut rig = Rig::start(options);
    one_by_one(&mut broker, &mut rig, &["first", "second"]).await;
    broker.until_clean().await;
    let before = broker.calls(["evalsha"]).await;
    for id in ["a", "b", "c"] {
        one_by_one(&mut broker, &mut rig, &[id]).await;
        broker.until_clean().await;
    }
    assert_eq!(broker.calls(["evalsha"]).await[0] - before[0], 6);
    assert_eq!(broker.backend().stored_results().await, 5);
}
