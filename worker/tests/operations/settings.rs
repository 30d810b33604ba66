//! The sources of settings, the form of the log, and the ways to a broker.

use std::process::Command;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisOptions, ServerName};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::world::*;

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    std::fs::write(
        &file,
        "concurrency = 1\nlease = '11s'\nqueues = ['filed']\n",
    )
    .unwrap();
    let variables = [
        ("CELERY_WORKER_CONCURRENCY", "2"),
        ("CELERY_WORKER_LEASE", "12s"),
    ];
    for (environment, more, expected) in [
        (
            &variables[..0],
            &[][..],
            ["concurrency = 1", "lease = \"11s\"", "queues = [\"filed\"]"],
        ),
        (
            &variables[..],
            &[],
            ["concurrency = 2", "lease = \"12s\"", "queues = [\"filed\"]"],
        ),
        (
            &variables[..],
            &["-c", "3", "-Q", "said"],
            ["concurrency = 3", "lease = \"12s\"", "queues = [\"said\"]"],
        ),
    ] {
        let mut command = Command::new(playground());
        command.arg("--print-config").arg("--config").arg(&file);
        command.args(more).envs(environment.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        for line in expected {
            assert!(
                text.lines().any(|printed| printed == line),
                "{line} is not in {text}"
            );
        }
    }
}

/// Runs the program with these arguments until it ends by itself.
fn ends(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(playground()).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn text_of_keys_may_begin_with_a_hyphen() {
    for (option, value, line) in [
        ("--priority-sep", "--", "sep = \"--\""),
        ("--priority-sep", "-", "sep = \"-\""),
        ("--key-prefix", "-a", "key_prefix = \"-a\""),
        ("--result-key-prefix", "--r", "result_key_prefix = \"--r\""),
    ] {
        for args in [
            vec!["--print-config", option, value],
            vec!["--print-config", &format!("{option}={value}")],
        ] {
            let (code, text) = ends(&args);
            assert_eq!(code, Some(0), "{args:?}: {text}");
            let printed = text.lines().any(|printed| printed == line);
            assert!(printed, "{line} is not in {text}");
        }
    }
}

#[test]
fn a_list_of_servers_is_refused_by_its_purpose() {
    for list in [
        "redis://a/0;redis://b/0",
        "redis://a:1,b:2/0",
        "unix:///a.sock;unix:///b.sock",
    ] {
        for (option, part) in [
            ("--broker", "a list of brokers is not supported"),
            (
                "--result-backend",
                "a list of result backends is not supported",
            ),
        ] {
            let (code, text) = ends(&[option, list]);
            assert_eq!(code, Some(78), "{text}");
            assert!(text.contains(part), "{option} {list}: {text}");
        }
    }
}

#[test]
fn log_lines_can_be_json() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(
        &redis,
        &["-l", "info", "--log-format", "json"],
    ));
    for (id, name, args) in [
        ("f1", "proj.fail", "[\"boom\"]"),
        ("r1", "proj.retrying", "[]"),
        ("u1", "proj.unknown", "[]"),
        ("l1", "proj.log", "[\"said by l1\"]"),
        ("l2", "proj.log_blocking", "[\"said by l2\"]"),
        ("last", "proj.add", "[1, 2]"),
    ] {
        post(&redis, id, name, args, None);
    }
    // A blocking task with a limit runs on a thread of its own.
    post(&redis, "l3", "proj.log", "[\"said by l3\"]", Some(60.0));
    for end in [
        "[l1] succeeded",
        "[l2] succeeded",
        "[l3] succeeded",
        "[last] succeeded in ",
        "[f1] raised",
        "[r1] retry",
        "unregistered",
    ] {
        worker.wait_for_line(PATIENCE, end).unwrap();
    }
    let log = worker.log();
    // The log has no banner: every line is an object, from the first one on.
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        for name in ["timestamp", "level", "message", "target"] {
            assert!(line[name].is_string(), "{name}: {line}");
        }
    }
    let said = |text: &str| {
        let line = lines.iter().find(|line| {
            let message = line["message"].as_str().unwrap();
            message.contains(text)
        });
        line.unwrap_or_else(|| panic!("{text}: {log}"))
    };
    let starts = said(" starts.");
    assert_eq!(starts["queues"], "celery");
    assert_eq!(starts["concurrency"], 100);
    assert!(starts["tasks"].as_str().unwrap().contains("proj.add"));
    assert_eq!(said("appendonly is off")["level"], "WARNING");
    for (text, level, id, name) in [
        ("[last] received", "INFO", "last", "proj.add"),
        ("[last] succeeded", "INFO", "last", "proj.add"),
        ("[f1] raised", "ERROR", "f1", "proj.fail"),
        ("[r1] retry", "INFO", "r1", "proj.retrying"),
        ("unregistered", "ERROR", "u1", "proj.unknown"),
        ("said by l1", "WARNING", "l1", "proj.log"),
        ("said by l2", "WARNING", "l2", "proj.log_blocking"),
        ("said by l3", "WARNING", "l3", "proj.log"),
    ] {
        let line = said(text);
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["task_id"], id, "{line}");
        assert_eq!(line["task_name"], name, "{line}");
        assert_eq!(line["queue"], "celery", "{line}");
    }
}

