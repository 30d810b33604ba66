//! Python's workers and Rust workers on one queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::redis_keys::{ChordPart, Keys};
use celery_testkit::{Process, wait_for};
use serde_json::value::RawValue;

use crate::busy::last;
use crate::programs::{Worker, seconds};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// Returns how often each task has succeeded according to these logs.
pub fn successes(logs: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        if let Some((head, _)) = line.split_once("] succeeded in ")
            && let Some((_, id)) = head.rsplit_once('[')
        {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn received(log: &str, ids: &[String]) -> usize {
    ids.iter()
        .filter(|id| log.contains(&format!("[{id}] received")))
        .count()
}

#[test]
fn a_mixed_fleet_does_everything_once() {
    let tasks = by_scale(1_000, 1_000, 10_000);
    let mut world = World::new("Python and Rust on one queue");
    let mut python = world.python("play", 3_600);
    let ours = world.playground(&["-c", "4", "-l", "info", "--lease", "10s"]);
    // The tasks take long enough that neither worker can take all before the other claims some.
    let ids = world.post(Kind::Sleep(0.005), tasks);
    world.drain(&[&ours]);
    let again = each_others_retries(&mut world, &python, &ours);
    python.terminate();
    python.wait(PATIENCE).unwrap();
    let (theirs, mine) = (successes(&[python.log()]), successes(&[ours.process.log()]));
    assert!(
        !theirs.is_empty() && !mine.is_empty(),
        "one of the workers did nothing"
    );
    world.note(format!("Python did {}, Rust {}", theirs.len(), mine.len()));
    let both = successes(&[python.log(), ours.process.log()]);
    let twice: Vec<_> = both.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "done more than once: {twice:?}");
    assert_eq!(both.len(), ids.len());
    world.note(format!("{again} retries by the other"));
    world.finish(1, vec![ours]);
}

/// Has tasks retried until each worker has run a message of the other. Returns the number of such
/// runs.
fn each_others_retries(world: &mut World, python: &Process, ours: &Worker) -> usize {
    let retried = |log: &str, ids: &[String]| -> BTreeSet<String> {
        let retried = |id: &&String| log.contains(&format!("[{id}] retry"));
        ids.iter().filter(retried).cloned().collect()
    };
    let mut turns = 0..10;
    let mut ids = Vec::new();
    loop {
        assert!(turns.next().is_some(), "each keeps its own retries");
        // Each task runs three times: the first two end in a retry, which is a new message.
        ids.extend(world.post(Kind::Retrying, 20));
        world.drain(&[ours]);
        let (theirs, mine) = (python.log(), ours.process.log());
        let (a, b) = (retried(&theirs, &ids), retried(&mine, &ids));
        let ended = |log: &str, ids: &BTreeSet<String>| {
            let lines = |id: &&String| log.contains(&format!("[{id}] raised"));
            ids.iter().filter(lines).count()
        };
        let (by_us, by_them) = (ended(&mine, &a), ended(&theirs, &b));
        if by_us > 0 && by_them > 0 {
            return by_us + by_them;
        }
    }
}

#[test]
fn older_versions_take_over_and_are_taken_over_from() {
    for version in ["5.4", "5.2"] {
        let mut world = World::new(match version {
            "5.4" => "Celery 5.4 and Rust, each killed",
            _ => "Celery 5.2 and Rust, each killed",
        });
        world.fault = Duration::from_secs(3);
        let mut python = world.python_of(version, "play", 3_600);
        let ids = world.post(Kind::Sleep(1.0), 4);
        wait_for(PATIENCE, "the Python worker to hold the messages", || {
            received(&python.log(), &ids) == ids.len()
        })
        .unwrap();
        python.kill9();
        world.invariant("after the kill of a Python worker");
        let mut ours = world.playground(&["-l", "info", "--visibility-timeout", "2s"]);
        world.drain(&[&ours]);
        let ids = world.post(Kind::Sleep(2.0), 4);
        wait_for(PATIENCE, "our worker to hold the messages", || {
            received(&ours.process.log(), &ids) == ids.len()
        })
        .unwrap();
        ours.process.kill9();
        world.invariant("after the kill of a Rust worker");
        // Python workers sweep when they start: by then the held messages must count as lost.
        last(&mut world, Duration::from_secs(2));
        let mut python = world.python_of(version, "play", 1);
        world.drain(&[]);
        python.terminate();
        python.wait(PATIENCE).unwrap();
        world.finish(2, vec![]);
    }
}

#[test]
fn a_fleet_under_a_prefix_shares_queues_results_and_chords() {
    let mut world = World::new("Python and Rust under a prefix");
    // The prefix has no separator: result keys get an underscore.
    world.prefix = "shop";
    let keys = Keys::new(world.prefix);
    let mut python = world.python("theirs", 3_600);
    let ours = world.playground(&[]);
    let body = r#"{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body","queue":"theirs"},
        "subtask_type":null,"immutable":false}"#;
    let size = keys.chord("g", ChordPart::Size);
    let _set: String = world.ask(&["SET", &size, "2"]);
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    for (index, queue) in ["play", "theirs"].into_iter().enumerate() {
        let mut member = Task::new(queue, "proj.add", raw("[2,3]"), raw("{}"));
        member.group = Some("g".into());
        member.group_index = i64::try_from(index).ok();
        member.embed.chord = Some(raw(body));
        let message = member.encode_redis(&EncodeOptions::new(queue, queue));
        let message = String::from_utf8(message.unwrap()).unwrap();
        let _length: u64 = world.ask(&["LPUSH", &keys.queue(queue, 0), &message]);
    }
    let result = keys.result("body");
    wait_for(PATIENCE, "the body's result", || {
        world.ask::<u64>(&["EXISTS", &result]) == 1
    })
    .unwrap();
    let document: String = world.ask(&["GET", &result]);
    assert!(document.contains(r#""result": 10"#), "{document}");
    ours.stop();
    python.terminate();
    python.wait(PATIENCE).unwrap();
    let all: Vec<String> = world.ask(&["KEYS", "*"]);
    let bare: Vec<_> = all.iter().filter(|key| !key.starts_with("shop")).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn a_killed_python_workers_tasks_are_done_by_ours() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("Python killed, Rust goes on");
    world.fault = Duration::from_secs(3);
    for _ in 0..times {
        let mut python = world.python("play", 3_600);
        let ids = world.post(Kind::Sleep(1.0), 12);
        wait_for(PATIENCE, "the Python worker to hold the messages", || {
            received(&python.log(), &ids) == ids.len()
        })
        .unwrap();
        python.kill9();
        world.invariant("after the kill of a Python worker");
        let ours = world.playground(&["--visibility-timeout", "3s"]);
        world.drain(&[&ours]);
        ours.stop();
    }
    world.finish(times, vec![]);
}

#[test]
fn a_killed_rust_workers_tasks_are_done_by_python() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("Rust killed, Python goes on");
    world.fault = Duration::from_secs(3);
    for _ in 0..times {
        let mut ours = world.playground(&["-l", "info"]);
        let ids = world.post(Kind::Sleep(2.0), 12);
        wait_for(PATIENCE, "our worker to hold the messages", || {
            received(&ours.process.log(), &ids) == ids.len()
        })
        .unwrap();
        ours.process.kill9();
        world.invariant("after the kill of a Rust worker");
        let mut python = world.python("play", 3);
        world.drain(&[]);
        python.terminate();
        python.wait(PATIENCE).unwrap();
    }
    world.finish(times, vec![]);
}

#[test]
fn a_killed_rust_workers_tasks_start_again_within_a_lease() {
    let (times, lease) = by_scale((1, 3), (2, 3), (3, 30));
    let mut world = World::new("Rust killed, Rust goes on");
    world.fault = Duration::from_secs(lease);
    let lease_option = format!("{lease}s");
    let more = ["-l", "info", "--lease", &lease_option];
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let mut first = world.playground(&more);
        let ids = world.post(Kind::Sleep(1.0), 20);
        wait_for(PATIENCE, "the first worker to hold the messages", || {
            received(&first.process.log(), &ids) == ids.len()
        })
        .unwrap();
        let second = world.playground(&more);
        first.process.kill9();
        let killed = Instant::now();
        wait_for(PATIENCE, "the second worker to get the messages", || {
            received(&second.process.log(), &ids) == ids.len()
        })
        .unwrap();
        slowest = slowest.max(killed.elapsed());
        world.drain(&[&second]);
        second.stop();
    }
    // A busy machine gets the half minute.
    assert!(
        slowest < Duration::from_secs(lease + 30),
        "{slowest:?} with a lease of {lease} s"
    );
    world.note(format!(
        "started again after {} (lease {lease} s)",
        seconds(slowest)
    ));
    world.finish(times, vec![]);
}

#[test]
fn a_task_held_for_three_visibility_timeouts_runs_once() {
    let mut world = World::new("held for 3 visibility timeouts");
    let timeout = by_scale(3, 5, 10);
    world.fault = Duration::from_secs(3 * u64::from(timeout));
    // These workers sweep every second and would run the task; two of them serve the queue.
    let ours = world.playground(&["-l", "info", "--visibility-timeout", &format!("{timeout}s")]);
    let id = world.post(Kind::Sleep(f64::from(3 * timeout)), 1);
    wait_for(PATIENCE, "our worker to hold the message", || {
        received(&ours.process.log(), &id) == 1
    })
    .unwrap();
    let mut pythons = [world.python("play", timeout), world.python("play", timeout)];
    world.drain(&[&ours]);
    let mut logs = vec![ours.process.log()];
    for python in &mut pythons {
        python.terminate();
        python.wait(PATIENCE).unwrap();
        logs.push(python.log());
    }
    assert_eq!(successes(&logs), BTreeMap::from([(id[0].clone(), 1)]));
    assert!(
        logs[1..].iter().all(|log| received(log, &id) == 0),
        "a Python worker got it"
    );
    world.finish(1, vec![ours]);
}
