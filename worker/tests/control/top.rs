//! `celery-worker top` on a terminal of its own, beside workers in Rust and Python.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use celery_testkit::{Redis, RedisOptions, wait_for};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::documented::worker_rights;
use crate::world::{OURS, PATIENCE, PYTHON, playground, post, start, start_python};

const ROWS: u16 = 40;
const COLUMNS: u16 = 160;
const OTHER: &str = "other@test";

fn top(redis: &Redis) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.arg("top").env("CELERY_BROKER_URL", redis.url());
    command
}

/// A terminal with a program in it. What the program draws is kept as a screen.
struct Terminal {
    child: Child,
    master: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let inner = || Stdio::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        command.env("TERM", "xterm");
        command.stdin(inner()).stdout(inner()).stderr(inner());
        let child = command.spawn().unwrap();
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let (mut output, drawn) = (master.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the program has ended.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                drawn.lock().unwrap().process(&bytes[..count]);
            }
        });
        Terminal {
            child,
            master,
            screen,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until all of these texts are on the screen.
    fn wait_for_texts(&self, texts: &[&str]) {
        let shown = wait_for(PATIENCE, "the screen", || {
            let screen = self.text();
            texts.iter().all(|text| screen.contains(text))
        });
        assert!(shown.is_ok(), "{texts:?} are not all in\n{}", self.text());
    }

    /// Waits until a line has all of these texts.
    fn wait_for_line(&self, texts: &[&str]) {
        let shown = wait_for(PATIENCE, "a line", || {
            let screen = self.text();
            let mut lines = screen.lines();
            lines.any(|line| texts.iter().all(|text| line.contains(text)))
        });
        assert!(shown.is_ok(), "no line has {texts:?} in\n{}", self.text());
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DOWN: &str = "\x1b[B";

#[test]
fn a_mixed_fleet_is_shown_and_steered() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(_python) = start_python(&redis, "python") else {
        return;
    };
    let _ours = start(&mut playground(&redis, &["-Q", "celery"]));
    let _other = start(playground(&redis, &["-Q", "other"]).args(["-n", OTHER]));
    post(&redis, "celery", "dead-one", "proj.unknown", "[]");
    post(&redis, "celery", "slow-one", "proj.sleep", "[600]");

    let mut terminal = Terminal::start(top(&redis));
    for node in [OURS, OTHER, PYTHON] {
        terminal.wait_for_line(&[node, " up "]);
    }
    terminal.press("2");
    for queue in ["celery", "other", "python"] {
        terminal.wait_for_line(&[queue, " 0 ", "1"]);
    }

    terminal.press("3");
    terminal.wait_for_line(&["slow-one", "proj.sleep", OURS]);
    terminal.press(DOWN);
    terminal.press("x");
    terminal.wait_for_texts(&["Revoke slow-one"]);
    // Another key than y is a no.
    terminal.press("n");
    terminal.wait_for_texts(&["1-6 page"]);
    terminal.press("xy");
    terminal.wait_for_texts(&["Workers were told to revoke slow-one"]);
    let state = || redis.cli(&["GET", "celery-task-meta-slow-one"]).unwrap();
    wait_for(PATIENCE, "the revocation", || state().contains("REVOKED")).unwrap();

    terminal.press("6");
    terminal.wait_for_line(&["celery", "dead-one", "proj.unknown"]);
    let place = redis.cli(&["XRANGE", "celery.dead", "-", "+"]).unwrap();
    let place = place.lines().next().unwrap().trim().to_owned();
    terminal.press(DOWN);
    terminal.press("p");
    terminal.wait_for_texts(&["Put dead letter"]);
    terminal.press("y");
    terminal.wait_for_texts(&[&format!("{place} was put back")]);
    // The task is still unknown, so the message becomes a dead letter again.
    let length = || redis.cli(&["XRANGE", "celery.dead", "-", "+"]).unwrap();
    wait_for(PATIENCE, "the letter's return", || {
        let letters = length();
        letters.contains("dead-one") && !letters.contains(&place)
    })
    .unwrap();

    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    // Nothing of the program stays in Redis. Workers that ask each other at their start may have
    // lists of their own for a moment.
    let left = || redis.cli(&["KEYS", "*reply.celery.pidbox*"]).unwrap();
    wait_for(PATIENCE, "an end of all reply lists", || {
        left().trim().is_empty()
    })
    .unwrap();
}

#[test]
fn failures_are_shown_as_they_happen_and_cannot_command_the_terminal() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let _ours = start(&mut playground(&redis, &[]));
    let terminal = {
        let mut terminal = Terminal::start(top(&redis));
        terminal.wait_for_line(&[OURS, " up "]);
        terminal.press("5");
        terminal
    };
    // The worker sends events once top has asked it to.
    wait_for(PATIENCE, "a failure on the screen", || {
        post(
            &redis,
            "celery",
            "bad-one",
            "proj.fail",
            "[\"\\u001b[2J gone\"]",
        );
        terminal.text().contains("bad-one")
    })
    .unwrap();
    terminal.wait_for_line(&["bad-one", "proj.fail", OURS, r"\x1b[2J gone"]);
}