#[test]
fn the_fields_of_a_json_line_can_be_chosen() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let fields = "time=timestamp,node=hostname,pid=process,message,task=task_name,task_id";
    let options = ["-l", "info", "-n", "w1@h", "--log-format", "json"];
    let chosen = [&options[..], &["--log-fields", fields]].concat();
    let mut worker = start(&mut command(&redis, &chosen));
    post(&redis, "a", "proj.add", "[1, 2]", None);
    let line = worker.wait_for_line(PATIENCE, "[a] succeeded").unwrap();
    let names: Vec<&str> = line.split('"').skip(1).step_by(4).collect();
    assert_eq!(names[..2], ["time", "node"], "{line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    let members: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["message", "node", "pid", "task", "task_id", "time"]
    );
    assert_eq!(line["node"], "w1@h");
    assert_eq!(line["task"], "proj.add");
    assert_eq!(line["task_id"], "a");
    assert_eq!(line["pid"], worker.pid());
    // The next task is for the second worker.
    drop(worker);
    // The star stands for the others.
    let all = [&options[..], &["--log-fields", "severity=level,*"]].concat();
    let mut worker = start(&mut command(&redis, &all));
    post(&redis, "b", "proj.add", "[1, 2]", None);
    let line = worker.wait_for_line(PATIENCE, "[b] succeeded").unwrap();
    assert!(line.starts_with("{\"severity\":\"INFO\","), "{line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(
        line["queue"].is_string() && line["timestamp"].is_string(),
        "{line}"
    );
    assert!(
        line.get("level").is_none() && line.get("hostname").is_none(),
        "{line}"
    );
}

#[test]
fn the_help_lists_the_options_in_groups() {
    let output = Command::new(playground()).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for (heading, option) in [
        ("Broker and results:", "--broker"),
        ("Database:", "--database-timeout"),
        ("Queues and messages:", "--queues"),
        ("Running tasks:", "--concurrency"),
        ("Lost workers:", "--lease"),
        ("Log and monitoring:", "--metrics-addr"),
        ("Configuration:", "--print-config"),
    ] {
        let (_, group) = help.split_once(heading).expect(heading);
        let group = group.split("\n\n\n").next().unwrap();
        assert!(group.contains(option), "{heading} {option}: {help}");
    }
    // Only help and version are outside a group.
    let (_, rest) = help.split_once("Options:").unwrap();
    let rest = rest.split(":\n").next().unwrap();
    assert_eq!(
        rest.matches("  --").count() + rest.matches(", --").count(),
        2,
        "{help}"
    );
}

