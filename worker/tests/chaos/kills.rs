//! `kill -9` at random moments.

use std::time::Duration;

use celery_testkit::wait_for;

use crate::world::{Kind, PATIENCE, World, by_scale};

/// The number of kills after which a worker may finish everything, including the messages of the
/// dead workers. In every other episode `task_created` applies each call once.
const EPISODE: usize = 10;

/// The time in milliseconds in which a worker has started, waited for a lease (a second), and
/// rescued.
const RESCUED: u64 = 4_000;

/// The tasks of one round: more than the workers can do before they are killed.
const LOAD: [(Kind, u32); 6] = [
    (Kind::Created, 60),
    (Kind::Effect, 40),
    (Kind::Once, 40),
    (Kind::Early, 20),
    (Kind::Noop, 100),
    (Kind::Sleep(0.02), 40),
];

#[test]
fn killed_workers_lose_nothing() {
    let kills = by_scale(20, 100, 1_000);
    let mut world = World::new("kill -9 under load").with_database(&[]);
    let more = ["-c", "4", "--prefetch-multiplier", "10"];
    let (mut killed, mut rescues) = (0, 0);
    let mut early = Vec::new();
    while killed < kills {
        world.exactly_once = (killed / EPISODE) % 2 == 1;
        let mut pair = if world.random.u8(0..8) == 0 {
            // The worker may be killed before it is ready.
            let spawn = |command: &mut _| crate::programs::Worker::spawn(command);
            [
                spawn(&mut world.worker_command(&more)),
                spawn(&mut world.playground_command(&more)),
            ]
        } else {
            [world.worker(&more), world.playground(&more)]
        };
        world.random.shuffle(&mut pair);
        for (kind, count) in LOAD {
            let ids = world.post(kind, count);
            if kind == Kind::Early {
                early.extend(ids);
            }
        }
        // In one of four rounds the workers live long enough to rescue the messages of their
        // predecessors, and are killed while they do.
        let rescuing = world.random.u8(0..4) == 0;
        for worker in &mut pair {
            if rescuing {
                let moment = Duration::from_millis(world.random.u64(0..RESCUED));
                world.wait_until_open(0, moment);
            } else {
                let moment = Duration::from_millis(world.random.u64(0..400));
                world.work_a_little(moment);
            }
            worker.process.kill9();
            rescues += worker.process.log().matches("Restored").count();
            killed += 1;
        }
        world.invariant(&format!("after {killed} kills"));
        if killed % EPISODE == 0 && killed < kills {
            world.finish_episode(&more);
        }
    }
    world.note(format!("{rescues} rescues by workers that were killed"));
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.drain(&[&workers[0], &workers[1]]);
    let (failed, _) = world.early_failed(&early);
    let all = early.len();
    world.note(format!("{failed} of {all} with acks_late = false failed"));
    world.finish(killed, workers);
}

#[test]
fn a_message_that_was_delivered_too_often_can_be_put_back() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("kill -9 until suspect");
    let more = ["-l", "debug"];
    let mut kills = 0;
    for _ in 0..times {
        let ids = world.post(Kind::Sleep(5.0), 5);
        kills += kill_until_suspect(&mut world, &ids, &more);
        let worker = world.playground(&more);
        world.drain(&[&worker]);
        assert!(ids.iter().all(|id| world.was_replayed(id)), "{ids:?}");
        worker.stop();
    }
    world.finish(kills, vec![]);
}

/// Kills workers while they run these long tasks, until all of their messages count as poison. The
/// workers must log what they begin. Returns the number of kills.
pub fn kill_until_suspect(world: &mut World, ids: &[String], more: &[&str]) -> usize {
    for kills in 0..30 {
        if world.dead() >= ids.len() {
            return kills;
        }
        let mut worker = world.playground(more);
        wait_for(PATIENCE, "the worker to run all tasks", || {
            world.observe();
            let log = worker.process.log();
            let begun = |id: &&String| log.contains(&format!("[{id}] pid:"));
            ids.iter().filter(begun).count() + world.dead() >= ids.len()
        })
        .unwrap();
        worker.process.kill9();
        world.invariant("after a kill");
    }
    panic!("the messages never count as poison");
}
