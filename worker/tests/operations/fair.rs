//! Fair turns between tenants: with a queue for each of them, and within one queue.

use std::process::Command;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisCluster, RedisOptions, wait_for};
use serde_json::value::RawValue;

use crate::documented::worker_rights;
use crate::door::Door;
use crate::world::*;

/// The calls of the large tenant.
const MANY: usize = 10_000;
/// The calls of the small one.
const FEW: usize = 10;

/// Sends calls of a tenant to a list.
fn send(redis: &Redis, door: &Door, list: &str, tenant: &str, calls: usize) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let ids: Vec<String> = (0..calls).map(|n| format!("{tenant}-{n}")).collect();
    for ids in ids.chunks(500) {
        let mut push = vec!["LPUSH".to_owned(), list.to_owned()];
        push.extend(ids.iter().map(|id| {
            let task = Task::new(id, "proj.occupy", raw(&door.args(tenant)), raw("{}"));
            let message = task.encode_redis(&EncodeOptions::new("work", id)).unwrap();
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

/// Workers are killed while they sort. Every call runs, and nothing is left behind, although the
/// last worker does not have the setting.
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
        // The next worker does not wait until the lease of this one ends: meanwhile it would do
        // everything unsorted.
        redis.cli(&["DEL", "rs.sorter.work"]).unwrap();
    }
    let groups = || count(&redis, &["HLEN", "rs.fair.work"]);
    assert!(groups() > 0);
    let without = ["-Q", "work", "--lease", "1", "-l", "info"];
    let mut worker = start(&mut command(&redis, &without));
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

/// The commands show what is in groups, and put it back in the order of each group. `--purge` deletes
/// it.
#[test]
fn messages_in_groups_are_put_back_or_deleted() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let cli = |words: &[&str]| {
        let output = command(&redis, words).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8(said).unwrap().replace('\u{6}', "."),
        )
    };
    let fill = || {
        redis.cli(&["LPUSH", "work.fair.0", "{1}", "{2}"]).unwrap();
        redis.cli(&["LPUSH", "work.fair.7", "{a}"]).unwrap();
        redis
            .cli(&["LPUSH", "work.fair.7\u{6}\u{16}9", "{z}"])
            .unwrap();
        redis
            .cli(&["HSET", "rs.fair.work", "aa", "0", "bb", "7"])
            .unwrap();
    };
    fill();
    redis.cli(&["LPUSH", "work", "{new}"]).unwrap();
    let (good, said) = cli(&["fair", "list", "work", "none"]);
    let lengths: Vec<&str> = said.split_whitespace().step_by(2).collect();
    assert!(good && lengths == ["1", "2", "1", "1"], "{said}");
    let (good, said) = cli(&["fair", "return", "work", "none"]);
    assert_eq!(
        (good, &*said),
        (true, "work: 4 put back\nnone: 0 put back\n")
    );
    let waiting = redis.cli(&["--raw", "LRANGE", "work", "0", "-1"]).unwrap();
    let waiting: Vec<&str> = waiting.split_whitespace().collect();
    assert_eq!(waiting, ["{new}", "{2}", "{1}", "{a}"]);
    assert_eq!(count(&redis, &["LLEN", "work\u{6}\u{16}9"]), 1);
    assert_eq!(count(&redis, &["DBSIZE"]), 2);
    fill();
    let mut worker = start(&mut command(
        &redis,
        &["-Q", "work", "--purge", "-l", "info"],
    ));
    wait_for(PATIENCE, "empty queues", || {
        redis
            .cli(&["--raw", "KEYS", "*work*"])
            .unwrap()
            .trim()
            .is_empty()
    })
    .unwrap();
    worker.terminate();
    worker.wait(PATIENCE).unwrap();
}

/// On a cluster, groups are neither forgotten while their slot moves, nor left behind.
#[test]
fn the_groups_of_a_fair_queue_move_with_their_slot() {
    // More than a worker holds.
    const CALLS: usize = 30;
    let mut cluster = RedisCluster::start(&RedisOptions::new(), "{celery}:", 0).unwrap();
    let (url, door) = (cluster.url(), Door::open());
    let worker = |more: &[&str]| {
        let common = [
            "--broker",
            &url,
            "-Q",
            "work",
            "-c",
            "1",
            "--prefetch-multiplier",
            "1",
            "-l",
            "debug",
        ];
        start(Command::new(playground()).args(common).args(more))
    };
    let node = cluster.node(0);
    send(node, &door, "{celery}:work.fair.0", "a", CALLS);
    send(node, &door, "{celery}:work.fair.1", "b", CALLS);
    let groups = "{celery}:rs.fair.work";
    node.cli(&["HSET", groups, "aa", "0", "bb", "1"]).unwrap();
    let mut follows = worker(&[]);
    door.wait_for(1);
    cluster.begin_move(0, 1).unwrap();
    let port = cluster.node(1).port().to_string();
    let list = "{celery}:work.fair.1";
    let migrate = ["MIGRATE", "127.0.0.1", &port, list, "0", "20000"];
    cluster.node(0).cli(&migrate).unwrap();
    follows.wait_for_line(PATIENCE, "cannot be read").unwrap();
    assert_eq!(count(cluster.node(0), &["HLEN", groups]), 2);
    cluster.end_move(0, 1).unwrap();
    let run = |calls| {
        for _ in 0..calls {
            door.wait_for(1);
            door.release();
        }
    };
    run(2 * CALLS);
    let node = cluster.node(1);
    let is_empty = |node: &Redis| count(node, &["EXISTS", groups, "{celery}:unacked"]) == 0;
    wait_for(PATIENCE, "no groups", || is_empty(node)).unwrap();
    follows.terminate();
    follows.wait(PATIENCE).unwrap();
    let _sorts = worker(&["--fair-queues", "work=1"]);
    for tenant in ["c", "d"] {
        send(node, &door, "{celery}:work", tenant, CALLS);
    }
    wait_for(PATIENCE, "sorted messages", || {
        count(node, &["LLEN", "{celery}:work"]) == 0
    })
    .unwrap();
    assert!(count(node, &["HLEN", groups]) > 0);
    run(2 * CALLS);
    wait_for(PATIENCE, "no groups", || is_empty(node)).unwrap();
}
