//! The command line of `celery worker`, and the page that maps Celery's options and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::world::*;

/// Prints the options of Celery 5.7 and the settings of five of its groups, one in each line.
const LIST: &str = "
from celery.app.defaults import NAMESPACES, flatten
from celery.bin.celery import celery
from celery.bin.worker import worker
for parameter in celery.params + worker.params:
    print('\\n'.join(getattr(parameter, 'opts', [])))
for name, _ in flatten(NAMESPACES):
    if name.split('_')[0] in ('worker', 'task', 'result', 'broker', 'beat'):
        print(name)
";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the words of the page by the names in the first column of its tables.
fn page() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(root().join("docs/reference/celery.md")).unwrap();
    let mut page = BTreeMap::new();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [names, word, rest @ ..] = &cells[..] else {
            panic!("{row}")
        };
        if rest.is_empty() {
            // The last table, about annotations, has two columns.
            continue;
        }
        for name in names.split(", ") {
            let known = ["same", "other", "none", "not yet"].contains(word);
            assert!(known, "{row}");
            let entry = (word.to_string(), rest.join(" | "));
            let twice = page.insert(name.trim_matches('`').to_owned(), entry);
            assert!(twice.is_none(), "{name} is twice on the page");
        }
    }
    page
}

fn help() -> String {
    let output = Command::new(playground()).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_page_names_every_option_and_setting_of_celery() {
    let python = root().join(".venv/celery-5.7/bin/python");
    if !python.exists() {
        println!("skipped: Celery 5.7 is not in .venv (make setup)");
        return;
    }
    let output = Command::new(python).args(["-c", LIST]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let list = String::from_utf8(output.stdout).unwrap();
    let celery: BTreeSet<&str> = list.lines().filter(|line| !line.is_empty()).collect();
    assert!(
        celery.contains("--autoscale") && celery.contains("task_routes"),
        "{list}"
    );
    let page = page();
    let missing = celery.iter().filter(|name| !page.contains_key(**name));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    let unknown = page
        .keys()
        .filter(|name| !celery.contains(&name[..]) && *name != "--help");
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "not in Celery: {unknown:?}");
}

/// Prints the default of each setting of Celery as JSON.
const DEFAULTS: &str = "
import json
from celery.app.defaults import NAMESPACES, flatten
print(json.dumps({
    name: option.default for name, option in flatten(NAMESPACES) if option.default != float('inf')
}, default=lambda value: f'{value.total_seconds():.0f}s' if hasattr(value, 'days') else None))
";

/// Returns `true` if a default in the reference is Celery's. A name of another option means that its
/// value counts, which is what Celery's null means there.
fn is_celerys(ours: &str, celery: &Value) -> bool {
    let text = ours.trim_matches('`');
    match celery {
        Value::Null => matches!(ours, "" | "none" | "no limit") || text.starts_with("--"),
        Value::Bool(value) => text == value.to_string(),
        Value::Number(value) => text.parse::<f64>().ok() == value.as_f64(),
        Value::String(value) => text == value || (text, &**value) == ("1d", "86400s"),
        Value::Array(values) => *values == [Value::from(text)],
        Value::Object(_) => false,
    }
}

#[test]
fn the_page_says_which_defaults_differ() {
    let python = root().join(".venv/celery-5.7/bin/python");
    if !python.exists() {
        println!("skipped: Celery 5.7 is not in .venv (make setup)");
        return;
    }
    let output = Command::new(python)
        .args(["-c", DEFAULTS])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let celery: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    let page = page();
    let reference = root().join("docs/reference/worker.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let mut compared = 0;
    for row in reference.lines().filter(|line| line.starts_with("| `-")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, ours, setting, ..] = &cells[..] else {
            continue;
        };
        let setting = setting.trim_matches('`');
        let (Some(default), Some((_, text))) = (celery.get(setting), page.get(setting)) else {
            continue;
        };
        compared += 1;
        let says = text.contains("default");
        assert!(
            says || is_celerys(ours, default),
            "{setting}: its default is {ours} here and {default} in Celery, and the page does not say it"
        );
    }
    assert!(compared > 25, "only {compared} settings were found");
}

#[test]
fn the_page_names_options_that_the_worker_has() {
    let help = help();
    for (name, (word, text)) in page() {
        let own = text.split('`').skip(1).step_by(2);
        let own = own.filter_map(|code| code.split(' ').next());
        let own = own.filter(|code| code.starts_with("--") && *code != "--autoscale");
        let same = (word == "same").then_some(&name[..]);
        let same = same.filter(|name| name.starts_with("--"));
        for option in own.chain(same) {
            let found = [" ", ",", "[", "\n"].map(|end| format!("{option}{end}"));
            assert!(
                found.iter().any(|it| help.contains(it)),
                "{name}: {option} is not in {help}"
            );
        }
    }
}

/// Every option of the page, with a value where Celery's has one.
#[test]
fn options_without_effect_are_accepted_and_explained() {
    let valued = [
        "-A",
        "--app",
        "-I",
        "--include",
        "--loader",
        "--executable",
        "-P",
        "--pool",
        "--pool-start-method",
        "--autoscale",
        "-O",
        "--optimization",
        "--heartbeat-interval",
        "-S",
        "--statedb",
        "-s",
        "--schedule-filename",
        "--schedule",
        "--scheduler",
        "--uid",
        "--gid",
        "--umask",
    ];
    let redis = Redis::start(RedisOptions::new()).unwrap();
    for (name, (word, _)) in page() {
        if !name.starts_with('-') || word == "same" || word == "other" {
            continue;
        }
        let mut command = command(&redis, &["-n", "w1@%h", &name]);
        if valued.contains(&&name[..]) {
            command.arg("10,3");
        }
        let output = command.arg("--print-config").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    }
    let line = "-A proj worker -P prefork -O fair -c auto -E -X mails -Q celery,mails \
        --max-tasks-per-child 100 --without-gossip --time-limit=60 -B -l info";
    let mut command = command(&redis, &line.split_whitespace().collect::<Vec<_>>());
    let mut worker = Process::spawn("playground", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    let log = worker.log();
    for start in [
        "-A/--app has no effect: ",
        "-P/--pool has no effect: tasks are futures",
        "-O/--optimization has no effect: ",
        "--without-gossip has no effect: ",
    ] {
        assert!(
            log.contains(&format!("] {start}")),
            "{start} is not in {log}"
        );
    }
    // Every word has one line.
    let cores = std::thread::available_parallelism().unwrap();
    for line in [
        "] worker: the program runs a worker, as without this word".to_owned(),
        format!("-c/--concurrency: {cores} tasks run at once, in one process"),
        "-E/--task-events: the worker sends events, and a heartbeat every 2 seconds".to_owned(),
        "-X/--exclude-queues: the consumed queues are celery".to_owned(),
        "-Q/--queues: the consumed queues are celery".to_owned(),
        "--max-tasks-per-child: the process ends after 100 tasks with exit code 75".to_owned(),
        "--time-limit: it is 60s for tasks that have none of their own".to_owned(),
        "-B/--beat: the worker takes part in running schedules".to_owned(),
        "-l/--loglevel: lines from INFO on are logged".to_owned(),
    ] {
        assert_eq!(
            log.matches(&line).count(),
            1,
            "{line:?} is not once in {log}"
        );
    }
    // A line without such words is not explained.
    let options = ["-c", "2", "-l", "info"];
    let mut plain = start(&mut self::command(&redis, &options));
    assert!(!plain.log().contains("--concurrency:"), "{}", plain.log());
    plain.stop();
}

#[test]
fn words_of_celery_that_have_an_effect() {
    let printed = |args: &[&str]| {
        let output = Command::new(playground())
            .args(args)
            .arg("--print-config")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let cores = std::thread::available_parallelism().unwrap();
    let auto = format!("concurrency = {cores}");
    for (args, line) in [
        (&["-c", "auto"][..], &auto[..]),
        (&["worker", "-c", "auto"], &auto),
        (&["-c", "7", "worker"], "concurrency = 7"),
        (&["-Q", "a,b,c", "-X", "b"], "queues = [\"a\", \"c\"]"),
        (&["-Q", "a,b,c", "--exclude-queues=b,a"], "queues = [\"c\"]"),
        (&["-X", "mails"], "queues = [\"celery\"]"),
        (&["--disable-prefetch"], "prefetch_multiplier = 1"),
        (
            &["--time-limit", "60", "--soft-time-limit", "50"],
            "time_limit = \"60s\"",
        ),
        (
            &["-n", "w1@h", "--pidfile", "/run/%n.pid"],
            "pidfile = \"/run/w1.pid\"",
        ),
        (
            &["-n", "w1@h", "--pidfile", "/run/100%%i.pid"],
            "pidfile = \"/run/100%i.pid\"",
        ),
        // As in Celery, the last value counts. Lists grow.
        (&["-c", "2", "-c", "5"], "concurrency = 5"),
        (
            &["-c", "auto", "worker", "--concurrency=4"],
            "concurrency = 4",
        ),
        (
            &["--time-limit=60", "--time-limit", "70"],
            "time_limit = \"70s\"",
        ),
        (
            &["--pidfile=/run/a", "--pidfile=/run/b"],
            "pidfile = \"/run/b\"",
        ),
        (&["-Q", "a", "-Q", "b"], "queues = [\"a\", \"b\"]"),
        (
            &["-n", "w1@h", "-f", "/log/%n%I.log"],
            "logfile = \"/log/w1.log\"",
        ),
        (
            &["--max-memory-per-child", "200000"],
            "max_memory_per_child = 200000",
        ),
    ] {
        let (code, text) = printed(args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        assert!(
            text.lines().any(|it| it == line),
            "{args:?}: {line} is not in {text}"
        );
    }
    // As in Celery, an empty path turns a file off.
    for args in [
        &["--pidfile="][..],
        &["--pidfile", ""],
        &["--logfile=", "--workdir="],
        &["-f", "/log/a", "-f", ""],
    ] {
        let (code, text) = printed(args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        assert!(!text.contains("file = "), "{args:?}: {text}");
    }
    for (args, code, part) in [
        (&["-c", "most"][..], 64, "invalid digit"),
        (&["-X", "celery"], 78, "exclude every queue"),
        (&["--max-tasks-per-child", "0"], 78, "less than 1"),
        (&["--time-limit", "soon"], 78, "not a time"),
        (&["--workdir", "/nowhere/at/all"], 78, "--workdir: "),
        (&["--no-such-option"], 64, "--no-such-option"),
    ] {
        let (found, text) = printed(args);
        assert_eq!(found, Some(code), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn a_process_ends_after_its_number_of_tasks() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(
        &redis,
        &["--max-tasks-per-child", "3", "-c", "1"],
    ));
    for id in ["a", "b", "c", "d", "e"] {
        post(&redis, id, "proj.add", "[1, 2]", None);
    }
    assert_eq!(
        worker.wait(PATIENCE).unwrap().code(),
        Some(75),
        "{}",
        worker.log()
    );
    assert!(
        worker
            .log()
            .contains("3 tasks have run (max_tasks_per_child)"),
        "{}",
        worker.log()
    );
    // One slot: exactly three have run, and the others are back in the queue.
    let done = ["a", "b", "c", "d", "e"].map(|id| result(&redis, id).is_some());
    assert_eq!(done.iter().filter(|done| **done).count(), 3, "{done:?}");
    assert_eq!(count(&redis, &["LLEN", "celery"]), 2);
}

#[test]
fn a_process_ends_when_it_takes_its_memory_and_has_run_a_task() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["--max-memory-per-child", "1"]));
    post(&redis, "a", "proj.add", "[1, 2]", None);
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(75), "{}", worker.log());
    assert!(
        worker.log().contains("KiB (max_memory_per_child)"),
        "{}",
        worker.log()
    );
    assert_eq!(result(&redis, "a").unwrap()["status"], "SUCCESS");
}

#[test]
fn a_file_with_the_number_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let pattern = folder.path().join("%n.pid");
    let file = folder.path().join("w1.pid");
    let args = ["-n", "w1@%h", "--pidfile", pattern.to_str().unwrap()];
    let mut worker = start(&mut command(&redis, &args));
    let number = std::fs::read_to_string(&file).unwrap();
    assert!(number.trim().parse::<u32>().is_ok(), "{number:?}");
    let second = command(&redis, &args).output().unwrap();
    assert_eq!(second.status.code(), Some(78), "{second:?}");
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(
        text.contains(&format!("the process {} runs already", number.trim())),
        "{text}"
    );
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(!file.exists());
}

#[test]
fn waiting_messages_can_be_deleted_at_the_start() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    for id in ["a", "b"] {
        post(&redis, id, "proj.add", "[1, 2]", None);
    }
    for option in ["--purge", "--discard"] {
        let mut worker = start(&mut command(&redis, &["-l", "info", option]));
        let deleted = if option == "--purge" { 2 } else { 1 };
        let line = format!("Deleted {deleted} waiting messages (--purge)");
        worker.wait_for_line(PATIENCE, &line).unwrap();
        post(&redis, "c", "proj.add", "[1, 2]", None);
        wait_for_status(&redis, "c", "SUCCESS", &worker);
        worker.terminate();
        worker.wait(PATIENCE).unwrap();
        post(&redis, "a", "proj.add", "[1, 2]", None);
    }
    assert_eq!(result(&redis, "a"), None);
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
}

