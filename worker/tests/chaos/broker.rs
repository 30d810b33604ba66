//! What can happen to Redis and to the way there.

use std::time::Duration;

use celery_testkit::RedisOptions;

use crate::world::{Kind, World, by_scale};

/// What is held is little, so that there is always something left in the queue.
const SMALL: [&str; 4] = ["-c", "10", "--prefetch-multiplier", "2"];

#[test]
fn a_restart_with_aof_loses_nothing() {
    let times = by_scale(3, 10, 50);
    let mut world = World::new("restart of Redis, AOF").with_database(&[]);
    let workers = vec![world.worker(&SMALL), world.playground(&SMALL)];
    for turn in 0..times {
        world.post(Kind::Created, 100);
        world.post(Kind::Effect, 50);
        world.post(Kind::Noop, 100);
        world.work_a_little(Duration::from_millis(500));
        if turn % 2 == 0 {
            world.redis.stop();
        } else {
            world.redis.kill9();
        }
        world.restart_redis();
        world.one_more_soon();
    }
    world.finish(times, workers);
}

#[test]
fn without_persistence_both_sides_recover() {
    let times = by_scale(1, 5, 20);
    let mut world = World::on("SHUTDOWN NOSAVE, no persistence", RedisOptions::new());
    let workers = vec![world.playground(&SMALL)];
    for _ in 0..times {
        world.post(Kind::Noop, 300);
        world.work_a_little(Duration::from_millis(200));
        // It ends without an answer.
        let _gone = world.try_ask::<()>(redis::cmd("SHUTDOWN").arg("NOSAVE"));
        world.restart_redis();
        world.one_more_soon();
    }
    world.write_off_what_redis_lost();
    world.finish(times, workers);
}

#[test]
fn killed_connections_lose_nothing() {
    let kills = by_scale(20, 100, 500);
    let mut world = World::new("CLIENT KILL").with_database(&[]);
    let workers = vec![world.worker(&SMALL), world.playground(&SMALL)];
    for _ in 0..kills {
        world.post(Kind::Created, 10);
        world.post(Kind::Effect, 5);
        world.post(Kind::Noop, 10);
        world.work_a_little(Duration::from_millis(100));
        for kind in ["normal", "pubsub"] {
            let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    }
    world.one_more_soon();
    world.finish(kills, workers);
}
