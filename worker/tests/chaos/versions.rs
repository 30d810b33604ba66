//! Workers of this version and of an older one on one queue.
//!
//! `CHAOS_OLD_WORKER` is the path of the older `celery-worker`. docs/reference/faults.md says how to
//! build one. Without it, these scenarios are skipped.

use std::path::PathBuf;
use std::time::Duration;

use crate::programs::Worker;
use crate::world::{Kind, World, by_scale};

/// The options of the workers. Claims are native in one half of them, by script in the other. Each
/// worker holds few messages, so that the members of a chord are with several workers.
const OPTIONS: [[&str; 8]; 2] = [options("native"), options("script")];

const fn options(claim: &str) -> [&str; 8] {
    [
        "-c",
        "2",
        "--prefetch-multiplier",
        "1",
        "-l",
        "info",
        "--claim",
        claim,
    ]
}

/// Returns the older worker's program; `None`, with a line that says so, if there is none.
fn older() -> Option<PathBuf> {
    let program = std::env::var_os("CHAOS_OLD_WORKER").map(PathBuf::from);
    if program.is_none() {
        println!("skipped: CHAOS_OLD_WORKER is not set");
    }
    program
}

/// Returns how many tasks a worker has done.
fn done(worker: &Worker) -> usize {
    worker.process.log().matches("] succeeded in ").count()
}

/// Posts tasks, large and small, and chords.
fn post(world: &mut World) {
    world.post_chords(Kind::Created, 5, 1);
    world.post_chords(Kind::Once, 10, 6);
    world.post(Kind::Created, 40);
    world.post(Kind::Effect, 20);
    world.post(Kind::Text(20_000), 20);
}

#[test]
fn killed_workers_of_two_versions_lose_nothing() {
    let Some(program) = older() else { return };
    let kills = by_scale(12, 60, 600);
    let mut world = World::new("kill -9, two versions of the worker").with_database(&[]);
    let mut killed = 0;
    let mut by_version = [0; 2];
    while killed < kills {
        let mut fleet = Vec::new();
        for more in &OPTIONS {
            fleet.push((world.worker(more), 0));
            fleet.push((world.older_worker(&program, more), 1));
        }
        world.random.shuffle(&mut fleet);
        post(&mut world);
        // In one of three rounds they live long enough to rescue what others held.
        let longest = [300, 300, 2_500][world.random.usize(0..3)];
        for (worker, version) in &mut fleet {
            let moment = Duration::from_millis(world.random.u64(0..longest));
            world.work_a_little(moment);
            worker.process.kill9();
            by_version[*version] += done(worker);
            killed += 1;
        }
        world.invariant(&format!("after {killed} kills"));
    }
    let [newer, older] = by_version;
    assert!(
        newer > 0 && older > 0,
        "{newer} by this version, {older} by the older one"
    );
    world.note(format!("{newer} by this version, {older} by the older one"));
    // Each version takes over what is left in its turn.
    for turn in 0..2 {
        let last = match turn {
            0 => world.older_worker(&program, &OPTIONS[0]),
            _ => world.worker(&OPTIONS[0]),
        };
        world.drain(&[&last]);
        assert_eq!(world.open_chords(), Vec::<String>::new());
        last.stop();
        let mut dies = match turn {
            0 => world.older_worker(&program, &OPTIONS[0]),
            _ => world.worker(&OPTIONS[0]),
        };
        post(&mut world);
        world.work_a_little(Duration::from_millis(200));
        dies.process.kill9();
        killed += 1;
        world.invariant("after the last of one version");
    }
    let last = world.older_worker(&program, &OPTIONS[1]);
    world.drain(&[&last]);
    assert_eq!(world.open_chords(), Vec::<String>::new());
    world.finish(killed, vec![last]);
}

#[test]
fn a_deployment_under_load_does_everything_once() {
    let Some(program) = older() else { return };
    let times = by_scale(2, 6, 40);
    let mut world = World::new("rolling deployment, and back").with_database(&[]);
    let mut running = world.older_worker(&program, &OPTIONS[0]);
    for turn in 0..times {
        post(&mut world);
        world.work_a_little(Duration::from_millis(20));
        let next = match turn % 2 {
            0 => world.worker(&OPTIONS[turn / 2 % 2]),
            _ => world.older_worker(&program, &OPTIONS[turn / 2 % 2]),
        };
        post(&mut world);
        world.work_a_little(Duration::from_millis(100));
        // A warm stop gives back what has not begun.
        std::mem::replace(&mut running, next).stop();
    }
    let twice = world.finish(times, vec![running]).twice;
    assert_eq!(twice, 0, "a deployment without deaths repeats nothing");
}
