//! Integers beyond 64 bits: an integer that the worker only carries keeps every digit. One that it
//! cannot hold is refused with an error that names it.

use celery_testkit::{Redis, RedisOptions, wait_for};
use serde_json::json;

use crate::world::*;

/// Returns an integer of each length: the largest of 64 bits, the first beyond them, and one beyond
/// every type.
fn integers() -> [String; 3] {
    [
        "9223372036854775807".to_owned(),
        "18446744073709551616".to_owned(),
        "-".to_owned() + &"7".repeat(400),
    ]
}

/// Returns the stored result as text: a parser would round it.
fn stored(redis: &Redis, id: &str) -> String {
    let key = format!("celery-task-meta-{id}");
    redis.cli(&["--raw", "GET", &key]).unwrap()
}

/// Returns a message with this body. The body is not in base64, so that it can be found in a list.
fn message(id: &str, name: &str, body: &str) -> String {
    json!({
        "body": body, "content-type": "application/json", "content-encoding": "utf-8",
        "headers": { "task": name, "id": id },
        "properties": { "delivery_tag": id, "delivery_info": { "exchange": "", "routing_key": "celery" } },
    })
    .to_string()
}

#[test]
fn integers_of_any_length_pass_through_chains_results_dead_letters_and_replays() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &[]));
    let all = integers().join(",");
    let step = format!(
        r#"{{"task":"proj.echo","args":[{all}],"kwargs":{{"k":{all2}}},"options":{{"task_id":"last"}}}}"#,
        all2 = integers()[2]
    );
    let body = format!(r#"[[{all}],{{"own":[{all}]}},{{"chain":[{step}]}}]"#);
    let messages = [
        message("first", "proj.echo", &body),
        message(
            "refused",
            "proj.add",
            &format!("[[1,{}],{{}},null]", integers()[1]),
        ),
        message("dead", "no.such.task", &body),
    ];
    for message in &messages {
        redis.cli(&["LPUSH", "celery", message]).unwrap();
    }
    for id in ["first", "last"] {
        let succeeded = || stored(&redis, id).contains(r#""status":"SUCCESS""#);
        wait_for(PATIENCE, &format!("{id} to succeed"), succeeded).unwrap();
    }
    wait_for_status(&redis, "refused", "FAILURE", &worker);
    wait_for_status(&redis, "dead", "FAILURE", &worker);

    let echoed = format!(r#"{{"args":[{all}],"kwargs":{{"own":[{all}]}}}}"#);
    assert!(stored(&redis, "first").contains(&echoed));
    // The result of the first step is an argument of the next step, before its own arguments.
    let last = stored(&redis, "last");
    let expected = format!(
        r#"{{"args":[{echoed},{all}],"kwargs":{{"k":{}}}}}"#,
        integers()[2]
    );
    assert!(last.contains(&expected), "{last}");
    let refused = result(&redis, "refused").unwrap();
    assert_eq!(
        refused["result"]["exc_message"][0],
        "add() argument 'y': the integer 18446744073709551616 has more than 64 bits"
    );

    worker.terminate();
    worker.wait(PATIENCE).unwrap();
    let replayed = command(&redis, &["dead", "replay", "--all"])
        .status()
        .unwrap();
    assert!(replayed.success());
    wait_for(PATIENCE, "a replayed message", || {
        count(&redis, &["LLEN", "celery"]) == 1
    })
    .unwrap();
    let back = redis.cli(&["--raw", "LRANGE", "celery", "0", "0"]).unwrap();
    let same: serde_json::Value = serde_json::from_str(back.trim()).unwrap();
    assert_eq!(same["body"], body.as_str());
}

#[test]
fn a_bare_nan_is_null_to_a_task_and_its_follow_ups() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let worker = start(&mut command(&redis, &[]));
    let step = r#"{"task":"proj.echo","args":[Infinity],"options":{"task_id":"last"}}"#;
    let body = format!(r#"[[NaN,-Infinity],{{"k":NaN}},{{"chain":[{step}]}}]"#);
    let message = message("first", "proj.echo", &body);
    redis.cli(&["LPUSH", "celery", &message]).unwrap();
    wait_for_status(&redis, "last", "SUCCESS", &worker);
    let first = json!({ "args": [null, null], "kwargs": { "k": null } });
    assert_eq!(result(&redis, "first").unwrap()["result"], first);
    let last = json!({ "args": [first, null], "kwargs": {} });
    assert_eq!(result(&redis, "last").unwrap()["result"], last);
}
