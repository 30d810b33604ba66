//! Claims by native commands: what happens while messages are in the list of a worker. Needs the
//! feature `failpoints`.

use std::process::Command;
use std::time::Duration;

use celery_testkit::{Process, wait_for};

use crate::programs::Worker;
use crate::steps::{TASKS, die, die_at};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The options of a worker that claims everything by native commands.
const NATIVE: [&str; 2] = ["--claim", "native"];

/// The steps of a claim: nothing is moved; messages are moved; they are about to be entered, and
/// are; another role is about to get them.
const STEPS: [&str; 5] = ["moving", "moved", "enter", "entered", "claimed"];

/// Returns how many messages are in held lists, and how many instances are registered. Asserts that
/// an instance is registered exactly while it has a list.
fn moved(world: &mut World) -> usize {
    let mut lists: Vec<String> = world.ask(&["KEYS", "rs.held.*"]);
    lists.retain(|list| list != "rs.held.owners");
    lists.sort();
    let mut owners: Vec<String> = world.ask(&["SMEMBERS", "rs.held.owners"]);
    owners.sort();
    let names: Vec<String> = owners.iter().map(|it| format!("rs.held.{it}")).collect();
    assert_eq!(lists, names);
    let lengths = lists.iter().map(|list| world.ask::<usize>(&["LLEN", list]));
    // Each list has one header.
    lengths.sum::<usize>() - lists.len()
}

/// Starts a worker that stops itself at this step, and waits until it has.
pub fn stops_at(world: &mut World, step: &str, mut command: Command) -> Worker {
    let worker = Worker::spawn(command.env("CELERY_STOP_AT", step));
    wait_for(PATIENCE, "it to stop", || is_stopped(&worker.process)).unwrap();
    world.observe();
    worker
}

fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid()));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, it)| it.starts_with('T'))
    })
}

fn post(world: &mut World) {
    world.post(Kind::Created, TASKS / 2);
    world.post(Kind::Effect, TASKS / 4);
    world.post(Kind::Once, TASKS / 4);
}

#[test]
fn death_at_any_step_of_a_native_claim_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("death in a native claim").with_database(&[]);
    for turn in 0..turns {
        world.exactly_once = turn % 2 == 0;
        for step in STEPS {
            die_at(&mut world, step, 1, &NATIVE);
            let (moved, held) = (moved(&mut world), world.ask::<usize>(&["HLEN", "unacked"]));
            match step {
                "moved" | "enter" => assert!(moved > 0, "{step}"),
                "entered" | "claimed" => assert!(held > 0, "{step}"),
                _ => {}
            }
        }
        let worker = world.worker(&NATIVE);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(turns * STEPS.len(), vec![]);
}

#[test]
fn the_list_of_a_dead_worker_survives_its_rescuers() {
    let turns = by_scale(1, 5, 30);
    // The messages of a dead worker are about to be returned; they are back.
    let steps = ["return", "returned"];
    let mut world = World::new("death in the return of a held list").with_database(&[]);
    for _ in 0..turns {
        for step in steps {
            die_at(&mut world, "moved", 1, &NATIVE);
            assert!(moved(&mut world) > 0);
            // A worker that claims by script returns them, too.
            let command = world.worker_command(&["--claim", "script"]);
            die(&mut world, command, step);
        }
        let worker = world.worker(&[]);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(2 * turns * steps.len(), vec![]);
}

#[test]
fn a_frozen_worker_enters_nothing_that_others_have_taken() {
    let turns = by_scale(1, 5, 30);
    let steps = ["moved", "enter"];
    let mut world = World::new("SIGSTOP in a native claim, SIGCONT").with_database(&[]);
    // On a slow machine, a task runs twice because its lease lapses. This lease is long enough.
    let more = ["--claim", "native", "--lease", "3s"];
    for _ in 0..turns {
        for step in steps {
            post(&mut world);
            let command = world.worker_command(&more);
            let frozen = stops_at(&mut world, step, command);
            assert!(moved(&mut world) > 0, "{step}");
            let other = world.worker(&more);
            assert!(
                world.wait_until_open(0, PATIENCE),
                "the other has taken over"
            );
            frozen.process.resume();
            world.one_more_soon(Kind::Created);
            let ended = world.random.bool();
            let (first, second) = if ended {
                (frozen, other)
            } else {
                (other, frozen)
            };
            first.stop();
            world.one_more_soon(Kind::Created);
            second.stop();
            assert_eq!(moved(&mut world), 0);
        }
    }
    let twice = world.finish(turns * steps.len(), vec![]).twice;
    assert_eq!(twice, 0, "a frozen worker has entered what others had done");
}

#[test]
fn a_frozen_worker_that_wakes_in_time_goes_on() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("SIGSTOP in a native claim, SIGCONT at once").with_database(&[]);
    for _ in 0..turns {
        for step in STEPS {
            post(&mut world);
            let command = world.worker_command(&["--claim", "native", "--lease", "30s"]);
            let frozen = stops_at(&mut world, step, command);
            frozen.process.resume();
            assert!(world.wait_until_open(0, PATIENCE), "{step}");
            frozen.stop();
        }
    }
    world.finish(turns * STEPS.len(), vec![]);
}

