//! Faults of Redis itself.

use std::collections::BTreeSet;
use std::time::Duration;

use celery_testkit::{Proxy, RedisOptions};

use crate::busy::{SMALL, busy, last, seconds};
use crate::world::{Kind, PATIENCE, World, by_scale};

#[test]
fn a_restart_with_aof_loses_nothing() {
    let times = by_scale(3, 10, 50);
    let mut world = World::new("restart of Redis, AOF").with_database(&[]);
    let workers = vec![world.worker(&SMALL), world.playground(&SMALL)];
    for turn in 0..times {
        world.post(Kind::Created, 100);
        world.post(Kind::Effect, 60);
        world.post(Kind::Once, 40);
        world.post(Kind::Noop, 100);
        world.post(Kind::Sleep(0.02), 50);
        world.work_a_little(Duration::from_millis(500));
        if turn % 2 == 0 {
            world.redis.stop();
        } else {
            world.redis.kill9();
        }
        world.restart_redis();
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers);
}

#[test]
fn without_persistence_both_sides_recover() {
    let times = by_scale(1, 5, 20);
    let mut world = World::on("SHUTDOWN NOSAVE, no persistence", RedisOptions::new());
    let workers = vec![world.playground(&SMALL)];
    let mut at_its_end = BTreeSet::new();
    for _ in 0..times {
        world.post(Kind::Noop, 300);
        world.post(Kind::Sleep(0.02), 200);
        world.work_a_little(Duration::from_millis(200));
        at_its_end = world.all_open();
        // The server ends without an answer.
        let _gone = world.try_ask::<()>(redis::cmd("SHUTDOWN").arg("NOSAVE"));
        world.restart_redis();
        world.one_more_soon(Kind::Noop);
    }
    // The tasks that were sent to the new server have to be done.
    world.write_off_what_redis_lost(&at_its_end);
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
        world.post(Kind::Once, 5);
        world.post(Kind::Noop, 20);
        world.post(Kind::Sleep(0.02), 20);
        world.work_a_little(Duration::from_millis(100));
        for kind in ["normal", "pubsub"] {
            let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    }
    world.one_more_soon(Kind::Noop);
    world.finish(kills, workers);
}

/// Causes outages of several lengths: the result depends on where in its pauses a worker is when
/// the server is back.
fn outages(scenario: &'static str, away: impl Fn(&mut World, Duration)) {
    let lengths = by_scale(
        &[1.0, 5.0][..],
        &[1.0, 3.0, 5.0, 15.0],
        &[0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0],
    );
    let mut world = World::new(scenario);
    let workers = busy(&mut world);
    for seconds in lengths {
        world.post(Kind::Noop, 300);
        world.post(Kind::Sleep(0.02), 200);
        world.work_a_little(Duration::from_millis(300));
        away(&mut world, Duration::from_secs_f64(*seconds));
        world.one_more_soon(Kind::Noop);
    }
    world.note(format!("away {}", seconds(lengths)));
    world.finish(lengths.len(), workers);
}

#[test]
fn an_absent_server_is_found_again_within_two_seconds() {
    outages("Redis away", |world, time| {
        world.redis.stop();
        last(world, time);
        world.restart_redis();
    });
}

#[test]
fn a_frozen_server_is_found_again_within_two_seconds() {
    outages("Redis frozen", |world, time| {
        world.redis.pause();
        last(world, time);
        world.redis.resume();
    });
}

#[test]
fn a_paused_server_is_waited_for() {
    let mut world = World::new("CLIENT PAUSE");
    let proxy = Proxy::to_port(world.redis.port()).unwrap();
    world.broker = format!("redis://127.0.0.1:{}/0", proxy.port());
    let workers = busy(&mut world);
    // The pause is longer than a worker waits for an answer.
    let seconds = by_scale(10, 15, 30);
    let milliseconds = (seconds * 1000).to_string();
    world.fault = Duration::from_secs(seconds);
    let connections = proxy.accepted();
    let _ok: String = world.ask(&["CLIENT", "PAUSE", &milliseconds, "ALL"]);
    // The server answers when the pause is over.
    let _pong: String = world.ask(&["PING"]);
    world.one_more_soon(Kind::Noop);
    assert!(proxy.accepted() > connections, "nothing was given up");
    world.note(format!("{seconds} s"));
    world.finish(1, workers);
}

#[test]
fn a_server_that_is_loading_is_waited_for() {
    let options = RedisOptions::new().aof().set("enable-debug-command", "yes");
    let mut world = World::on("-LOADING", options);
    let mut workers = busy(&mut world);
    let keys = by_scale(2_000, 5_000, 20_000);
    // Loading takes a millisecond for each key.
    world.fault = Duration::from_millis(2 * keys);
    let keys = keys.to_string();
    let _ok: String = world.ask(&["DEBUG", "POPULATE", &keys, "filler"]);
    for (name, value) in [
        ("key-load-delay", "1000"),
        ("loading-process-events-interval-bytes", "1024"),
    ] {
        let _ok: String = world.ask(&["CONFIG", "SET", name, value]);
    }
    let _ok: String = world.ask(&["DEBUG", "RELOAD"]);
    world.one_more_soon(Kind::Noop);
    workers[0]
        .process
        .wait_for_line(PATIENCE, "LOADING")
        .unwrap();
    world.finish(1, workers);
}

#[test]
fn a_full_server_is_drained() {
    let times = by_scale(2, 10, 50);
    let mut world = World::new("-OOM");
    let workers = busy(&mut world);
    for _ in 0..times {
        world.post(Kind::Noop, 300);
        let _ok: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = world.try_ask::<String>(redis::cmd("SET").arg("more").arg("1"));
        assert!(refused.is_err_and(|error| error.code() == Some("OOM")));
        world.drain(&workers.iter().collect::<Vec<_>>());
        let _ok: String = world.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers);
}

#[test]
fn flushed_scripts_are_sent_again() {
    let times = by_scale(20, 100, 500);
    let mut world = World::new("SCRIPT FLUSH");
    let workers = busy(&mut world);
    for _ in 0..times {
        world.post(Kind::Noop, 20);
        world.post(Kind::Sleep(0.02), 20);
        world.work_a_little(Duration::from_millis(50));
        let _ok: String = world.ask(&["SCRIPT", "FLUSH"]);
    }
    world.one_more_soon(Kind::Noop);
    world.finish(times, workers);
}