/// A failed task is sent again from its result, once for each failure, if that says what the task
/// was. Python's results name a routing key.
#[test]
fn a_failed_task_is_sent_again() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let options = ["-E", "--max-tasks-per-child", "1", "-c", "1"];
    let mut plain = start(&mut playground(&redis, &options));
    let mut terminal = Terminal::start(top(&redis));
    terminal.wait_for_line(&[OURS, " up "]);
    terminal.press("5");
    post(&redis, "celery", "plain-one", "proj.fail", "[\"boom\"]");
    terminal.wait_for_line(&["plain-one", "proj.fail"]);
    plain.wait(PATIENCE).unwrap();
    terminal.press(DOWN);
    terminal.press("r");
    terminal.wait_for_texts(&["Send plain-one again"]);
    terminal.press("y");
    terminal.wait_for_texts(&["cannot be sent again", "result_extended"]);

    let mut extended = start(&mut playground(&redis, &["-E", "--result-extended"]));
    post(&redis, "celery", "other-one", "proj.fail", "[\"boom\"]");
    // The newest failure is the first row, which is selected.
    terminal.wait_for_line(&["other-one", "proj.fail"]);
    let ended = || redis.cli(&["GET", "celery-task-meta-other-one"]).unwrap();
    let before = ended();
    terminal.press("r");
    terminal.wait_for_texts(&["Send other-one again"]);
    terminal.press("y");
    terminal.wait_for_texts(&["other-one was sent to the queue celery again"]);
    wait_for(PATIENCE, "the second failure", || {
        let now = ended();
        now.contains("FAILURE") && now != before
    })
    .unwrap();

    // Like a result of Python whose task came to the queue `away` with another routing key. No worker
    // is left, so the message stays there.
    extended.stop();
    let mut result: serde_json::Value = serde_json::from_str(ended().trim()).unwrap();
    result["queue"] = "far".into();
    let set = ["SET", "celery-task-meta-other-one", &result.to_string()];
    redis.cli(&set).unwrap();
    terminal.press("ry");
    terminal.wait_for_texts(&["no queue is bound to its routing key far"]);
    let binding = "far\u{6}\u{16}\u{6}\u{16}away";
    redis.cli(&["SADD", "_kombu.binding.far", binding]).unwrap();
    terminal.press("ry");
    terminal.wait_for_texts(&["other-one was sent to the queue away again"]);
    assert!(ended().contains("RETRY"), "{}", ended());
    terminal.press("ry");
    terminal.wait_for_texts(&["other-one cannot be sent again: it is not failed any more"]);
    assert_eq!(redis.cli(&["LLEN", "away"]).unwrap().trim(), "1");
}

#[test]
fn without_a_terminal_everything_is_printed_once() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let _ours = start(&mut playground(&redis, &[]));
    let output = top(&redis)
        .args(["--once", "--no-enable-events"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 workers"), "{text}");
    assert!(
        text.lines()
            .any(|line| line.contains(OURS) && line.contains(" up ")),
        "{text}"
    );
    for title in [
        "Workers",
        "Queues",
        "Running",
        "Tasks",
        "Failures",
        "Dead letters",
    ] {
        assert!(text.lines().any(|line| line == title), "{title}: {text}");
    }

    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let output = nowhere
        .args(["top", "--once", "-b", "redis://:secret@127.0.0.1:1/0"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("127.0.0.1:1") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn the_documented_rights_are_enough() {
    let page = include_str!("../../../docs/reference/top.md");
    let (_, rights) = page.split_once("## Rights").unwrap();
    let rights = rights.split('`').skip(3).step_by(2).take(3);
    let rights: Vec<&str> = rights
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches('\''))
        .collect();
    assert!(
        rights.contains(&"+psubscribe") && rights.contains(&"+getrange"),
        "{rights:?}"
    );

    let redis = Redis::start(RedisOptions::default()).unwrap();
    let _ours = start(&mut playground(&redis, &["-E"]));
    post(&redis, "celery", "dead-one", "proj.unknown", "[]");
    let letters = || redis.cli(&["XLEN", "celery.dead"]).unwrap();
    wait_for(PATIENCE, "a dead letter", || letters().trim() == "1").unwrap();
    let mut user = vec!["ACL", "SETUSER", "watcher", "on", ">secret"];
    user.extend(worker_rights());
    user.extend(&rights);
    redis.cli(&user).unwrap();

    let mut command = top(&redis);
    let url = redis.url().replace("redis://", "redis://watcher:secret@");
    command.env("CELERY_BROKER_URL", url);
    let mut terminal = Terminal::start(command);
    terminal.wait_for_line(&[OURS, " up "]);
    terminal.press("6");
    terminal.wait_for_line(&["dead-one", "proj.unknown"]);
    terminal.press(DOWN);
    terminal.press("py");
    terminal.wait_for_texts(&["was put back"]);
    terminal.press("5");
    // The letter's task fails again, which only an event can tell.
    terminal.wait_for_line(&["dead-one", OURS]);
    terminal.press(DOWN);
    terminal.press("ry");
    terminal.wait_for_texts(&["dead-one cannot be sent again"]);
    assert!(!terminal.text().contains("Redis:"), "{}", terminal.text());
}
