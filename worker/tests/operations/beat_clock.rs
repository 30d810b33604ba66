//! Schedules while Redis's clock is turned by the test, and leaders die, freeze and come back.
//!
//! Only Redis's clock is turned: it is the clock of all processes that run schedules.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use celery_protocol::message::Task;
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::json;
use tempfile::TempDir;

use crate::world::*;

const MINUTE: i64 = 60_000;
/// The seconds after which the lease of a dead leader has ended.
const LEASE: i64 = 11;

/// A Redis server whose clock the test turns.
struct Fleet {
    redis: Redis,
    clock: PathBuf,
    /// How far the clock is turned, in microseconds.
    shift: i64,
    _folder: TempDir,
}

impl Fleet {
    /// Starts the server. Returns `None` and prints why if this machine has no C compiler.
    fn start() -> Option<Fleet> {
        let folder = tempfile::tempdir().unwrap();
        let (library, clock) = (folder.path().join("clock.so"), folder.path().join("clock"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operations/turned_clock.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source]);
        let Ok(output) = compiler.output() else {
            println!("skipped: no C compiler here");
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        std::fs::write(&clock, 0_i64.to_ne_bytes()).unwrap();
        let starter = [
            "env",
            &format!("LD_PRELOAD={}", library.display()),
            &format!("TURNED_CLOCK={}", clock.display()),
        ];
        let redis = RedisOptions::new().through(&starter).start().unwrap();
        Some(Fleet {
            redis,
            clock,
            shift: 0,
            _folder: folder,
        })
    }

    /// Turns the clock by this number of seconds.
    fn turn(&mut self, seconds: i64) {
        self.shift += seconds * 1_000_000;
        // The file is written in place, because the server has it in its memory.
        let clock = std::fs::OpenOptions::new().write(true).open(&self.clock);
        clock.unwrap().write_all(&self.shift.to_ne_bytes()).unwrap();
    }

    /// Turns the clock to this moment.
    fn turn_to(&mut self, moment: i64) {
        let left = moment - self.now();
        self.turn(left.div_euclid(1_000) + 1);
    }

    fn now(&self) -> i64 {
        let time = self.redis.cli(&["TIME"]).unwrap();
        time.lines().next().unwrap().trim().parse::<i64>().unwrap() * 1_000
    }

    fn ask(&self, command: &[&str]) -> String {
        self.redis.cli(command).unwrap().trim().to_owned()
    }

    fn add(&self, name: &str, missed: &str) {
        let entry = json!({ "v": 1, "task": "t", "schedule": "* * * * *", "missed": missed });
        self.redis
            .cli(&["HSET", "rs.beat", name, &entry.to_string()])
            .unwrap();
        self.redis.cli(&["ZADD", "rs.beat.due", "0", name]).unwrap();
    }

    fn due(&self, name: &str) -> i64 {
        let mut due = 0;
        wait_for(PATIENCE, "a due time", || {
            due = self
                .ask(&["ZSCORE", "rs.beat.due", name])
                .parse()
                .unwrap_or(0);
            due > 0
        })
        .unwrap();
        due
    }

    fn sent(&self) -> u64 {
        count(&self.redis, &["LLEN", "celery"])
    }

    fn wait_until_sent(&self, messages: u64, beats: &[Process]) {
        if let Err(error) = wait_for(PATIENCE, "the messages", || self.sent() >= messages) {
            let logs: Vec<String> = beats.iter().map(Process::log).collect();
            panic!(
                "{error}: {} of {messages}; {}",
                self.sent(),
                logs.join("\n---\n")
            );
        }
    }

    /// Returns how often each task id was sent.
    fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for place in 0..self.sent() {
            let text = self
                .redis
                .cli(&["LINDEX", "celery", &place.to_string()])
                .unwrap();
            let task = Task::decode_redis(text.trim().as_bytes()).unwrap();
            *ids.entry(task.id).or_default() += 1;
        }
        ids
    }

    fn beat(&self, number: usize, variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        let node = format!("beat{number}@test");
        command.args(["beat", "-b", &self.redis.url(), "-l", "debug", "-n", &node]);
        command.envs(variables.iter().copied());
        Process::spawn("beat", &mut command).unwrap()
    }

    /// Returns the number of the process that leads, once there is one other than `not`.
    fn leader(&self, not: Option<usize>) -> usize {
        let mut leader = None;
        wait_for(PATIENCE, "a leader", || {
            let token = self.ask(&["GET", "rs.beat.leader"]);
            let number = token
                .strip_prefix("beat")
                .and_then(|rest| rest.split('@').next());
            leader = number.and_then(|number| number.parse().ok());
            leader.is_some() && leader != not
        })
        .unwrap();
        leader.unwrap()
    }
}

/// The namespace of the ids, as docs/reference/schedules.md has it.
const NAMESPACE: u128 = 0x6c1f_0f6e_2a55_4d6a_9d0b_6f1d_7f0c_8a11;

