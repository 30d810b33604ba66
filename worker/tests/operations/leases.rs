//! Lost leases, and messages that end or stop their workers.

use celery_testkit::{Process, Redis, RedisOptions, wait_for};

use crate::world::*;

/// Freezes a worker with a running task until other workers have taken all that it held.
#[test]
fn deliveries_that_others_took_are_not_begun() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-l", "info", "--lease", "1"];
    let mut frozen = start(command(&redis, &more).args(["-c", "1"]));
    post(&redis, "s1", "proj.sleep", "[10]", None);
    wait_until_claimed(&redis, &mut frozen, "s1");
    let ids = ["a1", "a2", "a3"];
    for id in ids {
        post(&redis, id, "proj.add", "[1, 2]", None);
        wait_until_claimed(&redis, &mut frozen, id);
    }
    frozen.pause();
    let other = start(&mut command(&redis, &more));
    for id in ids {
        wait_for_status(&redis, id, "SUCCESS", &other);
    }
    frozen.resume();
    frozen.wait_for_line(PATIENCE, "were lost").unwrap();
    // Its slot is free again, and the deliveries that waited for the slot are settled.
    post(&redis, "last", "proj.sleep", "[0]", None);
    wait_for_status(&redis, "last", "SUCCESS", &frozen);
    frozen.terminate();
    assert_eq!(frozen.wait(PATIENCE).unwrap().code(), Some(0));
    for id in ids {
        let again = format!("[{id}] succeeded");
        assert!(!frozen.log().contains(&again), "{}", frozen.log());
    }
    // Each lost lease is reported once: those of waiting deliveries and that of the running one.
    let log = frozen.log();
    let told = log.lines().filter(|line| line.contains("were lost"));
    let numbers = told.filter_map(|line| line.split("The leases of ").nth(1));
    let lost: u32 = numbers
        .map(|it| it.split(' ').next().unwrap().parse::<u32>().unwrap())
        .sum();
    assert_eq!(lost, 4, "{log}");
}

/// Returns a worker that ends, or panics, at this failpoint.
#[cfg(feature = "failpoints")]
fn failing(redis: &Redis, variable: &str, place: &str, more: &[&str]) -> Process {
    let mut command = command(redis, &["-l", "info", "--lease", "1"]);
    command.args(more).env(variable, place);
    Process::spawn("playground", &mut command).unwrap()
}

#[cfg(feature = "failpoints")]
#[test]
fn a_message_that_ends_workers_before_it_runs_becomes_a_dead_letter() {
    use celery_protocol::compression::Compression;
    use celery_protocol::message::{EncodeOptions, Task};
    use serde_json::value::RawValue;

    let redis = Redis::start(RedisOptions::new()).unwrap();
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let bomb = Task::new("bomb", "proj.add", raw("[1, 2]"), raw("{}"));
    let options = EncodeOptions::new("celery", "tag").compression(Some(Compression::Zlib));
    let bomb = String::from_utf8(bomb.encode_redis(&options).unwrap()).unwrap();
    redis.cli(&["LPUSH", "celery", &bomb]).unwrap();
    let mut ended = 0;
    while count(&redis, &["XLEN", "celery.dead"]) == 0 {
        assert!(ended < 10, "the workers never stop ending");
        let mut worker = failing(&redis, "CELERY_FAIL_AT", "read", &[]);
        wait_for(PATIENCE, "an end, or a dead letter", || {
            worker.exit_status().is_some() || count(&redis, &["XLEN", "celery.dead"]) == 1
        })
        .unwrap_or_else(|error| panic!("{error}: {}", worker.log()));
        ended += 1;
    }
    assert!(ended > 5, "{ended}");
    let letters = redis.cli(&["XRANGE", "celery.dead", "-", "+"]).unwrap();
    assert!(
        letters.contains("poison") && letters.contains("bomb"),
        "{letters}"
    );
    assert_eq!(
        result(&redis, "bomb").unwrap()["result"]["exc_type"],
        "WorkerLostError"
    );
}

#[cfg(feature = "failpoints")]
#[test]
fn a_bug_that_one_message_meets_stops_neither_the_worker_nor_the_others() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    post(&redis, "a1", "proj.add", "[1, 2]", None);
    post(&redis, "a2", "proj.add", "[1, 2]", None);
    let worker = failing(&redis, "CELERY_PANIC_AT", "read", &[]);
    wait_for_status(&redis, "a2", "SUCCESS", &worker);
    let letters = redis.cli(&["XRANGE", "celery.dead", "-", "+"]).unwrap();
    assert!(letters.contains("bug"), "{letters}");
    assert!(result(&redis, "a1").is_none());
}

#[cfg(feature = "failpoints")]
#[test]
fn every_part_that_hangs_is_reported() {
    for part in ["intake", "complete", "lease", "sweep"] {
        let redis = Redis::start(RedisOptions::new()).unwrap();
        let mut command = command(&redis, &["--metrics-addr", "0"]);
        command
            .env("CELERY_HANG_AT", part)
            .env("CELERY_STALLED", "2");
        let mut worker = start(&mut command);
        let text = Pages::of(&mut worker).wait_for("/healthz", 503);
        let complaint = format!("the consumer's part {part:?} has hung for ");
        assert!(text.contains(&complaint), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
