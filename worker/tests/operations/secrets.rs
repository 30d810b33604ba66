//! No output of the worker shows a part of a password, in whichever setting the password is.
//!
//! The program itself lists its options, their variables, the subcommands and the keys of the file,
//! so that the tests also cover those that are added later.

use std::collections::BTreeSet;
use std::process::Command;

use celery_testkit::{MariaDb, Process, Redis, RedisOptions, wait_for};

use crate::world::*;

/// Characters that have a meaning in a URL, in a shell, or in TOML.
const RESERVED: &str = ":/?#[]@!$&'()*+,;=% \"\\<>^`{|}";

/// Returns URLs with a character in the password, the user, the host, the path and the query.
/// Nothing listens at port 1.
fn urls(reserved: char) -> Vec<String> {
    let encoded = format!("%{:02X}", u32::from(reserved));
    vec![
        format!("redis://:hunter{reserved}hush@127.0.0.1:1/0"),
        format!("redis://:hunter{encoded}hush@127.0.0.1:1/0"),
        format!("mysql://app:{reserved}hunterhush{reserved}@127.0.0.1:1/app"),
        format!("mysql://app:{encoded}hunterhush@127.0.0.1:1/app?connect_timeout=1"),
        format!("postgres://a{reserved}pp:hunterhush@127.0.0.1:1/app"),
        format!("rediss://app:hunterhush@127.0{reserved}.0.1:1/0"),
        format!("redis://app:hunterhush@127.0.0.1:1/{reserved}0"),
        format!("redis://app:hunterhush@127.0.0.1:1/0?db{reserved}=1"),
        format!("postgres://127.0.0.1:1/app?user=app&password=hunter{reserved}hush"),
    ]
}

/// An option as the help shows it.
#[derive(Clone, Debug)]
struct Given {
    option: String,
    variable: Option<String>,
    is_url: bool,
}

fn worker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.env("RUST_BACKTRACE", "0");
    command
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns all options that take a value.
fn options() -> Vec<Given> {
    let help = said(worker().arg("--help"));
    let mut options: Vec<Given> = Vec::new();
    for line in help.lines().map(str::trim) {
        if let Some(start) = line.find("--").filter(|_| line.starts_with('-')) {
            let (option, value) = line[start..]
                .split_once([' ', '[', '='])
                .unwrap_or((&line[start..], ""));
            if !value.is_empty() {
                options.push(Given {
                    option: option.to_owned(),
                    variable: None,
                    is_url: value.contains("URL"),
                });
            }
        }
        if let Some(variable) = line.strip_prefix("[env: ") {
            let name = variable.trim_end_matches(']').trim_end_matches('=');
            options.last_mut().unwrap().variable = Some(name.to_owned());
        }
    }
    assert!(options.len() > 25, "{help}");
    let urls = options.iter().filter(|given| given.is_url).count();
    assert_eq!(urls, 4, "{options:?}");
    options
}

/// Returns all keys of the file: the program lists them when it meets an unknown one.
fn keys(folder: &tempfile::TempDir) -> BTreeSet<String> {
    let file = folder.path().join("unknown.toml");
    std::fs::write(&file, "colour = 1").unwrap();
    let text = said(worker().arg("--config").arg(&file).arg("--print-config"));
    let names = text.split('`').skip(1).step_by(2);
    let keys: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(keys.len() > 25 && keys.contains("broker"), "{text}");
    keys
}

/// Returns each subcommand with those under it: `check`, `dead list`, ….
fn subcommands() -> Vec<Vec<String>> {
    fn within(path: &[String]) -> Vec<Vec<String>> {
        let help = said(worker().args(path).arg("--help"));
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help");
        let below: Vec<Vec<String>> = names
            .flat_map(|name| within(&[path, &[name.to_owned()]].concat()))
            .collect();
        if below.is_empty() {
            vec![path.to_vec()]
        } else {
            below
        }
    }
    let all = within(&[]);
    assert!(all.contains(&vec!["dead".to_owned(), "replay".to_owned()]));
    all
}

#[track_caller]
fn is_hidden(text: &str, what: impl std::fmt::Debug) {
    let text = text.to_lowercase();
    assert!(
        !text.contains("hunt") && !text.contains("hush"),
        "{what:?}: {text}"
    );
}

fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The ways to print settings, or to fail over them, that need no server.
const MODES: [&[&str]; 5] = [
    &["--print-config"],
    &["check"],
    &["check", "--strict"],
    &["--help"],
    &["dead", "list"],
];

