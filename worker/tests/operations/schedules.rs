//! Schedules: entries of the file and of other programs, the leader, and the command line.

use std::path::Path;
use std::process::{Command, Output};

use celery_protocol::message::Task;
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use crate::documented;
use crate::world::*;

/// Returns the command of a process that runs schedules without tasks.
fn beat(redis: &Redis, node: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["beat", "-b", &redis.url(), "-l", "debug", "-n", node]);
    command.args(more);
    command
}

fn start_beat(command: &mut Command) -> Process {
    let mut beat = Process::spawn("beat", command).unwrap();
    beat.wait_for_line(PATIENCE, "ready.").unwrap();
    beat
}

/// Runs a subcommand of `celery-worker beat`.
fn obey(redis: &Redis, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["beat", "-b", &redis.url()]).args(words);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8([&out[..], &err[..]].concat()).unwrap()
}

/// Adds an entry as another program does.
fn add(redis: &Redis, name: &str, entry: &Value) {
    let entry = entry.to_string();
    redis.cli(&["HSET", "rs.beat", name, &entry]).unwrap();
    redis.cli(&["ZADD", "rs.beat.due", "0", name]).unwrap();
}

fn ask(redis: &Redis, command: &[&str]) -> String {
    redis.cli(command).unwrap().trim().to_owned()
}

fn wait_until(what: &str, redis: &Redis, command: &[&str], is: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    if let Err(error) = wait_for(PATIENCE, what, || {
        last = ask(redis, command);
        is(&last)
    }) {
        panic!("{error}: {last}");
    }
    last
}

