//! A machine that has run out of a resource, and very large messages.

use std::process::Command;
use std::time::Duration;

use celery_testkit::{RedisOptions, wait_for};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::busy::{CHATTY, at_work, busy, kill_clients, last, says};
use crate::programs::{Worker, through};
use crate::world::{Kind, PATIENCE, World, by_scale};

#[test]
fn exhausted_file_descriptors_are_waited_for() {
    let mut world = World::new("no file descriptors left");
    let mut workers = vec![world.playground(&CHATTY)];
    at_work(&mut world);
    let pid = Pid::from_raw(i32::try_from(workers[0].process.pid()).unwrap());
    let limit = getrlimit(Resource::Nofile);
    // The limit is below the number of open files: those stay open, and no new one can be opened.
    let none = Rlimit {
        current: Some(1),
        maximum: limit.maximum,
    };
    prlimit(pid, Resource::Nofile, none).unwrap();
    kill_clients(&mut world);
    says(&mut workers, "Too many open files", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    prlimit(pid, Resource::Nofile, limit).unwrap();
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let mut world = World::new("log on a full disk");
    let starter = ["sh", "-c", "exec \"$@\" >/dev/full 2>&1", "sh"];
    let mut command = through(&starter, &world.playground_command(&CHATTY));
    let workers = vec![Worker::spawn(&mut command)];
    world.post(Kind::Noop, 300);
    world.post(Kind::Panic, 5);
    assert!(world.wait_until_open(0, PATIENCE));
    kill_clients(&mut world);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_full_disk_under_redis_is_waited_for() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a small disk of one's own needs root");
        return;
    }
    // Only Redis uses this disk. Its `appendfsync` is `everysec`, because with `always` it would
    // end itself when it cannot write.
    let disk = "mkdir -p disk && mount -t tmpfs -o size=2m tmpfs disk && exec \"$@\"";
    let options = RedisOptions::new()
        .aof()
        .set("appendfsync", "everysec")
        .set("unixsocket", "../redis.sock")
        .set("dir", "disk")
        .through(&["unshare", "--mount", "sh", "-c", disk, "sh"]);
    let mut world = World::on("disk full under Redis", options);
    let mut workers = busy(&mut world);
    let filler = "x".repeat(4 << 20);
    let _fills = world.try_ask::<String>(redis::cmd("SET").arg("filler").arg(&filler));
    wait_for(PATIENCE, "the disk to be full", || {
        let refused = world.try_ask::<String>(redis::cmd("SET").arg("more").arg("1"));
        refused.is_err_and(|error| error.code() == Some("MISCONF"))
    })
    .unwrap();
    says(&mut workers, "MISCONF", 0);
    last(&mut world, Duration::from_secs(by_scale(1, 10, 60)));
    let pid = world.redis.pid().to_string();
    let status = Command::new("nsenter")
        .args([
            "--target",
            &pid,
            "--mount",
            "mount",
            "-o",
            "remount,size=64m",
        ])
        .arg(world.redis.socket().with_file_name("disk"))
        .status()
        .unwrap();
    assert!(status.success());
    wait_for(PATIENCE, "the disk to be written to", || {
        world
            .try_ask::<String>(redis::cmd("SET").arg("more").arg("1"))
            .is_ok()
    })
    .unwrap();
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

#[test]
fn a_message_of_64_mib_is_done_and_does_not_delay_the_others() {
    let times = by_scale(1, 3, 10);
    let mut world = World::new("a message of 64 MiB");
    let workers = busy(&mut world);
    for _ in 0..times {
        world.post(Kind::Huge, 1);
        world.post(Kind::Noop, 20);
        assert!(world.wait_until_open(0, PATIENCE));
    }
    world.one_more_soon(Kind::Noop);
    world.finish(times, workers);
}