fn id(name: &str, due: i64) -> String {
    let namespace = uuid::Uuid::from_u128(NAMESPACE);
    uuid::Uuid::new_v5(&namespace, format!("{name}\n{due}").as_bytes()).to_string()
}

#[test]
fn fifty_leaders_die_and_no_minute_is_missed_or_sent_twice() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    fleet.add("each", "once");
    let mut beats: Vec<Process> = (0..3).map(|number| fleet.beat(number, &[])).collect();
    let first = fleet.due("each");
    for step in 0..50 {
        // The token of a dead leader has ended, so this one lives.
        let leader = fleet.leader(None);
        let due = first + step * MINUTE;
        let messages = u64::try_from(step).unwrap() + 1;
        // The leader dies before its minute, about then, or after it has sent.
        match step % 3 {
            0 => {
                beats[leader].kill9();
                fleet.turn_to(due);
            }
            1 => {
                fleet.turn_to(due);
                beats[leader].kill9();
                fleet.turn(LEASE);
            }
            _ => {
                fleet.turn_to(due);
                fleet.wait_until_sent(messages, &beats);
                beats[leader].kill9();
                fleet.turn(LEASE);
            }
        }
        fleet.wait_until_sent(messages, &beats);
        beats[leader] = fleet.beat(leader, &[]);
    }
    let expected: BTreeMap<String, usize> = (0..50)
        .map(|step| (id("each", first + step * MINUTE), 1))
        .collect();
    assert_eq!(fleet.ids(), expected);
}

#[test]
fn a_leader_that_was_frozen_before_it_sends_sends_nothing() {
    for place in ["beat_fire", "beat_fired"] {
        let Some(mut fleet) = Fleet::start() else {
            return;
        };
        fleet.add("each", "once");
        let mut beats = vec![fleet.beat(0, &[("CELERY_STOP_AT", place)])];
        beats[0]
            .wait_for_line(PATIENCE, "This process leads")
            .unwrap();
        let first = fleet.due("each");
        fleet.turn_to(first);
        // It has read what is due, and stops before or after it sends. The lease ends meanwhile.
        let state = || {
            let path = format!("/proc/{}/stat", beats[0].pid());
            let stat = std::fs::read_to_string(path).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim().starts_with('T'))
        };
        wait_for(PATIENCE, "the leader to stop", state).unwrap();
        beats.push(fleet.beat(1, &[]));
        fleet.turn(LEASE);
        assert_eq!(fleet.leader(Some(0)), 1);
        fleet.wait_until_sent(1, &beats);
        beats[0].resume();
        beats[0].wait_for_line(PATIENCE, "beat1@test").unwrap();
        fleet.turn_to(first + MINUTE);
        fleet.wait_until_sent(2, &beats);
        let expected = [0, MINUTE].map(|after| (id("each", first + after), 1));
        assert_eq!(fleet.ids(), expected.into_iter().collect(), "{place}");
        if place == "beat_fire" {
            assert!(
                beats[0].log().contains("no longer leads"),
                "{}",
                beats[0].log()
            );
        }
    }
}

#[test]
fn a_clock_that_jumps_sends_nothing_twice() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    for missed in ["once", "all", "none"] {
        fleet.add(missed, missed);
    }
    let beats = [fleet.beat(0, &[])];
    // A minute cannot begin between the first due time and the last one that is computed.
    let first = ["once", "all", "none"]
        .map(|name| fleet.due(name))
        .into_iter()
        .max()
        .unwrap();
    for name in ["once", "all", "none"] {
        fleet
            .redis
            .cli(&["ZADD", "rs.beat.due", &first.to_string(), name])
            .unwrap();
    }
    fleet.turn_to(first);
    fleet.wait_until_sent(3, &beats);
    // An hour back: nothing is due, and an entry that is added shows that the leader has looked.
    fleet.turn(-3_600);
    fleet.add("probe", "none");
    fleet.due("probe");
    assert_eq!(fleet.sent(), 3);
    fleet.redis.cli(&["HDEL", "rs.beat", "probe"]).unwrap();
    fleet.redis.cli(&["ZREM", "rs.beat.due", "probe"]).unwrap();
    // Ten minutes ahead of the first time: `once` is sent once, `all` ten times, `none` not.
    fleet.turn_to(first + 10 * MINUTE + 5_000);
    fleet.wait_until_sent(3 + 1 + 10, &beats);
    let next = first + 11 * MINUTE;
    for name in ["once", "all", "none"] {
        wait_for(PATIENCE, "the next due time", || fleet.due(name) == next).unwrap();
    }
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for (name, minutes) in [("once", 0..=1), ("all", 0..=10), ("none", 0..=0)] {
        for minute in minutes {
            expected.insert(id(name, first + minute * MINUTE), 1);
        }
    }
    assert_eq!(fleet.ids(), expected);
}