#[test]
fn a_crash_of_redis_in_a_native_claim_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("crash of Redis in a native claim").with_database(&[]);
    for turn in 0..turns {
        for step in STEPS {
            post(&mut world);
            let command = world.worker_command(&["--claim", "native", "--lease", "3s"]);
            let mut worker = stops_at(&mut world, step, command);
            world.redis.kill9();
            world.restart_redis();
            world.invariant(step);
            if turn % 2 == 0 {
                worker.process.resume();
            } else {
                worker.process.kill9();
                worker = world.worker(&NATIVE);
            }
            assert!(world.wait_until_open(0, PATIENCE), "{step}");
            worker.stop();
        }
    }
    world.finish(turns * STEPS.len(), vec![]);
}

#[test]
fn python_sweepers_beside_native_claims_find_nothing_wrong() {
    let turns = by_scale(2, 5, 30);
    let mut world = World::new("Python sweeps beside native claims").with_database(&[]);
    world.fault = Duration::from_secs(3);
    // It serves another queue, and sweeps each second what is older than a second.
    let mut python = world.python("nothing", 1);
    for _ in 0..turns {
        for step in ["moved", "entered"] {
            die_at(&mut world, step, 1, &NATIVE);
        }
        let pair = [world.worker(&NATIVE), world.worker(&["--claim", "script"])];
        post(&mut world);
        world.drain(&[&pair[0], &pair[1]]);
        pair.into_iter().for_each(Worker::stop);
    }
    python.terminate();
    python.wait(PATIENCE).unwrap();
    assert!(
        !python.log().contains("Could not restore"),
        "{}",
        python.log()
    );
    world.finish(2 * turns, vec![]);
}

#[test]
fn what_waits_when_only_python_goes_on_is_counted_and_done_later() {
    let turns = by_scale(1, 3, 10);
    let mut world = World::new("native claims killed, Python goes on");
    world.fault = Duration::from_secs(20);
    for turn in 0..turns {
        world.post(Kind::Sleep(0.0), TASKS);
        let command = world.playground_command(&NATIVE);
        die(&mut world, command, "moved");
        let waiting = moved(&mut world);
        assert!(waiting > 0);
        let mut python = world.python("play", 3_600);
        let ids = world.post(Kind::Sleep(0.0), 10);
        wait_for(PATIENCE, "Python to do the others", || {
            world.observe();
            ids.iter().all(|id| !world.is_open(id))
        })
        .unwrap();
        assert_eq!(moved(&mut world), waiting);
        let said = wait_for_check(&world, &format!("{waiting} messages of the list play"));
        assert!(said.contains("WARNING"), "{said}");
        if turn % 2 == 0 {
            let returned = cli(&world, &["dead", "replay", "--held"]);
            assert_eq!(returned.trim(), format!("{waiting} put back"));
            world.drain(&[]);
        } else {
            // Its queue is another one: it only sweeps.
            let worker = world.playground(&["--queues", "nothing"]);
            world.drain(&[&worker]);
            worker.stop();
        }
        assert!(!cli(&world, &["check"]).contains("messages of the list"));
        python.terminate();
        python.wait(PATIENCE).unwrap();
    }
    world.finish(turns, vec![]);
}

