//! `kill -9` at random moments.

use std::time::Duration;

use crate::world::{Kind, World, by_scale};

/// Kills between two times at which a worker may finish everything, with its rescue of what the dead held. In every other
/// episode `task_created` applies each call once.
const EPISODE: usize = 10;

/// What one round gives the workers to do: more than they can before they die.
const LOAD: [(Kind, u32); 5] = [
    (Kind::Created, 60),
    (Kind::Effect, 40),
    (Kind::Once, 40),
    (Kind::Noop, 100),
    (Kind::Sleep(0.02), 40),
];

#[test]
fn killed_workers_lose_nothing() {
    let kills = by_scale(20, 100, 1_000);
    let mut world = World::new("kill -9 under load").with_database(&[]);
    let more = ["-c", "4", "--prefetch-multiplier", "10"];
    let mut killed = 0;
    while killed < kills {
        world.exactly_once = (killed / EPISODE) % 2 == 1;
        let mut pair = if world.random.u8(0..8) == 0 {
            // Not even ready.
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
            world.post(kind, count);
        }
        for worker in &mut pair {
            let moment = Duration::from_millis(world.random.u64(0..400));
            world.work_a_little(moment);
            worker.process.kill9();
            killed += 1;
        }
        world.invariant(&format!("after {killed} kills"));
        if killed % EPISODE == 0 && killed < kills {
            let (worker, playground) = (world.worker(&more), world.playground(&more));
            world.drain(&[&worker, &playground]);
            worker.stop();
            playground.stop();
        }
    }
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.finish(killed, workers);
}