#[test]
fn a_worker_can_have_a_queue_of_its_own() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let own = "w1@web.dq2";
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new("direct", "proj.add", raw("[1, 2]"), raw("{}"));
    let message = task.encode_redis(&EncodeOptions::new(own, "t")).unwrap();
    let message = String::from_utf8(message).unwrap();
    redis.cli(&["LPUSH", own, &message]).unwrap();
    let other = start(&mut command(&redis, &["-n", "w2@web", "--direct"]));
    let first = start(&mut command(
        &redis,
        &["-n", "w1@web", "--direct", "-l", "info", "--lease", "1s"],
    ));
    wait_for_status(&redis, "direct", "SUCCESS", &first);
    assert!(first.log().contains("[direct] received"), "{}", first.log());
    // Senders that name Celery's exchange find the queue by its binding.
    let sets = ["_kombu.binding.C.dq2", "_kombu.binding_permanent.C.dq2"];
    for (set, node) in sets.into_iter().zip(["w1@web", "w2@web"]) {
        let member = format!("{node}\u{6}\u{16}\u{6}\u{16}{node}.dq2");
        let bound = || count(&redis, &["SISMEMBER", set, &member]) == 1;
        wait_for(PATIENCE, "the binding", bound).unwrap();
        // A server that was emptied gets it again.
        if node == "w1@web" {
            redis.cli(&["DEL", set]).unwrap();
            wait_for(PATIENCE, "the binding once more", bound).unwrap();
        }
    }
    drop(other);
}

#[test]
fn results_and_limits_for_all_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let toml = "task_ignore_result = true\ntask_store_errors_even_if_ignored = true\n\
        [annotations.'proj.sleep']\ntime_limit = 0.2\n";
    std::fs::write(&file, toml).unwrap();
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(
        &redis,
        &["-l", "info", "--config", file.to_str().unwrap()],
    ));
    post(&redis, "silent", "proj.add", "[1, 2]", None);
    post(&redis, "failed", "proj.fail", "[\"boom\"]", None);
    post(&redis, "long", "proj.sleep", "[60]", None);
    post_with(&redis, "asked", "proj.add", "[1, 2]", |task| {
        task.ignore_result = Some(false);
    });
    worker
        .wait_for_line(PATIENCE, "[silent] succeeded")
        .unwrap();
    wait_for_status(&redis, "failed", "FAILURE", &worker);
    wait_for_status(&redis, "long", "FAILURE", &worker);
    wait_for_status(&redis, "asked", "SUCCESS", &worker);
    let document = result(&redis, "long").unwrap();
    assert_eq!(
        document["result"]["exc_type"], "TimeLimitExceeded",
        "{document}"
    );
    assert_eq!(result(&redis, "silent"), None);
}