#[test]
fn of_urls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let urls_only: Vec<Given> = options().into_iter().filter(|given| given.is_url).collect();
    let mut turn = 0;
    for reserved in RESERVED.chars() {
        for url in urls(reserved) {
            for given in &urls_only {
                // Each mode meets each option, source and kind of URL, with several characters.
                turn += 1;
                let modes = [MODES[0], MODES[1 + turn % (MODES.len() - 1)]];
                let key = given.option.trim_start_matches("--").replace('-', "_");
                std::fs::write(&file, format!("{key} = {}", toml_text(&url))).unwrap();
                let (mode, other) = (modes[turn % 2], modes[(turn + 1) % 2]);
                is_hidden(
                    &said(worker().args([&given.option, &url]).args(mode)),
                    (&given.option, &url, mode),
                );
                let variable = given.variable.as_ref().unwrap();
                is_hidden(
                    &said(worker().env(variable, &url).args(other)),
                    (variable, &url, other),
                );
                is_hidden(
                    &said(worker().arg("--config").arg(&file).args(mode)),
                    (&key, &url, mode),
                );
            }
        }
    }
}

#[test]
fn of_urls_in_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let mut characters = RESERVED.chars().cycle();
    let mut next = || urls(characters.next().unwrap());
    for given in options() {
        let option = &given.option;
        for (url, mode) in next().iter().zip(MODES.iter().cycle()) {
            let both = format!("{option}={url}");
            is_hidden(&said(worker().arg(&both).args(*mode)), (&both, mode));
            is_hidden(
                &said(worker().args([option, url]).args(*mode)),
                (&both, mode),
            );
            let Some(variable) = &given.variable else {
                continue;
            };
            is_hidden(
                &said(worker().env(variable, url).args(*mode)),
                (variable, mode),
            );
        }
        // A worker that starts nevertheless would print its banner.
        if option != "--broker" {
            let url = format!("{option}=redis://:hunterhush@127.0.0.1:1/0");
            is_hidden(&said(worker().arg(&url).arg("-bredis://h?")), url);
        }
    }
    for key in keys(&folder) {
        for (url, mode) in next().iter().zip(MODES.iter().cycle()) {
            let text = toml_text(url);
            for line in [
                format!("{key} = {text}"),
                format!("{key} = [{text}]"),
                format!("{key} = {{ {text} = {text} }}"),
                format!("{key} = {{ {text} = 1 }}"),
                format!("{text} = 1\n{key} = {text} 1"),
            ] {
                // A statement may have any text, and an error may show the name of a task.
                if key == "tasks" && line.starts_with("tasks = {") {
                    continue;
                }
                std::fs::write(&file, &line).unwrap();
                let said = said(worker().arg("--config").arg(&file).args(*mode));
                is_hidden(&said, (&line, mode));
            }
        }
    }
}

/// Puts an argument in the wrong place, in each subcommand and in the worker itself.
#[test]
fn of_arguments_of_subcommands() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut urls = RESERVED.chars().flat_map(urls).cycle();
    for path in subcommands() {
        for _ in 0..30 {
            let url = urls.next().unwrap();
            for arguments in [
                vec![url.clone()],
                vec!["--brokr".to_owned(), url.clone()],
                vec![format!("--brokr={url}")],
                vec![format!("-x{url}")],
                vec!["--".to_owned(), url.clone()],
                vec!["--limit".to_owned(), url.clone()],
                vec!["--all".to_owned(), url.clone()],
            ] {
                // The worker itself takes no argument, and must say so instead of starting.
                let mut command = worker();
                command
                    .args(["-b", &redis.url()])
                    .args(&path)
                    .args(&arguments);
                is_hidden(&said(&mut command), (&path, &arguments));
            }
            let mut command = worker();
            is_hidden(
                &said(command.args(["-b", &url]).args(&path).arg("1-1")),
                (&path, &url),
            );
        }
    }
}

const PASSWORD: &str = "hunter#/?@:%hush";
const ENCODED: &str = "hunter%23%2F%3F%40%3A%25hush";

/// Waits until the last line of the worker about its connection to this server begins with `text`.
///
/// Each role notices a loss by itself, some of them seconds later. Lines of the last loss can
/// therefore still come while the next one is waited for.
#[track_caller]
fn wait_for_last_word(worker: &Process, server: &Redis, text: &str) {
    let place = format!("127.0.0.1:{}", server.port());
    let waited = wait_for(PATIENCE, &format!("{text:?} about {place}"), || {
        let log = worker.log();
        let mut lines = log.lines().rev().filter(|line| line.contains(&place));
        let last = lines.find(|line| line.contains(LOST) || line.contains(FOUND));
        last.is_some_and(|line| line.contains(text))
    });
    if let Err(error) = waited {
        panic!("{error}; the worker said:\n{}", worker.log());
    }
}

const LOST: &str = "Cannot connect to";
const FOUND: &str = "Connected to";

