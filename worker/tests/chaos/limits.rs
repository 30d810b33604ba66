//! Limits across all workers, and unique tasks, while workers are killed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::wait_for;
use serde_json::value::RawValue;

use crate::door::Door;
use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The most calls of `proj.occupy` with one key that run at once.
const MOST: usize = 2;
/// How often a call of `proj.add` begins in a second.
const RATE: f64 = 4.0;
const SETTINGS: &str = "
[annotations.'proj.occupy']
max_concurrency = 2
limit_by = 1
[annotations.'proj.add']
fleet_rate_limit = '4/s'
";
const KEYS: [&str; 2] = ["north", "south"];
const QUEUE: &str = "play";

/// The calls of a scenario, beside those that the world counts.
struct Calls {
    door: Door,
    ids: Vec<String>,
    /// The time at which the first limited call was about to be sent.
    since: Instant,
}

impl Calls {
    fn post(&mut self, world: &mut World, name: &str, args: &str) {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let id = format!("{name}-{}", self.ids.len());
        let task = Task::new(&id, name, raw(args), raw("{}"));
        let message = task.encode_redis(&EncodeOptions::new(QUEUE, &id)).unwrap();
        let message = String::from_utf8(message).unwrap();
        let _length: u64 = world.ask(&["LPUSH", QUEUE, &message]);
        self.ids.push(id);
    }

    /// Sends calls of each kind.
    fn post_some(&mut self, world: &mut World) {
        for key in KEYS {
            let args = self.door.args(key);
            for _ in 0..3 {
                self.post(world, "proj.occupy", &args);
            }
            let args = self.door.args(&format!("alone in the {key}"));
            for _ in 0..3 {
                self.post(world, "proj.alone", &args);
            }
        }
        for _ in 0..8 {
            self.post(world, "proj.add", "[1, 2]");
        }
        world.post(Kind::Noop, 20);
    }

    /// Returns how many calls of a task have this status.
    fn count(&self, world: &mut World, name: &str, status: &str) -> usize {
        let mut words = vec!["MGET".to_owned()];
        let of_task = self.ids.iter().filter(|id| id.starts_with(name));
        words.extend(of_task.map(|id| format!("celery-task-meta-{id}")));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let documents: Vec<Option<String>> = world.ask(&words);
        let is = |document: &&Option<String>| {
            document
                .as_deref()
                .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
                .is_some_and(|document| document["status"] == status)
        };
        documents.iter().filter(is).count()
    }

    /// Asserts that no more calls have begun at the rate, or run at once, than may.
    fn check(&self, world: &mut World) {
        let ended = self.count(world, "proj.add", "SUCCESS");
        let most = 1.0 + self.since.elapsed().as_secs_f64() * RATE;
        assert!(
            f64::from(u32::try_from(ended).unwrap()) <= most,
            "{ended} of {most}"
        );
        for (key, seen) in &self.door.seen().most {
            let most = if key.starts_with("alone") { 1 } else { MOST };
            assert!(*seen <= most, "{seen} calls of {key:?} ran at once");
        }
    }

    /// Waits until as many calls with each key run as may.
    fn wait_until_full(&self, world: &mut World) {
        wait_for(PATIENCE, "calls in all places", || {
            world.observe();
            self.check(world);
            let seen = self.door.seen();
            let of = |key: &&str| seen.open.iter().filter(|guest| guest.key == **key).count();
            KEYS.iter().all(|key| of(key) == MOST)
        })
        .unwrap();
    }

    /// Lets a call end and waits until another one runs, or until all have ended.
    fn go_on(&self, world: &mut World) -> bool {
        if !self.door.seen().open.is_empty() {
            self.door.release();
        }
        let mut left = true;
        wait_for(PATIENCE, "a call that runs", || {
            world.observe();
            self.check(world);
            assert_eq!(self.count(world, "", "FAILURE"), 0);
            left = self.count(world, "", "SUCCESS") + self.count(world, "", "REVOKED")
                < self.ids.len();
            !left || !self.door.seen().open.is_empty()
        })
        .unwrap();
        left
    }
}

#[test]
fn limits_and_locks_hold_while_workers_are_killed() {
    let times = by_scale(6, 40, 200);
    let mut world = World::new("limits: kill -9");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.toml");
    std::fs::write(&file, SETTINGS).unwrap();
    let start = |world: &World| world.playground(&["-c", "8", "--config", file.to_str().unwrap()]);
    let mut workers: Vec<Worker> = (0..4).map(|_| start(&world)).collect();
    let mut calls = Calls {
        door: Door::open(),
        ids: Vec::new(),
        since: Instant::now(),
    };
    for _ in 0..times {
        calls.post_some(&mut world);
        calls.wait_until_full(&mut world);
        let pid = calls.door.seen().open.first().map(|guest| guest.pid);
        let killed = workers.iter().position(|it| Some(it.process.pid()) == pid);
        let killed = killed.unwrap_or_default();
        workers[killed].process.kill9();
        workers[killed] = start(&world);
        for _ in 0..4 {
            calls.go_on(&mut world);
        }
    }
    while calls.go_on(&mut world) {}
    let most: HashMap<String, usize> = calls.door.seen().most.clone();
    for key in KEYS {
        assert_eq!(most[key], MOST, "{most:?}");
        assert_eq!(most[&format!("alone in the {key}")], 1, "{most:?}");
    }
    let alone = |world: &mut World, status| calls.count(world, "proj.alone", status);
    let (ran, revoked) = (alone(&mut world, "SUCCESS"), alone(&mut world, "REVOKED"));
    assert!(
        ran >= KEYS.len() && revoked > 0,
        "{ran} ran, {revoked} did not"
    );
    world.note(format!("{ran} unique calls, {revoked} duplicates"));
    world.fault = Duration::from_secs(2);
    world.finish(times, workers);
}
