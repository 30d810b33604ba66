//! How a worker stops under difficult conditions, and how it drains.

use std::process::Command;
use std::time::Instant;

use celery_testkit::{Process, Redis, RedisOptions, wait_for};

use crate::world::*;

#[test]
fn with_nothing_held_a_stop_does_not_wait_for_the_broker() {
    let mut redis = Redis::start(RedisOptions::new()).unwrap();
    // A worker that never reached its broker, and one that lost it.
    for reached in [false, true] {
        let mut command = command(&redis, &["-l", "info"]);
        if !reached {
            redis.stop();
        }
        let mut worker = Process::spawn("playground", &mut command).unwrap();
        if reached {
            worker.wait_for_line(PATIENCE, "ready.").unwrap();
            redis.stop();
        }
        worker.wait_for_line(PATIENCE, "Cannot connect").unwrap();
        let asked = Instant::now();
        worker.terminate();
        assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
        // Less than the half minute that a warm stop may take.
        assert!(asked.elapsed().as_secs() < 25, "{:?}", asked.elapsed());
        redis.restart().unwrap();
    }
}

#[test]
fn another_signal_after_a_cold_stop_ends_the_process() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "info", "--lease", "1"]));
    post(&redis, "s1", "proj.spin", "[600]", None);
    wait_until_claimed(&redis, &mut worker, "s1");
    // With a broker that does not answer, a cold stop takes some time.
    redis.pause();
    worker.quit();
    worker.wait_for_line(PATIENCE, "Cold shutdown").unwrap();
    worker.interrupt();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(1));
    assert!(worker.log().contains("Hard shutdown"), "{}", worker.log());
    redis.resume();
    // The messages that it held come back when their leases run out.
    let mut other = start(&mut command(&redis, &["-l", "info", "--lease", "1"]));
    other.wait_for_line(PATIENCE, "[s1] received").unwrap();
}

#[test]
fn a_hangup_is_a_warm_stop() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "debug"]));
    post(&redis, "s1", "proj.sleep", "[1]", None);
    // A task that has not begun would be given back.
    wait_until_begun(&mut worker, "s1");
    worker.usr2();
    worker.hangup();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(worker.log().contains("Warm shutdown"), "{}", worker.log());
    wait_for_status(&redis, "s1", "SUCCESS", &worker);
}

#[test]
fn signals_that_are_ignored_leave_the_worker_running() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    // Starts the worker as `nohup` does.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command.arg(playground()).args(["-b", &redis.url()]);
    command.args(["-l", "info", "--lease", "1"]);
    let mut worker = start(&mut command);
    worker.hangup();
    worker.usr2();
    post(&redis, "s1", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "s1", "SUCCESS", &worker);
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_worker_that_drains_finishes_what_it_holds_and_claims_no_more() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "info", "-c", "1"]));
    post(&redis, "s1", "proj.sleep", "[1]", None);
    post(&redis, "s2", "proj.sleep", "[0]", None);
    wait_until_claimed(&redis, &mut worker, "s2");
    worker.usr1();
    worker.wait_for_line(PATIENCE, "Draining").unwrap();
    post(&redis, "late", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "s1", "SUCCESS", &worker);
    wait_for_status(&redis, "s2", "SUCCESS", &worker);
    wait_for(PATIENCE, "the last acknowledgement", || {
        count(&redis, &["HLEN", "unacked"]) == 0
    })
    .unwrap();
    assert!(worker.exit_status().is_none());
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
    assert!(!worker.log().contains("[late]"), "{}", worker.log());
}