/// Runs a worker that loses its servers and finds them again, and then stops it.
#[test]
fn of_a_running_worker() {
    let database = MariaDb::start().unwrap();
    database
        .sql(&format!(
            "CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON celery.* TO app@'%'"
        ))
        .unwrap();
    let tables = format!("mysql://app:{ENCODED}@127.0.0.1:{}/celery", database.port());
    for format in ["text", "json"] {
        let mut redis = Redis::start(RedisOptions::new().aof().password(PASSWORD)).unwrap();
        let mut results = Redis::start(RedisOptions::new().aof().password(PASSWORD)).unwrap();
        let url = |redis: &Redis| format!("redis://:{ENCODED}@127.0.0.1:{}/0", redis.port());
        let mut command = Command::new(playground());
        command.args(["--broker", &url(&redis), "--result-backend", &url(&results)]);
        command.args(["--database", &tables, "--log-format", format]);
        command.args(["--metrics-addr", "127.0.0.1:0", "-l", "DEBUG"]);
        let mut worker = Process::spawn("playground", &mut command).unwrap();
        worker.wait_for_line(PATIENCE, "ready.").unwrap();
        let line = worker
            .wait_for_line(PATIENCE, "/metrics on http://")
            .unwrap();
        let address = line.split("http://").nth(1).unwrap();
        let pages = Pages(address.split(['"', '\n']).next().unwrap().trim().to_owned());
        let looks = || {
            for page in ["/metrics", "/healthz", "/readyz"] {
                is_hidden(&pages.get(page).1, page);
            }
        };
        redis.kill9();
        wait_for_last_word(&worker, &redis, LOST);
        looks();
        redis.restart().unwrap();
        wait_for_last_word(&worker, &redis, FOUND);
        results.kill9();
        // The worker uses this server only for the results of tasks.
        post(&redis, "n1", "noop", "[]", None);
        wait_for_last_word(&worker, &results, LOST);
        looks();
        results.restart().unwrap();
        wait_for_last_word(&worker, &results, FOUND);
        // A stop waits for what is held, which the broker would no longer take.
        wait_for(PATIENCE, "the end of the task", || {
            count(&redis, &["HLEN", "unacked"]) == 0
        })
        .unwrap();
        // Another password, while the worker runs.
        let mut link = ::redis::Client::open(url(&redis))
            .and_then(|client| client.get_connection())
            .unwrap();
        for words in [
            &["CONFIG", "SET", "requirepass", "other"][..],
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
        ] {
            let mut command = ::redis::cmd(words[0]);
            command.arg(&words[1..]).exec(&mut link).unwrap();
        }
        wait_for_last_word(&worker, &redis, LOST);
        looks();
        worker.terminate();
        worker.wait(PATIENCE).unwrap();
        is_hidden(&worker.log(), format);
    }
}

/// Starts workers that fail to start, for each server and each reason.
#[test]
fn of_a_worker_that_does_not_start() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    let place = format!("127.0.0.1:{}", redis.port());
    let tables = format!("127.0.0.1:{}", database.port());
    for format in ["text", "json"] {
        for reserved in ['#', '@', '/', '%', '"', '\\'] {
            let code = u32::from(reserved);
            let login = format!("app:hunter%{code:02X}hush");
            let token = format!("hunter%{code:02X}hush");
            for (option, url) in [
                ("--broker", format!("redis://{login}@{place}/0")),
                ("--broker", format!("redis://:{token}@{place}/99")),
                (
                    "--broker",
                    format!("redis://app:hunter{reserved}hush@@{place}/x"),
                ),
                ("--result-backend", format!("redis://{login}@{place}/0")),
                ("--result-backend", format!("rpc://{login}@{place}/0")),
                ("--database", format!("mysql://{login}@{tables}/celery")),
                (
                    "--database",
                    format!("mysql://{login}@{tables}/celery?ssl-mode=required"),
                ),
                (
                    "--database",
                    format!("mysql://{login}@{tables}/celery?ssl-ca=/nowhere/ca.pem"),
                ),
                ("--database", format!("postgres://{login}@{tables}/celery")),
                ("--database", format!("oracle://{login}@{tables}/celery")),
                (
                    "--database",
                    format!("sqlite:///nowhere/x.db?password={token}"),
                ),
            ] {
                let mut command = Command::new(playground());
                command.args(["--log-format", format, "-l", "DEBUG", option, &url]);
                if option != "--broker" {
                    command.env("CELERY_BROKER_URL", redis.url());
                }
                let mut worker = Process::spawn("playground", &mut command).unwrap();
                let status = worker.wait(PATIENCE).unwrap();
                assert_eq!(status.code(), Some(78), "{option} {url}: {}", worker.log());
                is_hidden(&worker.log(), (option, url));
            }
        }
    }
}
