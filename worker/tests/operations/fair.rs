//! Fair turns between tenants: with a queue for each of them, and within one queue.

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::value::RawValue;

use crate::documented::worker_rights;
use crate::door::Door;
use crate::world::*;

/// The calls of the large tenant.
const MANY: usize = 10_000;
/// The calls of the small one.
const FEW: usize = 10;

/// Sends calls of a tenant to a queue.
fn send(redis: &Redis, door: &Door, queue: &str, tenant: &str, calls: usize) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let ids: Vec<String> = (0..calls).map(|n| format!("{tenant}-{n}")).collect();
    for ids in ids.chunks(500) {
        let mut push = vec!["LPUSH".to_owned(), queue.to_owned()];
        push.extend(ids.iter().map(|id| {
            let task = Task::new(id, "proj.occupy", raw(&door.args(tenant)), raw("{}"));
            let message = task.encode_redis(&EncodeOptions::new(queue, id)).unwrap();
            String::from_utf8(message).unwrap()
        }));
        let push: Vec<&str> = push.iter().map(String::as_str).collect();
        redis.cli(&push).unwrap();
    }
}

/// Starts workers with four slots, which hold no more messages than they run.
fn workers(redis: &Redis, count: usize, options: &[&str]) -> Vec<Process> {
    let options = [
        options,
        &["-c", "4", "--prefetch-multiplier", "1", "-l", "info"],
    ]
    .concat();
    let worker = |_| start(&mut command(redis, &options));
    (0..count).map(worker).collect()
}

/// Lets calls end until those of the small tenant have ended. They must be done before a hundredth of
/// those of the large one.
fn assert_turns(door: &Door) {
    let (mut large, mut small) = (0, 0);
    while small < FEW {
        let oldest = door.seen().open[0].key.clone();
        *(if oldest == "small" {
            &mut small
        } else {
            &mut large
        }) += 1;
        assert!(
            large < MANY / 100,
            "{small} calls of the small tenant are done"
        );
        door.release();
        door.wait_for(8);
    }
}

/// Waits until all messages of the queue `work` are in groups.
fn wait_until_sorted(redis: &Redis) {
    wait_for(PATIENCE, "sorted messages", || {
        count(redis, &["LLEN", "work"]) == 0
    })
    .unwrap();
}

/// The ten calls of a tenant are done before a hundredth of the ten thousand of another one, which
/// came first and keeps all slots of two workers busy.
#[test]
fn a_small_tenant_does_not_wait_for_a_large_one() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let door = Door::open();
    send(&redis, &door, "tenant.large", "large", MANY);
    let _workers = workers(&redis, 2, &["-Q", "tenant.large,tenant.small"]);
    door.wait_for(8);
    send(&redis, &door, "tenant.small", "small", FEW);
    assert_turns(&door);
}

/// Like the test before, in one queue. The user has only the documented rights.
#[test]
fn a_small_tenant_does_not_wait_for_a_large_one_in_the_same_queue() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut user = vec!["ACL", "SETUSER", "worker", "on", ">secret"];
    user.extend(worker_rights());
    user.push("~work*");
    redis.cli(&user).unwrap();
    let url = redis.url().replace("://", "://worker:secret@");
    let door = Door::open();
    send(&redis, &door, "work", "large", MANY);
    let options = ["-Q", "work", "--fair-queues", "work=1", "--broker", &url];
    let workers = workers(&redis, 2, &options);
    door.wait_for(8);
    wait_until_sorted(&redis);
    assert_eq!(count(&redis, &["HLEN", "rs.fair.work"]), 1);
    send(&redis, &door, "work", "small", FEW);
    wait_until_sorted(&redis);
    assert_turns(&door);
    for worker in &workers {
        assert!(!worker.log().contains("NOPERM"), "{}", worker.log());
    }
}

/// Workers are killed while they sort. Every call runs, and nothing is left behind.
#[test]
fn killed_workers_lose_nothing_of_a_fair_queue() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let ids: Vec<String> = (0..2_000).map(|n| format!("call-{n}")).collect();
    // Each priority has lists of its own.
    for (priority, list) in [(0, "work"), (6, "work\u{6}\u{16}6")] {
        let ids = ids.iter().enumerate();
        let ids = ids.filter(|(n, _)| (n % 2 == 0) == (priority == 0));
        let messages = ids.map(|(n, id)| {
            let mut task = Task::new(id, "proj.add", raw(&format!("[{}, 1]", n % 7)), raw("{}"));
            task.properties.priority = Some(priority);
            let message = task.encode_redis(&EncodeOptions::new("work", id)).unwrap();
            String::from_utf8(message).unwrap()
        });
        let mut push = vec!["LPUSH".to_owned(), list.to_owned()];
        push.extend(messages);
        let push: Vec<&str> = push.iter().map(String::as_str).collect();
        redis.cli(&push).unwrap();
    }
    // A message that cannot be read is sorted, too.
    redis.cli(&["LPUSH", "work", "{\"body\": 5}"]).unwrap();
    let fair = [
        "-Q",
        "work",
        "--fair-queues",
        "work=0",
        "--lease",
        "1",
        "-l",
        "info",
    ];
    for place in ["fair_sort", "fair_sorted", "fair_sorted:3"] {
        // One slot, so that messages are left to sort.
        let slow = [&fair[..], &["-c", "1", "--prefetch-multiplier", "1"]].concat();
        let mut command = command(&redis, &slow);
        command.env("CELERY_FAIL_AT", place);
        let mut worker = Process::spawn("playground", &mut command).unwrap();
        assert!(!worker.wait(PATIENCE).unwrap().success(), "{place}");
    }
    let groups = || count(&redis, &["HLEN", "rs.fair.work"]);
    assert!(groups() > 0);
    let mut worker = start(&mut command(&redis, &fair));
    let keys = ids.iter().map(|id| format!("celery-task-meta-{id}"));
    let mut exists = vec!["EXISTS".to_owned()];
    exists.extend(keys);
    let exists: Vec<&str> = exists.iter().map(String::as_str).collect();
    wait_for(PATIENCE, "all results", || {
        count(&redis, &exists) == ids.len() as u64
    })
    .unwrap();
    wait_for(PATIENCE, "no groups", || groups() == 0).unwrap();
    wait_for(PATIENCE, "the dead letter", || {
        count(&redis, &["XLEN", "celery.dead"]) == 1
    })
    .unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
    let left = redis.cli(&["--raw", "KEYS", "work*"]).unwrap();
    assert_eq!(left.trim(), "");
}