/// Returns the messages of the queue `celery`, oldest first.
fn messages(redis: &Redis) -> Vec<Task> {
    let count = count(redis, &["LLEN", "celery"]);
    let message = |place: u64| {
        redis
            .cli(&["LINDEX", "celery", &place.to_string()])
            .unwrap()
    };
    let messages = (0..count).rev().map(message);
    messages
        .map(|text| Task::decode_redis(text.trim().as_bytes()).unwrap())
        .collect()
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("worker.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn entries_of_the_file_are_sent_and_go_with_the_file() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = "[schedules.often]\ntask = 'proj.add'\nschedule = 0.5\nargs = [1, 2]\n\
        [schedules.rarely]\ntask = 'proj.add'\nschedule = '0 0 1 1 *'\n";
    let file = write(folder.path(), text);
    add(
        &redis,
        "own",
        &json!({ "v": 1, "task": "proj.noop", "schedule": 3600 }),
    );
    let more = ["-l", "info", "-B", "--config", &file, "--metrics-addr", "0"];
    let mut worker = start(&mut command(&redis, &more));
    let pages = Pages::of(&mut worker);
    let mut seen = 0;
    for _ in 0..3 {
        worker
            .wait_for_line_after(PATIENCE, "Sending due task often (proj.add)", seen)
            .unwrap();
        seen = worker.log_len();
    }
    worker.wait_for_line(PATIENCE, "succeeded in").unwrap();
    let (status, text) = pages.get("/healthz");
    assert_eq!(status, 200);
    assert!(
        text.contains("beat: this process leads; next due at 20"),
        "{text}"
    );
    let metrics = pages.get("/metrics").1;
    assert!(metrics.contains("celery_worker_beat_leader 1"), "{metrics}");
    assert!(
        metrics.contains("celery_worker_beat_sent_total "),
        "{metrics}"
    );
    let entry: Value = serde_json::from_str(&ask(&redis, &["HGET", "rs.beat", "often"])).unwrap();
    assert_eq!(entry["origin"], "file");
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    // Another process can lead at once.
    assert_eq!(ask(&redis, &["EXISTS", "rs.beat.leader"]), "0");
    let due = ask(&redis, &["ZSCORE", "rs.beat.due", "rarely"]);

    let file = write(
        folder.path(),
        "[schedules.rarely]\ntask = 'proj.add'\nschedule = '0 0 1 1 *'\n",
    );
    let mut beat = start_beat(&mut beat(&redis, "beat@test", &["--config", &file]));
    beat.wait_for_line(PATIENCE, "often of the file was removed")
        .unwrap();
    beat.wait_for_line(PATIENCE, "This process leads").unwrap();
    assert_eq!(ask(&redis, &["HEXISTS", "rs.beat", "often"]), "0");
    assert_eq!(ask(&redis, &["HEXISTS", "rs.beat", "own"]), "1");
    // An entry that has not changed keeps its due time.
    assert_eq!(ask(&redis, &["ZSCORE", "rs.beat.due", "rarely"]), due);
    beat.terminate();
    assert_eq!(beat.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn entries_are_added_changed_and_removed_while_it_runs() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let _beat = start_beat(&mut beat(&redis, "beat@test", &[]));
    add(
        &redis,
        "often",
        &json!({
            "v": 1, "task": "proj.add", "schedule": { "every": 0.1 }, "args": [1, 2],
            "kwargs": { "x": "y" }, "options": { "expires": 60, "headers": { "mine": 1 } },
        }),
    );
    wait_until("two messages", &redis, &["LLEN", "celery"], |count| {
        count >= "2"
    });
    assert!(obey(&redis, &["disable", "often"]).status.success());
    assert_eq!(ask(&redis, &["ZSCORE", "rs.beat.due", "often"]), "");
    let sent = messages(&redis);
    assert!(obey(&redis, &["enable", "often"]).status.success());
    let more = sent.len() + 1;
    wait_until("another message", &redis, &["LLEN", "celery"], |count| {
        count.parse::<usize>().unwrap() >= more
    });
    redis.cli(&["HDEL", "rs.beat", "often"]).unwrap();
    wait_until(
        "the due time to go",
        &redis,
        &["ZCARD", "rs.beat.due"],
        |count| count == "0",
    );

    let mut ids: Vec<&str> = sent.iter().map(|task| task.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), sent.len());
    let task = &sent[0];
    assert_eq!(
        (task.name.as_str(), task.args.get(), task.kwargs.get()),
        ("proj.add", "[1,2]", r#"{"x":"y"}"#)
    );
    // The version of a UUID is its thirteenth digit.
    assert_eq!(task.id.as_bytes()[14], b'5');
    assert_eq!(task.headers.get("celery_beat_task").unwrap().get(), "true");
    assert_eq!(task.headers.get("mine").unwrap().get(), "1");
    assert!(task.expires.is_some() && task.origin.as_deref() == Some("beat@test"));
}

#[test]
fn an_entry_that_cannot_be_used_does_not_stop_the_others() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    redis.cli(&["SET", "text", "not a list"]).unwrap();
    add(
        &redis,
        "newer",
        &json!({ "v": 2, "task": "t", "schedule": 1 }),
    );
    add(
        &redis,
        "broken",
        &json!({ "v": 1, "task": "t", "schedule": "* *" }),
    );
    let to_text = json!({ "v": 1, "task": "t", "schedule": 0.2, "options": { "queue": "text" } });
    add(&redis, "to-text", &to_text);
    redis
        .cli(&[
            "ZADD",
            "rs.beat.due",
            "5",
            "gone",
            "-inf",
            "worse",
            "1.5",
            "odd",
        ])
        .unwrap();
    add(
        &redis,
        "good",
        &json!({ "v": 1, "task": "t", "schedule": 0.2 }),
    );
    let mut beat = start_beat(&mut beat(&redis, "beat@test", &[]));
    for line in [
        "newer cannot be sent: its version is 2",
        "broken cannot be sent: schedule: 2 fields",
        "to-text (t) could not be sent: WRONGTYPE",
        "Sending due task good (t)",
    ] {
        beat.wait_for_line(PATIENCE, line).unwrap();
    }
    wait_until(
        "names without entries to go",
        &redis,
        &["ZCARD", "rs.beat.due"],
        |it| it == "4",
    );
    wait_until("more messages", &redis, &["LLEN", "celery"], |count| {
        count >= "3"
    });
    assert_eq!(beat.log().matches("newer cannot be sent").count(), 1);
}

#[test]
fn the_command_line_lists_runs_and_imports() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let nightly = json!({
        "v": 1, "task": "proj.clean", "schedule": "0 4 * * *", "timezone": "Europe/Berlin",
        "options": { "queue": "celery", "priority": 0 },
    });
    add(&redis, "nightly", &nightly);
    let output = obey(&redis, &["list"]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for part in [
        "no process leads",
        "nightly  proj.clean  ",
        "Europe/Berlin",
        "not computed yet",
        "not sent yet",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let output = obey(&redis, &["run", "nightly"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(messages(&redis)[0].id, said(&output).trim());
    assert_eq!(ask(&redis, &["ZSCORE", "rs.beat.due", "nightly"]), "0");
    for words in [
        &["run", "no\nsuch"][..],
        &["enable", "nightly", "other"],
        &["disable", "x"],
    ] {
        let output = obey(&redis, words);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("no such entry: "),
            "{}",
            said(&output)
        );
    }
    assert_eq!(obey(&redis, &["enable"]).status.code(), Some(64));

    let definition = |name: &str, schedule: Value, enabled: bool| {
        json!({
            "name": name, "task": "proj.look", "args": [], "kwargs": {}, "options": {},
            "schedule": schedule, "enabled": enabled,
        })
        .to_string()
    };
    let interval = json!({ "__type__": "interval", "every": 30, "relative": false });
    let often = definition("often", interval.clone(), true);
    let off = definition("off", interval.clone(), false);
    let rule = definition("rule", json!({ "__type__": "rrule", "freq": 4 }), true);
    let nightly = definition("nightly", interval, true);
    for (key, definition) in [
        ("often", &often),
        ("off", &off),
        ("rule", &rule),
        ("nightly", &nightly),
    ] {
        let key = format!("redbeat:{key}");
        redis
            .cli(&["HSET", &key, "definition", definition, "meta", "{}"])
            .unwrap();
    }
    redis
        .cli(&["ZADD", "redbeat::schedule", "1", "redbeat:often"])
        .unwrap();
    let output = obey(&redis, &["import-redbeat"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "often: copied",
        "off: copied",
        "nightly: there is such an entry",
        "2 copied",
        "of type rrule",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let _beat = start_beat(&mut beat(&redis, "beat@test", &[]));
    wait_until(
        "a due time",
        &redis,
        &["ZSCORE", "rs.beat.due", "often"],
        |due| due.len() > 10,
    );
    assert_eq!(ask(&redis, &["ZSCORE", "rs.beat.due", "off"]), "");
    let text = said(&obey(&redis, &["list"]));
    for part in [
        "beat@test/",
        " leads",
        "off  proj.look",
        "disabled",
        "next 20",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_check_names_rights_that_are_missing() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let rights = documented::worker_rights();
    let check = |without: &str, more: &[&str]| {
        let rights: Vec<&str> = rights
            .iter()
            .copied()
            .filter(|word| *word != without)
            .collect();
        let user = [
            &["ACL", "SETUSER", "beat", "reset", "on", ">secret"][..],
            &rights,
        ];
        assert_eq!(ask(&redis, &user.concat()), "OK");
        let url = redis.url().replace("redis://", "redis://beat:secret@");
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command.args(["check", "-b", &url]).args(more);
        said(&command.output().unwrap())
    };
    let words = "lacks rights for schedules";
    for without in ["~rs.*", "+hgetall", "+pttl"] {
        assert!(check(without, &["-B"]).contains(words), "{without}");
    }
    for (without, more) in [("", &["-B"][..]), ("+hgetall", &[])] {
        let text = check(without, more);
        assert!(!text.contains(words), "{text}");
    }
}

#[test]
fn the_documented_rights_suffice() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let rights = documented::worker_rights();
    let user = [&["ACL", "SETUSER", "beat", "on", ">secret"][..], &rights].concat();
    assert_eq!(ask(&redis, &user), "OK");
    add(
        &redis,
        "often",
        &json!({ "v": 1, "task": "t", "schedule": 0.2 }),
    );
    let url = redis.url().replace("redis://", "redis://beat:secret@");
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["beat", "-b", &url, "-l", "debug"]);
    let mut beat = start_beat(&mut command);
    wait_until("a message", &redis, &["LLEN", "celery"], |count| {
        count >= "1"
    });
    let output = Command::new(env!("CARGO_BIN_EXE_celery-worker"))
        .args(["beat", "-b", &url, "disable", "often"])
        .output();
    assert!(output.unwrap().status.success());
    beat.terminate();
    assert_eq!(beat.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(!beat.log().contains("NOPERM"), "{}", beat.log());
}
