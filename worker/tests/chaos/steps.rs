//! Kills workers at each step of claim, run, commit and settle. Needs the feature `failpoints`.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale, from_now};

/// The steps, and how often one turn passes each of them at least.
pub const STEPS: [(&str, u32); 9] = [
    // Nothing was claimed; messages were claimed, and no other role knows of them; one is about to
    // be handed out.
    ("claim", 1),
    ("claimed", 1),
    ("deliver", TASKS),
    // Before the task's code; in its transaction; after COMMIT.
    ("run", TASKS / 2),
    ("commit", TASKS / 2),
    ("committed", TASKS / 2),
    // A task has ended, or some calls of a batch have.
    ("ran", TASKS),
    // A verdict is about to be settled; it is settled, and no other role knows of it.
    ("settle", 1),
    ("settled", 1),
];

/// The tasks of one turn: half of them run in batches, half one by one.
pub const TASKS: u32 = 20;

/// The number of the signal SIGABRT.
const ABORTED: i32 = 6;

/// Sends the tasks of a turn, and starts a worker that dies at one of the passes of a step.
pub fn die_at(world: &mut World, step: &str, passes: u32, more: &[&str]) {
    world.post(Kind::Created, TASKS / 2);
    world.post(Kind::Effect, TASKS / 4);
    world.post(Kind::Once, TASKS / 4);
    let pass = world.random.u32(1..=passes);
    let command = world.worker_command(more);
    die(world, command, &format!("{step}:{pass}"));
}

/// Starts a worker that dies at this place, and asserts the invariant.
pub fn die(world: &mut World, mut command: Command, place: &str) {
    let mut worker = Worker::spawn(command.env("CELERY_FAIL_AT", place));
    let status = worker.process.wait(PATIENCE).unwrap();
    assert_eq!(
        status.signal(),
        Some(ABORTED),
        "{place}: {}",
        worker.process.log()
    );
    world.invariant(place);
}

#[test]
fn death_in_a_rescue_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    // Messages of another worker are about to be put back; they are back; the task of a redelivered
    // message, which was counted, is about to run.
    let steps = ["sweep", "swept", "begun"];
    let mut world = World::new("death in a rescue").with_database(&[]);
    for _ in 0..turns {
        for step in steps {
            die_at(&mut world, "claimed", 1, &[]);
            let held: u64 = world.ask(&["HLEN", "unacked"]);
            assert!(held > 0, "the dead worker holds nothing");
            let command = world.worker_command(&[]);
            die(&mut world, command, step);
        }
        let worker = world.worker(&[]);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(turns * steps.len(), vec![]);
}

#[test]
fn death_while_holding_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    // Leases are renewed; messages are parked; a parked message is due.
    let steps = ["renewed", "parked", "due"];
    let mut world = World::new("death while holding and parking");
    for _ in 0..turns {
        for step in steps {
            world.post(Kind::Sleep(0.7), 10);
            world.post_at(Kind::Noop, 10, Some(from_now(Duration::from_secs(8))));
            let command = world.playground_command(&["-c", "5"]);
            die(&mut world, command, step);
        }
        let worker = world.playground(&[]);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(turns * steps.len(), vec![]);
}

#[test]
fn death_at_any_step_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("death at each step").with_database(&[]);
    for turn in 0..turns {
        world.exactly_once = turn % 2 == 0;
        for (step, passes) in STEPS {
            die_at(&mut world, step, passes, &[]);
        }
        let worker = world.worker(&[]);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(turns * STEPS.len(), vec![]);
}

#[test]
fn with_results_elsewhere_death_at_any_step_loses_nothing() {
    let turns = by_scale(1, 5, 30);
    let mut world = World::new("the same, results elsewhere").with_database(&[]);
    world.results_db = 1;
    let results = world.redis.url_of_db(1);
    let more = ["--result-backend", &results];
    let steps = [("settle", 1), ("stored", 1), ("settled", 1)];
    for _ in 0..turns {
        for (step, passes) in steps {
            die_at(&mut world, step, passes, &more);
        }
        let worker = world.worker(&more);
        world.drain(&[&worker]);
        worker.stop();
    }
    world.finish(turns * steps.len(), vec![]);
}

#[test]
fn code_that_begins_at_most_once_fails_with_its_worker() {
    let turns = by_scale(1, 5, 30);
    // Nothing is noted; that the code begins is noted; it is about to begin; it has ended; its
    // verdict is about to be settled; it is settled.
    let steps = ["deliver", "begun", "run", "ran", "settle", "settled"];
    let mut world = World::new("death with acks_late = false").with_database(&[]);
    for _ in 0..turns {
        for step in steps {
            let ids = world.post(Kind::Early, TASKS / 2);
            let command = world.worker_command(&[]);
            die(&mut world, command, step);
            let worker = world.worker(&[]);
            world.drain(&[&worker]);
            worker.stop();
            let (failed, with_effect) = world.early_failed(&ids);
            match step {
                "deliver" => assert_eq!(failed, 0, "{step}"),
                "begun" | "run" => assert!(failed > with_effect, "{step}"),
                "ran" | "settle" => assert!(with_effect > 0, "{step}"),
                _ => {}
            }
        }
    }
    world.finish(turns * steps.len(), vec![]);
}
