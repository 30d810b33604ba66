//! Slots, rate limits and time limits that change while the worker runs.

use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use super::world::{Asking, OURS, PATIENCE, playground, post, start};

fn ids(answer: &Value) -> Vec<&str> {
    let tasks = answer.as_array().unwrap().iter();
    let mut ids: Vec<&str> = tasks.filter_map(|task| task["id"].as_str()).collect();
    ids.sort_unstable();
    ids
}

fn succeeded(worker: &mut Process, id: &str) {
    let line = format!("[{id}] succeeded");
    worker.wait_for_line(PATIENCE, &line).unwrap();
}

fn limit(asking: &mut Asking, task: &str, rate: Value) {
    let arguments = json!({"task_name": task, "rate_limit": rate});
    let answer = asking.ask(OURS, "rate_limit", arguments);
    assert!(answer["ok"].is_string(), "{answer}");
}

#[test]
fn slots_are_added_and_taken_away() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut worker = start(&mut playground(
        &redis,
        &["-c", "1", "--prefetch-multiplier", "70"],
    ));
    for id in ["a", "b", "c"] {
        post(&redis, "celery", id, "proj.sleep", "[600]");
    }
    asking.wait_for(OURS, "active", |active| ids(active) == ["a"]);
    let pool = |asking: &mut Asking| {
        let stats = asking.ask(OURS, "stats", json!({}));
        (
            stats["pool"]["max-concurrency"].clone(),
            stats["prefetch_count"].clone(),
        )
    };
    assert_eq!(pool(&mut asking), (json!(1), json!(70)));
    asking.ask(OURS, "pool_grow", json!({"n": 2}));
    asking.wait_for(OURS, "active", |active| ids(active) == ["a", "b", "c"]);
    assert_eq!(pool(&mut asking), (json!(3), json!(210)));
    // The slots of running tasks go when these end.
    asking.ask(OURS, "pool_shrink", json!({"n": 2}));
    assert_eq!(pool(&mut asking), (json!(1), json!(70)));
    post(&redis, "celery", "d", "proj.sleep", "[600]");
    asking.wait_for(OURS, "reserved", |reserved| ids(reserved) == ["d"]);
    asking.ask(OURS, "terminate", json!({"task_id": ["a", "b"]}));
    asking.wait_for(OURS, "active", |active| ids(active) == ["c"]);
    assert_eq!(ids(&asking.ask(OURS, "reserved", json!({}))), ["d"]);
    asking.ask(OURS, "terminate", json!({"task_id": "c"}));
    asking.wait_for(OURS, "active", |active| ids(active) == ["d"]);
    for (method, n) in [
        ("pool_shrink", json!(1)),
        ("pool_grow", json!(4_000)),
        ("pool_grow", json!(u64::MAX)),
        ("pool_grow", json!(0)),
        ("pool_shrink", json!(-1)),
        ("pool_shrink", json!("1")),
    ] {
        let answer = asking.ask(OURS, method, json!({"n": n}));
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("ValueError"), "{method} {n}: {answer}");
    }
    assert_eq!(pool(&mut asking), (json!(1), json!(70)));
    worker.quit();
    worker.wait(PATIENCE).unwrap();
}

#[test]
fn a_limited_task_waits_without_a_slot_and_keeps_no_other_task_away() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let options = ["-c", "1", "--prefetch-multiplier", "2"];
    let mut worker = start(&mut playground(&redis, &options));
    limit(&mut asking, "proj.echo", json!("1/h"));
    let limited: Vec<String> = (0..20).map(|n| format!("limited-{n:02}")).collect();
    for id in &limited {
        post(&redis, "celery", id, "proj.echo", "[1]");
    }
    succeeded(&mut worker, "limited-00");
    post(&redis, "celery", "other", "proj.add", "[1, 2]");
    succeeded(&mut worker, "other");
    let waiting = asking.wait_for(OURS, "reserved", |held| ids(held).len() == 19);
    assert_eq!(ids(&waiting), limited[1..]);
    asking.ask(OURS, "revoke", json!({"task_id": "limited-02"}));
    // The new rate counts for the calls that wait.
    limit(&mut asking, "proj.echo", json!("0"));
    for id in limited.iter().filter(|id| *id != "limited-02") {
        succeeded(&mut worker, id);
    }
    let discarded = "Discarding revoked task: proj.echo[limited-02]";
    worker.wait_for_line(PATIENCE, discarded).unwrap();
    worker.stop();
}

