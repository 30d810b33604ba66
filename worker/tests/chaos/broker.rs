//! What can happen to Redis and to the way there.

use std::time::Duration;

use celery_testkit::{Fault, Proxy, RedisOptions};

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// What is held is little, so that there is always something left in the queue.
const SMALL: [&str; 4] = ["-c", "10", "--prefetch-multiplier", "2"];

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
    for _ in 0..times {
        world.post(Kind::Noop, 300);
        world.post(Kind::Sleep(0.02), 200);
        world.work_a_little(Duration::from_millis(200));
        // It ends without an answer.
        let _gone = world.try_ask::<()>(redis::cmd("SHUTDOWN").arg("NOSAVE"));
        world.restart_redis();
        world.one_more_soon(Kind::Noop);
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

/// Lets a fault last. Nothing is waited for: this is its length.
fn last(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// A worker with a little to do, in whose midst the fault comes.
fn busy(world: &mut World) -> Vec<Worker> {
    let workers = vec![world.playground(&SMALL)];
    world.post(Kind::Noop, 300);
    world.post(Kind::Sleep(0.02), 200);
    world.work_a_little(Duration::from_millis(300));
    workers
}

#[test]
fn an_outage_of_a_minute_is_over_within_two_seconds() {
    let mut world = World::new("Redis away for long");
    let workers = busy(&mut world);
    let seconds = by_scale(5, 20, 60);
    world.redis.stop();
    last(seconds);
    world.restart_redis();
    world.one_more_soon(Kind::Noop);
    world.note(format!("away {seconds} s"));
    world.finish(1, workers);
}

#[test]
fn a_paused_server_is_waited_for() {
    let mut world = World::new("CLIENT PAUSE");
    let workers = busy(&mut world);
    let seconds = by_scale(3, 10, 30);
    let milliseconds = (seconds * 1000).to_string();
    let _ok: String = world.ask(&["CLIENT", "PAUSE", &milliseconds, "ALL"]);
    // Answered when the pause is over.
    let _pong: String = world.ask(&["PING"]);
    world.one_more_soon(Kind::Noop);
    world.note(format!("{seconds} s"));
    world.finish(1, workers);
}

#[test]
fn a_server_that_is_loading_is_waited_for() {
    let options = RedisOptions::new().aof().set("enable-debug-command", "yes");
    let mut world = World::on("-LOADING", options);
    let mut workers = busy(&mut world);
    let keys = by_scale(2_000, 5_000, 20_000).to_string();
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

#[test]
fn a_changed_password_is_waited_for() {
    let mut world = World::new("password changed and changed back");
    let mut workers = busy(&mut world);
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", "other"]);
    let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let refused = world.redis.cli(&["PING"]).unwrap_err().to_string();
    assert!(refused.contains("NOAUTH"), "{refused}");
    cannot_connect(&mut workers);
    last(by_scale(1, 10, 60));
    let _ok: String = world.ask(&["CONFIG", "SET", "requirepass", ""]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

fn cannot_connect(workers: &mut [Worker]) {
    let line = "Cannot connect";
    workers[0].process.wait_for_line(PATIENCE, line).unwrap();
}

#[test]
fn a_server_with_no_place_for_us_is_waited_for() {
    let mut world = World::new("maxclients reached");
    let mut workers = busy(&mut world);
    let _ok: String = world.ask(&["CONFIG", "SET", "maxclients", "1"]);
    let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    cannot_connect(&mut workers);
    last(by_scale(1, 10, 60));
    let _ok: String = world.ask(&["CONFIG", "SET", "maxclients", "10000"]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_server_that_takes_no_writes_is_waited_for() {
    let mut world = World::new("-READONLY");
    let mut workers = busy(&mut world);
    // A replica whose primary is not there, as one is for a while after a failover.
    let _ok: String = world.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = world.try_ask::<String>(redis::cmd("SET").arg("more").arg("1"));
    assert!(refused.is_err_and(|error| error.code() == Some("READONLY")));
    workers[0]
        .process
        .wait_for_line(PATIENCE, "READONLY")
        .unwrap();
    last(by_scale(1, 10, 60));
    let _ok: String = world.ask(&["REPLICAOF", "NO", "ONE"]);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

/// The way to Redis is faulty for a while; then it is not.
fn on_a_faulty_way(scenario: &'static str, fault: Fault, seconds: u64) {
    let mut world = World::new(scenario);
    let proxy = Proxy::to_port(world.redis.port()).unwrap();
    world.broker = format!("redis://127.0.0.1:{}/0", proxy.port());
    let workers = busy(&mut world);
    proxy.set(fault);
    if fault == Fault::Reset {
        proxy.reset_all();
    }
    world.post(Kind::Noop, 50);
    world.wait_until_open(0, Duration::from_secs(seconds));
    proxy.set(Fault::None);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_silent_link_is_given_up() {
    on_a_faulty_way("half-open link", Fault::Silence, by_scale(4, 20, 60));
}

#[test]
fn a_resetting_network_is_waited_for() {
    on_a_faulty_way("RST", Fault::Reset, by_scale(2, 20, 60));
}

#[test]
fn a_millisecond_more_is_nothing() {
    let latency = Fault::Latency(Duration::from_millis(1));
    on_a_faulty_way("latency 1 ms", latency, by_scale(2, 20, 60));
}

#[test]
fn two_seconds_more_are_survived() {
    let latency = Fault::Latency(Duration::from_secs(2));
    on_a_faulty_way("latency 2 s", latency, by_scale(6, 20, 60));
}

#[test]
fn a_drip_is_survived() {
    let drip = Fault::Drip(Duration::from_millis(1));
    on_a_faulty_way("a byte a millisecond", drip, by_scale(4, 20, 60));
}
