//! Wrong clocks, and unusual times.

use std::process::Command;
use std::time::Duration;

use celery_protocol::time::Timestamp;
use celery_testkit::wait_for;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale, from_now};

/// Sets the clock of a command's process wrong by `shift`. Returns `false` if this machine cannot
/// do it.
fn set_wrong(command: &mut Command, shift: &str) -> bool {
    // Asks `faketime` for its variables and sets them here. If `faketime` started the worker, it
    // would be the process that gets the signals.
    let Ok(output) = Command::new("faketime").args(["-f", shift, "env"]).output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let (mut library, mut time) = (false, false);
    for (name, value) in variables {
        library |= name == "LD_PRELOAD";
        time |= name == "FAKETIME";
        if name == "LD_PRELOAD" || name.starts_with("FAKETIME") {
            command.env(name, value);
        }
    }
    library && time
}

#[test]
fn clocks_an_hour_apart_steal_nothing() {
    let tasks = by_scale(300, 1_000, 5_000);
    let mut world = World::new("worker clocks an hour off");
    // The longest task takes six seconds.
    world.fault = Duration::from_secs(6);
    // The lease is long enough not to run out on a busy machine: no task may run twice here.
    let more = ["-c", "4", "-l", "info", "--lease", "3s"];
    let mut workers = Vec::new();
    for shift in ["+1h", "-1h"] {
        let mut command = world.playground_command(&more);
        if !set_wrong(&mut command, shift) {
            println!("skipped: no faketime here");
            return;
        }
        workers.push(Worker::start(&mut command));
    }
    // The log lines show the wrong time, so the clock is really wrong.
    let hour = |worker: &Worker| {
        worker
            .process
            .log()
            .lines()
            .find(|l| l.contains("ready."))
            .unwrap()[..14]
            .to_owned()
    };
    assert_ne!(hour(&workers[0]), hour(&workers[1]));
    workers.push(world.playground(&more));
    let ids = world.post(Kind::Sleep(0.01), tasks);
    // These tasks are held for longer than a lease, which is renewed meanwhile.
    let long = world.post(Kind::Sleep(6.0), 6);
    world.drain(&workers.iter().collect::<Vec<_>>());
    let logs: String = workers.iter().map(|worker| worker.process.log()).collect();
    for id in ids.iter().chain(&long) {
        assert_eq!(
            logs.matches(&format!("[{id}] succeeded in")).count(),
            1,
            "{id}"
        );
    }
    world.finish(2, workers);
}

const HALF_AN_HOUR: Duration = Duration::from_mins(30);

#[test]
fn a_clock_that_jumps_steals_nothing() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("a worker's clock jumps an hour").with_database(&[]);
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let jump = |by: &str| {
        // The file is replaced in one step: a worker could read a half-written one as an invalid
        // time.
        let next = folder.path().join("next");
        std::fs::write(&next, by).unwrap();
        std::fs::rename(&next, &clock).unwrap();
    };
    jump("+0");
    let mut command = world.playground_command(&["-c", "8", "-l", "info", "--lease", "3s"]);
    if !set_wrong(&mut command, "+0") {
        println!("skipped: no faketime here");
        return;
    }
    command
        .env_remove("FAKETIME")
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let jumps = Worker::start(&mut command);
    // This worker serves another queue. It also sweeps: it rescues the messages of dead workers.
    let right = world.worker(&["-l", "info", "--lease", "3s"]);
    for _ in 0..times {
        let long = world.post(Kind::Sleep(5.0), 4);
        let early = world.post_at(Kind::Noop, 3, Some(from_now(HALF_AN_HOUR)));
        let late = world.post_at(Kind::Noop, 3, Some(from_now(4 * HALF_AN_HOUR)));
        let parked = |world: &mut World, count: u64| {
            let all: u64 = world.ask(&["ZCARD", "unacked_index"]);
            all == count
        };
        wait_for(PATIENCE, "the messages to be held and parked", || {
            parked(&mut world, 10)
        })
        .unwrap();
        jump("-1h");
        world.one_more(Kind::Noop);
        assert!(early.iter().all(|id| world.is_open(id)));
        // The worker compares an ETA with its own clock.
        jump("+1h");
        world.fault = Duration::from_secs(5);
        wait_for(
            PATIENCE,
            "the tasks that are due by this clock to end",
            || {
                world.observe();
                !early.iter().chain(&long).any(|id| world.is_open(id))
            },
        )
        .unwrap();
        assert!(late.iter().all(|id| world.is_open(id)));
        jump("+0");
        world.one_more(Kind::Noop);
        // No other worker has had the messages, and no task was run again.
        let log = jumps.process.log();
        for id in long.iter().chain(&early) {
            let done = format!("[{id}] succeeded in");
            assert_eq!(log.matches(&done).count(), 1, "{id}");
        }
        world.forget(&late);
    }
    assert!(
        !right.process.log().contains("Restored"),
        "a held message was taken from its worker"
    );
    world.finish(2 * times, vec![right, jumps]);
}

#[test]
fn odd_etas_are_kept() {
    let mut world = World::new("ETA in the past and in the year 9999");
    let worker = world.playground(&["-l", "info"]);
    let past = Timestamp::from_unix_micros(-1);
    let far = Timestamp::from_unix_micros(253_402_300_799_000_000);
    let old = world.post_at(Kind::Noop, 5, Some(past));
    assert!(world.wait_until_open(0, PATIENCE), "{old:?}");
    let late = world.post_at(Kind::Noop, 5, Some(far));
    let parked = |world: &mut World| {
        world.ask::<u64>(&["ZCOUNT", "unacked_index", "253402300000", "+inf"]) == 5
    };
    wait_for(PATIENCE, "the messages to be parked", || parked(&mut world)).unwrap();
    world.one_more_soon(Kind::Noop);
    worker.stop();
    world.invariant("with tasks of the year 9999");
    let queued = world.places();
    assert!(
        late.iter().all(|id| queued.get(id) == Some(&"queued")),
        "{queued:?}"
    );
    // The messages of a killed worker come back one lease after their ETA. That time does not come
    // during this test, but the messages must still be held.
    let mut killed = world.playground(&[]);
    wait_for(PATIENCE, "the messages to be parked", || parked(&mut world)).unwrap();
    killed.process.kill9();
    world.invariant("after the kill");
    let another = world.playground(&[]);
    world.one_more(Kind::Noop);
    world.forget(&late);
    another.stop();
    world.note("5 of the year 9999 still wait".to_owned());
    world.finish(1, vec![]);
}
