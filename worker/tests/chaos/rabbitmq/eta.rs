//! Tasks that must not run before a time, most of which wait in RabbitMQ, while workers are killed.

use std::time::Duration;

use celery_protocol::time::Timestamp;
use celery_testkit::{RabbitMq, wait_for};

use crate::busy::SMALL;
use crate::world::{Kind, World, by_scale, from_now};

/// The size of all messages together. A worker that kept them would have at least this much memory.
const BYTES: u32 = 48 << 20;
/// By how much the memory of a worker may grow, with messages so small that the copies of those under
/// way do not matter. It holds few messages at a time.
const GROWTH: u64 = BYTES as u64 / 4 * 3;
/// The shortest time until a task is due, in seconds.
const SHORTEST: u64 = 2;

on_both! {
    tasks_with_an_eta_run_at_their_time: "ETA, kill -9";
}

fn tasks_with_an_eta_run_at_their_time(mut world: World) -> Vec<RabbitMq> {
    let (tasks, longest, kills) = by_scale((300, 6, 1), (2_000, 20, 3), (10_000, 60, 3));
    world.fault = Duration::from_secs(longest);
    let etas: Vec<Timestamp> = (0..tasks)
        .map(|_| {
            let wait = world.random.u64(SHORTEST * 1_000..longest * 1_000);
            from_now(Duration::from_millis(wait))
        })
        .collect();
    let kind = Kind::Large(BYTES / tasks);
    let ids = world.post_each_at(kind, etas.iter().copied().map(Some));
    let (mut grown, mut killed) = (0, 0);
    let mut worker = world.playground(&SMALL);
    let mut first = worker.rss();
    while world.open() > 0 {
        let moment = if killed < kills {
            Duration::from_millis(world.random.u64(0..1_000 * longest / (kills + 1)))
        } else {
            Duration::from_secs(2 * longest)
        };
        // The time may pass before everything is done: then the next kill is due.
        let _done = wait_for(moment, "", || {
            world.observe();
            grown = grown.max(worker.rss().saturating_sub(first));
            world.open() == 0
        });
        if killed == kills {
            world.drain(&[&worker]);
            break;
        }
        worker.process.kill9();
        killed += 1;
        world.invariant("after a kill");
        worker = world.playground(&SMALL);
        first = worker.rss();
    }
    let is_measured = by_scale(false, true, true);
    assert!(
        !is_measured || grown < GROWTH,
        "the worker's memory grew by {grown} bytes"
    );
    let late = how_late(&mut world, &ids, &etas);
    let (earliest, latest) = (late.iter().min().unwrap(), late.iter().max().unwrap());
    assert!(*earliest >= 0, "a task ran {} µs too early", -earliest);
    world.note(format!(
        "due after {SHORTEST} to {longest} s; the earliest ran {} ms after its ETA, the latest {} ms; \
         memory grew by {} MiB",
        earliest / 1_000,
        latest / 1_000,
        grown >> 20
    ));
    let killed = usize::try_from(killed).unwrap();
    world.finish(killed, vec![worker]).nodes
}

/// Returns how many microseconds after its ETA each task had ended.
fn how_late(world: &mut World, ids: &[String], etas: &[Timestamp]) -> Vec<i64> {
    let both = ids.iter().zip(etas);
    both.map(|(id, eta)| {
        let document: String = world.ask(&["GET", &format!("celery-task-meta-{id}")]);
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        let done = Timestamp::parse(document["date_done"].as_str().unwrap()).unwrap();
        done.unix_micros() - eta.unix_micros()
    })
    .collect()
}
