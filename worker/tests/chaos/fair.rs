//! Fair queues while workers and Redis end without warning, and while workers come that do not have
//! the setting.

use std::time::Duration;

use crate::world::{Kind, World, by_scale};

/// The number of faults after which workers may finish everything.
const EPISODE: usize = 4;

/// The tasks of one turn. The key of `celery` is the number of the row, so that more keys wait than
/// there are groups.
const LOAD: [(Kind, u32); 8] = [
    (Kind::Created, 150),
    (Kind::Effect, 80),
    (Kind::Once, 80),
    (Kind::Noop, 100),
    (Kind::Sleep(0.01), 20),
    (Kind::Sleep(0.015), 20),
    (Kind::Sleep(0.02), 20),
    (Kind::Sleep(0.025), 20),
];

#[test]
fn fair_queues_lose_nothing() {
    let faults = by_scale(4, 60, 400);
    let mut world = World::new("fair queues: kill -9, crash of Redis").with_database(&[]);
    let few = ["-c", "4", "--prefetch-multiplier", "2"];
    let mut without = 0;
    for fault in 1..=faults {
        for (kind, count) in LOAD {
            world.post(kind, count);
        }
        // After a fault in the first half of an episode, workers without the setting go on.
        let has_setting = fault % EPISODE < EPISODE / 2;
        without += usize::from(!has_setting);
        let mut pair = if has_setting {
            let with = |queue| [&few[..], &["--fair-queues", queue]].concat();
            [
                world.worker(&with("celery=0")),
                world.playground(&with("play=0")),
            ]
        } else {
            [world.worker(&few), world.playground(&few)]
        };
        let moment = Duration::from_millis(world.random.u64(0..400));
        world.work_a_little(moment);
        if world.random.bool() {
            world.redis.kill9();
            world.restart_redis();
            world.one_more_soon(Kind::Noop);
        }
        for worker in &mut pair {
            worker.process.kill9();
        }
        world.invariant(&format!("after {fault} faults"));
        if fault % EPISODE == 0 && fault < faults {
            world.finish_episode(&few);
        }
    }
    world.note(format!("{without} times with workers that do not sort"));
    let workers = vec![world.worker(&few), world.playground(&few)];
    world.finish(faults, workers);
}