#[test]
fn what_waits_for_its_rate_goes_back_when_the_worker_stops() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let settings = "[annotations.'proj.echo']\nrate_limit = '1/h'\n";
    std::fs::write(&file, settings).unwrap();
    let file = file.to_str().unwrap();
    let mut worker = start(&mut playground(&redis, &["--config", file]));
    let registered = asking.ask(OURS, "registered", json!({}));
    let registered = registered.as_array().unwrap();
    assert!(
        registered.contains(&json!("proj.echo [rate_limit=1/h]")),
        "{registered:?}"
    );
    for id in ["a", "b", "c"] {
        post(&redis, "celery", id, "proj.echo", "[1]");
    }
    succeeded(&mut worker, "a");
    asking.wait_for(OURS, "reserved", |held| ids(held) == ["b", "c"]);
    worker.stop();
    assert_eq!(redis.cli(&["HLEN", "unacked"]).unwrap().trim(), "0");
    assert_eq!(redis.cli(&["LLEN", "celery"]).unwrap().trim(), "2");
    let mut free = start(&mut playground(&redis, &[]));
    for id in ["b", "c"] {
        succeeded(&mut free, id);
    }
    free.stop();
}

#[test]
fn limits_across_all_workers_are_shown() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let settings = "[annotations.'proj.sleep']\nmax_concurrency = 1\nfleet_rate_limit = '6e3/m'\nlimit_by = 'n'\n\
        [annotations.'proj.add']\nunique = 'until_done'\nunique_by = [0, 'order.id']\n";
    std::fs::write(&file, settings).unwrap();
    let mut worker = start(&mut playground(
        &redis,
        &["--config", file.to_str().unwrap()],
    ));
    for id in ["a", "b", "c"] {
        post(&redis, "celery", id, "proj.sleep", "[600]");
    }
    asking.wait_for(OURS, "active", |active| ids(active).len() == 1);
    let stats = asking.wait_for(OURS, "stats", |stats| {
        stats["limits"]["proj.sleep"]["waiting"] == json!(2)
    });
    let shown = json!({
        "proj.sleep": {
            "max_concurrency": 1, "fleet_rate_limit": "6e3/m", "limit_by": "n",
            "unique": null, "unique_by": null, "waiting": 2,
        },
        "proj.add": {
            "max_concurrency": null, "fleet_rate_limit": null, "limit_by": null,
            "unique": "until_done", "unique_by": "0,order.id", "waiting": 0,
        },
        // The playground declares it so.
        "proj.alone": {
            "max_concurrency": null, "fleet_rate_limit": null, "limit_by": null,
            "unique": "until_done", "unique_by": "key", "waiting": 0,
        },
    });
    assert_eq!(stats["limits"], shown);
    let items = [
        "max_concurrency",
        "fleet_rate_limit",
        "limit_by",
        "unique",
        "unique_by",
    ];
    let registered = asking.ask(OURS, "registered", json!({"taskinfoitems": items}));
    for line in [
        "proj.sleep [max_concurrency=1 fleet_rate_limit=6e3/m limit_by=n]",
        "proj.add [unique=until_done unique_by=0,order.id]",
    ] {
        let lines = registered.as_array().unwrap();
        assert!(lines.contains(&json!(line)), "{registered}");
    }
    // A revoked call that waits is discarded when it is next in its line.
    let waiting = asking.ask(OURS, "reserved", json!({}));
    let first = ids(&waiting)[0].to_owned();
    asking.ask(OURS, "revoke", json!({"task_id": first}));
    let discarded = format!("Discarding revoked task: proj.sleep[{first}]");
    worker.wait_for_line(PATIENCE, &discarded).unwrap();
    worker.quit();
    worker.wait(PATIENCE).unwrap();
}

#[test]
fn new_time_limits_count_for_the_next_call() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut worker = start(&mut playground(&redis, &["-c", "2"]));
    post(&redis, "celery", "before", "proj.sleep", "[600]");
    asking.wait_for(OURS, "active", |active| ids(active) == ["before"]);
    let limits = |asking: &mut Asking, arguments: Value| {
        let mut arguments = arguments;
        arguments["task_name"] = json!("proj.sleep");
        asking.ask(OURS, "time_limit", arguments)
    };
    let answer = limits(&mut asking, json!({"hard": 0.2}));
    assert_eq!(answer, json!({"ok": "time limits set successfully"}));
    post(&redis, "celery", "limited", "proj.sleep", "[600]");
    let result = || redis.cli(&["GET", "celery-task-meta-limited"]).unwrap();
    wait_for(PATIENCE, "the limit", || {
        result().contains("TimeLimitExceeded")
    })
    .unwrap();
    limits(&mut asking, json!({"hard": null}));
    post(&redis, "celery", "free", "proj.sleep", "[600]");
    asking.wait_for(OURS, "active", |active| ids(active) == ["before", "free"]);
    for wrong in [
        json!({"hard": -1}),
        json!({"soft": "1"}),
        json!({"hard": 1e300}),
        json!({"soft": []}),
    ] {
        let answer = limits(&mut asking, wrong.clone());
        assert!(
            answer["error"].as_str().unwrap().starts_with("ValueError"),
            "{wrong}"
        );
    }
    worker.quit();
    worker.wait(PATIENCE).unwrap();
}
