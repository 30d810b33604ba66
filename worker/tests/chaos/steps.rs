//! Death at each step of claim, run, commit, settle. Needs the feature `failpoints`.

use std::os::unix::process::ExitStatusExt;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The steps and how often one turn passes each of them at least.
const STEPS: [(&str, u32); 9] = [
    // Nothing was claimed; it was, and nobody has heard of it; it is about to be handed out.
    ("claim", 1),
    ("claimed", 1),
    ("deliver", TASKS),
    // Before the task's code; in its transaction; after COMMIT.
    ("run", TASKS / 2),
    ("commit", TASKS / 2),
    ("committed", TASKS / 2),
    // A task is over, or some of a batch are.
    ("ran", TASKS),
    // About to be settled; settled, and nobody has heard of it.
    ("settle", 1),
    ("settled", 1),
];

/// Half of them are run in batches, half one by one.
const TASKS: u32 = 20;

/// What SIGABRT is.
const ABORTED: i32 = 6;

fn die_at(world: &mut World, step: &str, passes: u32, more: &[&str]) {
    world.post(Kind::Created, TASKS / 2);
    world.post(Kind::Effect, TASKS / 4);
    world.post(Kind::Once, TASKS / 4);
    let pass = world.random.u32(1..=passes);
    let place = format!("{step}:{pass}");
    let mut command = world.worker_command(more);
    let mut worker = Worker::spawn(command.env("CELERY_FAIL_AT", &place));
    let status = worker.process.wait(PATIENCE).unwrap();
    assert_eq!(
        status.signal(),
        Some(ABORTED),
        "{place}: {}",
        worker.process.log()
    );
    world.invariant(&place);
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
