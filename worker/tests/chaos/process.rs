//! Faults of a worker's process other than its death.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use celery_testkit::{Process, wait_for};

use crate::busy::last;
use crate::programs::{Worker, seconds};
use crate::world::{Finished, Kind, PATIENCE, World, by_scale};

#[test]
fn a_frozen_worker_overwrites_nothing() {
    let times = by_scale(1, 3, 20);
    let mut world = World::new("SIGSTOP past the lease, SIGCONT");
    world.fault = Duration::from_secs(4);
    let more = ["-l", "info", "--visibility-timeout", "4s"];
    for _ in 0..times {
        let mut frozen = world.playground(&more);
        let ids = world.post(Kind::Sleep(0.5), 20);
        frozen
            .process
            .wait_for_line(PATIENCE, &format!("[{}] received", ids[19]))
            .unwrap();
        frozen.process.pause();
        let other = world.playground(&more);
        assert!(
            world.wait_until_open(0, PATIENCE),
            "the other worker did not take over"
        );
        let results = documents(&mut world, &ids);
        let said = frozen.process.log_len();
        frozen.process.resume();
        frozen
            .process
            .wait_for_line_after(PATIENCE, "lost", said)
            .unwrap();
        // The resumed worker is healthy again, and runs what it gets.
        other.stop();
        world.one_more_soon(Kind::Noop);
        assert_eq!(documents(&mut world, &ids), results);
        frozen.stop();
    }
    world.finish(times, vec![]);
}

#[test]
fn a_frozen_worker_takes_nothing_from_the_workers_that_took_over() {
    let timeout = 2;
    let mut world = World::new("SIGSTOP, resumed while others run it").with_database(&[]);
    let visibility = format!("{timeout}s");
    let more = ["-l", "info", "--visibility-timeout", &visibility];
    let frozen = [world.worker(&more), world.playground(&more)];
    // The Python worker serves another queue: here it only sweeps.
    let mut python = world.python("nothing", timeout);
    world.post(Kind::Once, 20);
    let long = world.post(Kind::Sleep(3.0), 5);
    let received = |worker: &Worker| {
        let log = worker.process.log();
        long.iter()
            .all(|id| log.contains(&format!("[{id}] received")))
    };
    wait_for(PATIENCE, "the worker to run the tasks", || {
        received(&frozen[1])
    })
    .unwrap();
    for worker in &frozen {
        worker.process.pause();
    }
    last(&mut world, Duration::from_secs(2 * u64::from(timeout)));
    let mut others = [world.worker(&more), world.playground(&more)];
    wait_for(PATIENCE, "the other worker to run the tasks", || {
        received(&others[1])
    })
    .unwrap();
    let [table, mut play] = frozen;
    let said = play.process.log_len();
    let held = tags(&mut world);
    table.process.resume();
    play.process.resume();
    let lost = play.process.wait_for_line_after(PATIENCE, "lost", said);
    lost.unwrap();
    let now = tags(&mut world);
    assert!(
        now.is_subset(&held) && now.len() >= long.len(),
        "{held:?} became {now:?}"
    );
    for worker in &mut others {
        worker.process.kill9();
    }
    // No worker may run while the invariant is checked.
    table.process.pause();
    play.process.pause();
    world.invariant("after the kill of the workers that had taken over");
    table.process.resume();
    play.process.resume();
    world.drain(&[&table, &play]);
    python.terminate();
    python.wait(PATIENCE).unwrap();
    world.finish(1, vec![table, play]);
}

/// Returns the delivery tags of the held messages; they name their workers.
fn tags(world: &mut World) -> BTreeSet<String> {
    world.ask(&["HKEYS", "unacked"])
}

fn documents(world: &mut World, ids: &[String]) -> BTreeMap<String, String> {
    ids.iter()
        .map(|id| {
            (
                id.clone(),
                world.ask(&["GET", &format!("celery-task-meta-{id}")]),
            )
        })
        .collect()
}

#[test]
fn a_panic_is_a_failure_of_its_task_alone() {
    let times = by_scale(20, 100, 1_000);
    let mut world = World::new("panic in a task");
    let worker = world.playground(&["-c", "4"]);
    for _ in 0..times {
        world.post(Kind::Panic, 2);
        world.post(Kind::Noop, 5);
        world.observe();
    }
    world.drain(&[&worker]);
    world.one_more_soon(Kind::Noop);
    world.finish(times * 2, vec![worker]);
}

#[test]
fn a_task_that_does_not_yield_does_not_delay_the_others() {
    let mut world = World::new("a task that never yields");
    let more = ["-c", "8", "-l", "info", "--lease", "3s"];
    let (mut worker, other) = (world.playground(&more), world.playground(&more));
    // The task exceeds its limit by more than the ten seconds after which it counts as stuck.
    let id = world.post(Kind::Spin(30), 1).remove(0);
    let name = format!("[{id}] received");
    wait_for(PATIENCE, "a worker to run the task", || {
        worker.process.log().contains(&name) || other.process.log().contains(&name)
    })
    .unwrap();
    let mut others = 0;
    while world.is_open(&id) {
        world.post(Kind::Noop, 10);
        others += 10;
        assert!(
            world.wait_until_open(1, PATIENCE),
            "the other tasks wait for the stuck one"
        );
    }
    world.note(format!("{others} others were done beside it"));
    let logs = worker.process.log() + &other.process.log();
    assert_eq!(
        logs.matches(&name).count(),
        1,
        "the stuck task lost its lease: {logs}"
    );
    other.stop();
    // With two of eight slots lost, the worker gives up, and its supervisor starts another.
    world.post(Kind::Spin(3_600), 2);
    let status = worker.process.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(70), "{}", worker.process.log());
    world.invariant("after the end of a stuck worker");
    let next = world.playground(&more);
    world.finish(1, vec![next]);
}

/// The longest time that a stop may take while all tasks end at once. It takes less than a second; a
/// busy machine gets this. Beyond it, the worker waits for an event that will not come.
const STOPPED: Duration = Duration::from_secs(30);

/// Stops workers under load by a signal. Asserts that what they give back is in the queues, and
/// that nothing is held.
pub fn stopped_under_load(world: World, signal: fn(&Process), code: i32) -> Finished {
    let times = by_scale(5, 20, 100);
    let mut world = world.with_database(&[]);
    let more = ["-c", "4", "--prefetch-multiplier", "10"];
    let mut slowest = Duration::ZERO;
    for turn in 1..=times {
        let mut pair = [world.worker(&more), world.playground(&more)];
        world.post(Kind::Created, 20);
        world.post(Kind::Effect, 10);
        world.post(Kind::Once, 10);
        world.post(Kind::Sleep(0.02), 50);
        for worker in &mut pair {
            world.work_a_little(Duration::from_millis(300));
            let told = Instant::now();
            signal(&worker.process);
            let status = worker.process.wait(PATIENCE).unwrap();
            slowest = slowest.max(told.elapsed());
            assert_eq!(status.code(), Some(code), "{}", worker.process.log());
        }
        world.invariant(&format!("after {turn} stops"));
        let held = world.held();
        assert_eq!(held, 0, "a stopped worker still holds something");
    }
    assert!(slowest < STOPPED, "a stop took {slowest:?}");
    world.note(format!("slowest stop {}", seconds(slowest)));
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.finish(2 * times, workers)
}

#[test]
fn a_warm_stop_under_load_gives_everything_back() {
    stopped_under_load(World::new("warm stop under load"), Process::terminate, 0);
}

#[test]
fn a_cold_stop_under_load_gives_everything_back() {
    stopped_under_load(World::new("cold stop under load"), Process::quit, 1);
}
