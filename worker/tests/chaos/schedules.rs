//! Schedules while the process that leads is killed or frozen, and Redis crashes.

use std::collections::BTreeSet;
use std::time::Duration;

use celery_protocol::message::Task;
use celery_testkit::wait_for;
use serde_json::json;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The milliseconds between two due times.
const EVERY: i64 = 100;
/// The queue of the entry. No worker consumes it, so its messages can be counted.
const QUEUE: &str = "scheduled";
/// The namespace of the ids, as docs/reference/schedules.md has it.
const NAMESPACE: u128 = 0x6c1f_0f6e_2a55_4d6a_9d0b_6f1d_7f0c_8a11;

/// Removes a due time and returns it, in one step.
const TAKE: &str = "local due = redis.call('ZSCORE', KEYS[1], ARGV[1]) \
    redis.call('ZREM', KEYS[1], ARGV[1]) return due";

fn start(world: &World, number: usize) -> Worker {
    let node = format!("beat{number}@chaos");
    world.playground(&["-B", "-c", "4", "-n", &node])
}

/// Returns the number of the worker that leads, once one of them does.
fn leader(world: &mut World) -> usize {
    let mut leader = None;
    wait_for(PATIENCE, "a leader", || {
        let token: Option<String> = world.ask(&["GET", "rs.beat.leader"]);
        let number = token.and_then(|token| {
            let number = token.strip_prefix("beat")?.split('@').next()?;
            number.parse().ok()
        });
        leader = number;
        leader.is_some()
    })
    .unwrap();
    leader.unwrap()
}

fn sent(world: &mut World) -> u64 {
    world.ask(&["LLEN", QUEUE])
}

/// Waits until this number of messages have been sent since now.
fn wait_for_more(world: &mut World, messages: u64) {
    let before = sent(world);
    wait_for(PATIENCE, "scheduled messages", || {
        world.observe();
        sent(world) >= before + messages
    })
    .unwrap();
}

#[test]
fn schedules_miss_nothing_and_send_nothing_twice() {
    let times = by_scale(6, 30, 150);
    let mut world = World::new("schedules: kill -9, SIGSTOP, crashes");
    // The leader's lease lasts ten seconds, and nothing is sent meanwhile.
    world.fault = Duration::from_secs(12);
    let entry = json!({
        "v": 1, "task": "proj.noop", "schedule": { "every": 0.1 }, "missed": "all",
        "options": { "queue": QUEUE },
    });
    let _added: u64 = world.ask(&["HSET", "rs.beat", "often", &entry.to_string()]);
    // The first due time is known, because the test computes it.
    let mut workers: Vec<Worker> = (0..2).map(|number| start(&world, number)).collect();
    let time: (i64, i64) = world.ask(&["TIME"]);
    let first = time.0 * 1_000;
    let _added: u64 = world.ask(&["ZADD", "rs.beat.due", &first.to_string(), "often"]);
    for turn in 0..times {
        world.post(Kind::Noop, 20);
        wait_for_more(&mut world, 3);
        let leader = leader(&mut world);
        match turn % 3 {
            0 => {
                workers[leader].process.kill9();
                workers[leader] = start(&world, leader);
            }
            1 => {
                world.redis.kill9();
                world.restart_redis();
            }
            _ => {
                // Its lease ends meanwhile, and the other worker sends.
                workers[leader].process.pause();
                wait_for_more(&mut world, 3);
                workers[leader].process.resume();
            }
        }
    }
    wait_for_more(&mut world, 3);
    let end: String = world.ask(&["EVAL", TAKE, "1", "rs.beat.due", "often"]);
    let end: i64 = end.parse().unwrap();
    let messages: Vec<Vec<u8>> = world.ask(&["LRANGE", QUEUE, "0", "-1"]);
    let ids = messages
        .iter()
        .map(|message| Task::decode_redis(message).unwrap().id);
    let distinct: BTreeSet<String> = ids.collect();
    let namespace = uuid::Uuid::from_u128(NAMESPACE);
    let dues = (0..)
        .map(|number| first + number * EVERY)
        .take_while(|due| *due < end);
    let expected: BTreeSet<String> = dues
        .map(|due| uuid::Uuid::new_v5(&namespace, format!("often\n{due}").as_bytes()).to_string())
        .collect();
    assert_eq!(messages.len(), distinct.len(), "due times were sent twice");
    assert!(
        distinct == expected,
        "{} messages for {} due times",
        distinct.len(),
        expected.len()
    );
    world.note(format!("{} due times, each sent once", expected.len()));
    let _removed: u64 = world.ask(&["DEL", QUEUE]);
    world.finish(times, workers);
}