#[test]
fn a_message_cannot_forge_a_line() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let worker = start(&mut command(&redis, &["-l", "info"]));
    let forged = "[2026-01-01 00:00:00,000: ERROR/MainProcess] forged";
    let args = serde_json::to_string(&[format!("boom\n{forged}")]).unwrap();
    post(&redis, "f1", "proj.fail", &args, None);
    // The id and the name are unusual: no client of this project would send them.
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new("ID", "proj.add", raw("[1, 2]"), raw("{}"));
    let message = task.encode_redis(&EncodeOptions::new("celery", "tag"));
    let message = String::from_utf8(message.unwrap()).unwrap();
    for plain in ["ID", "proj.add"] {
        let message = message.replace(plain, &format!("x\\n{forged}"));
        redis.cli(&["LPUSH", "celery", &message]).unwrap();
    }
    post(&redis, "last", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "f1", "FAILURE", &worker);
    wait_for_status(&redis, "last", "SUCCESS", &worker);
    let log = worker.log();
    assert!(log.contains("forged"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with(forged)), "{log}");
}

#[test]
fn a_line_of_a_task_names_it() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &[]));
    post(&redis, "l1", "proj.log", "[\"said by l1\"]", None);
    post(&redis, "l2", "proj.log_blocking", "[\"a\\nb\"]", None);
    for line in [
        "WARNING/MainProcess] proj.log[l1]: said by l1",
        "WARNING/MainProcess] proj.log_blocking[l2]: a",
    ] {
        worker.wait_for_line(PATIENCE, line).unwrap();
    }
}

#[test]
fn a_retry_is_logged_in_celerys_words() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "info"]));
    post(&redis, "r1", "proj.retrying", "[]", None);
    post(&redis, "r2", "proj.retry_noexc", "[]", None);
    let retry = "Task proj.retrying[r1] retry: Retry in 1s: OSError(5, 'io failed')";
    worker.wait_for_line(PATIENCE, retry).unwrap();
    worker
        .wait_for_line(PATIENCE, "Task proj.retry_noexc[r2] retry: Retry in 600s")
        .unwrap();
}

#[test]
fn settings_that_could_lose_tasks_are_reported_at_the_start() {
    let options = RedisOptions::new().set("maxmemory-policy", "allkeys-lru");
    let redis = Redis::start(options).unwrap();
    let mut worker = Process::spawn("playground", &mut command(&redis, &[])).unwrap();
    for warning in ["maxmemory-policy is allkeys-lru", "appendonly is off"] {
        worker.wait_for_line(PATIENCE, warning).unwrap();
    }
}

#[test]
fn a_broker_is_reached_over_tls_and_over_a_unix_socket() {
    let redis = Redis::start(RedisOptions::new().tls(ServerName::Right)).unwrap();
    let authority = redis.certificates().unwrap().ca();
    let socket = format!("redis+socket://{}", redis.socket().display());
    let tls = redis.tls_url().unwrap();
    let tls = format!("{tls}?ssl_ca_certs={}", authority.display());
    for (id, url) in [("s1", &socket), ("t1", &tls)] {
        let mut command = Command::new(playground());
        command.args(["--broker", url, "-l", "info"]);
        let mut worker = start(&mut command);
        post(&redis, id, "proj.add", "[1, 2]", None);
        wait_for_status(&redis, id, "SUCCESS", &worker);
        worker.terminate();
        assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    }
}

#[test]
fn systemd_accepts_the_unit() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let unit =
        std::fs::read_to_string(format!("{root}/packaging/systemd/celery-worker.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The program need not be installed where the tests run.
    let unit = unit.replace(
        "/usr/bin/celery-worker",
        env!("CARGO_BIN_EXE_celery-worker"),
    );
    let file = folder.path().join("celery-worker.service");
    std::fs::write(&file, unit).unwrap();
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    let Ok(verify) = verify else {
        println!("skipped: systemd-analyze is not there");
        return;
    };
    let said = String::from_utf8_lossy(&verify.stderr);
    let about = said
        .lines()
        .filter(|line| line.contains("celery-worker.service"));
    let about: Vec<&str> = about.collect();
    assert!(about.is_empty(), "{about:#?}");
}