fn cli(world: &World, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let command = command.args(words).args(["--broker", &world.redis.url()]);
    let output = command.args(["--lease", "1s"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the check says this, and returns its output.
fn wait_for_check(world: &World, wanted: &str) -> String {
    let mut said = String::new();
    let waited = wait_for(PATIENCE, "the check to report them", || {
        said = cli(world, &["check"]);
        said.contains(wanted)
    });
    assert!(waited.is_ok(), "{wanted}: {said}");
    said
}

#[test]
fn killed_native_workers_lose_nothing() {
    let kills = by_scale(10, 100, 1_000);
    let mut world = World::new("kill -9 under load, native claims").with_database(&[]);
    let more = [
        "-c",
        "4",
        "--prefetch-multiplier",
        "10",
        "--claim",
        "native",
    ];
    let mut killed = 0;
    let mut between = 0;
    while killed < kills {
        let mut pair = [world.worker(&more), world.playground(&more)];
        world.post(Kind::Created, 60);
        world.post(Kind::Once, 40);
        world.post(Kind::Noop, 100);
        world.post(Kind::Large(9_000), 40);
        for worker in &mut pair {
            let moment = Duration::from_millis(world.random.u64(0..300));
            world.work_a_little(moment);
            worker.process.kill9();
            killed += 1;
        }
        world.invariant(&format!("after {killed} kills"));
        between += usize::from(moved(&mut world) > 0);
        if killed % 10 == 0 && killed < kills {
            let pair = [world.worker(&more), world.playground(&more)];
            world.drain(&[&pair[0], &pair[1]]);
            pair.into_iter().for_each(Worker::stop);
        }
    }
    world.note(format!("{between} times messages were left in a held list"));
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.finish(killed, workers);
}

/// The longest time that a message may stay in the held list of a living worker, far less than the
/// default lease. It stays for milliseconds; a busy machine gets this.
const BOUND: Duration = Duration::from_secs(20);

/// Returns the age of the oldest held list by Redis's time, in milliseconds. -1: there is none.
const AGE: &str = r"
local time, oldest = redis.call('TIME'), -1
for _, owner in ipairs(redis.call('SMEMBERS', 'rs.held.owners')) do
  local header = redis.call('LINDEX', 'rs.held.' .. owner, -1)
  local moved = tonumber(header:match('^rs:%x+:%d+:([%d.]+):'))
  oldest = math.max(oldest, (time[1] + time[2] / 1e6 - moved) * 1000)
end
return math.floor(oldest)";

#[test]
fn a_living_worker_holds_a_list_for_less_than_a_lease() {
    let tasks = by_scale(3_000, 20_000, 100_000);
    let mut world = World::new("age of held lists");
    let more = [
        "-c",
        "4",
        "--prefetch-multiplier",
        "10",
        "--claim",
        "native",
    ];
    let workers = vec![world.playground(&more), world.playground(&more)];
    world.post(Kind::Large(6_000), tasks);
    let (mut oldest, mut seen) = (-1, 0);
    while !world.wait_until_open(0, Duration::ZERO) {
        let age: i64 = world.ask(&["EVAL", AGE, "0"]);
        seen += usize::from(age >= 0);
        oldest = oldest.max(age);
    }
    world.note(format!("seen {seen} times, at most {oldest} ms old"));
    assert!(oldest < i64::try_from(BOUND.as_millis()).unwrap());
    world.finish(1, workers);
}

#[test]
fn a_stop_under_load_leaves_no_held_list() {
    let times = by_scale(5, 20, 100);
    let mut world = World::new("stop under load, native claims");
    let more = [
        "-c",
        "4",
        "--prefetch-multiplier",
        "10",
        "--claim",
        "native",
    ];
    for turn in 0..times {
        let mut worker = world.playground(&more);
        world.post(Kind::Sleep(0.01), 50);
        world.post(Kind::Large(20_000), 100);
        world.work_a_little(Duration::from_millis(200));
        let (signal, code): (fn(&Process), _) = match turn % 2 {
            0 => (Process::terminate, 0),
            _ => (Process::quit, 1),
        };
        signal(&worker.process);
        let status = worker.process.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(code), "{}", worker.process.log());
        world.invariant("after a stop");
        assert_eq!(moved(&mut world), 0);
        assert_eq!(world.ask::<u64>(&["EXISTS", "rs.held.owners"]), 0);
    }
    let worker = world.playground(&more);
    world.finish(times, vec![worker]);
}
