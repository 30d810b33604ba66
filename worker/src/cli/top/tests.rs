//! The fleet as events and answers describe it, and the screen with it.

use std::time::{Duration, Instant};

use celery_protocol::events::{Message, Received, decode_redis};
use celery_protocol::events::{Sender, TASK_MULTI};
use celery_protocol::message::DecodeOptions;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::fleet::{DeadLetter, Fleet, State};
use super::screen::{Screen, Wish};
use super::tables::Page;

fn event(value: &Value) -> Received {
    let sender = Sender {
        hostname: "unused".to_owned(),
        pid: 1,
        utcoffset: 0.0,
    };
    assert_eq!(TASK_MULTI, "task.multi");
    let raw = Message::multi(value.to_string().into(), &sender).encode_redis("a");
    decode_redis(&raw, &DecodeOptions::default())
        .unwrap()
        .remove(0)
}

fn heard(fleet: &mut Fleet, now: Instant, kind: &str, more: Value) {
    let mut value = json!({"type": kind, "hostname": "celery@a", "timestamp": 100.0});
    let members = value.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    fleet.hear(&event(&value), now);
}

#[test]
fn a_task_is_followed_from_its_start_to_its_failure() {
    let (mut fleet, now) = (Fleet::default(), Instant::now());
    heard(
        &mut fleet,
        now,
        "task-received",
        json!({"uuid": "1", "name": "proj.add"}),
    );
    heard(&mut fleet, now, "task-started", json!({"uuid": "1"}));
    assert_eq!(fleet.running["1"].name, "proj.add");
    assert_eq!(fleet.running["1"].began, Some(100.0));
    heard(
        &mut fleet,
        now,
        "task-failed",
        json!({"uuid": "1", "exception": "KeyError(1)"}),
    );
    assert!(fleet.running.is_empty());
    assert_eq!(fleet.failures[0].name, "proj.add");
    assert_eq!(fleet.failures[0].exception, "KeyError(1)");
    heard(
        &mut fleet,
        now,
        "task-received",
        json!({"uuid": "2", "name": "proj.add"}),
    );
    heard(
        &mut fleet,
        now,
        "task-succeeded",
        json!({"uuid": "2", "runtime": 0.5}),
    );
    let counts = &fleet.tasks["proj.add"];
    assert_eq!(
        (counts.received, counts.succeeded, counts.failed),
        (2, 1, 1)
    );
    let table = Page::Tasks.table(&fleet, now, 100.0);
    assert_eq!(
        table.rows,
        [["proj.add", "2", "1", "1", "0", "0", "0.500 s"]]
    );
}

#[test]
fn a_worker_stops_or_falls_silent() {
    let (mut fleet, now) = (Fleet::default(), Instant::now());
    heard(
        &mut fleet,
        now,
        "worker-online",
        json!({"sw_ident": "py-celery", "sw_ver": "5.7"}),
    );
    assert_eq!(fleet.workers["celery@a"].software, "py-celery 5.7");
    assert_eq!(fleet.workers["celery@a"].state(now), State::Up);
    let later = now + Duration::from_secs(16);
    assert_eq!(fleet.workers["celery@a"].state(later), State::Silent);
    heard(&mut fleet, now, "worker-offline", json!({}));
    assert_eq!(fleet.workers["celery@a"].state(now), State::Stopped);
    heard(&mut fleet, now, "worker-heartbeat", json!({}));
    assert_eq!(fleet.workers["celery@a"].state(now), State::Up);
    fleet.forget(now + Duration::from_mins(3));
    assert!(fleet.workers.is_empty());
}

#[test]
fn the_rate_comes_from_two_answers_and_survives_a_restart() {
    let (mut fleet, now) = (Fleet::default(), Instant::now());
    let stats = |total: u64| json!({"total": {"a": total, "b": 1}, "pool": {"max-concurrency": 4}});
    fleet.answered("celery@a", "stats", &stats(10), now);
    let later = now + Duration::from_secs(2);
    fleet.answered("celery@a", "stats", &stats(30), later);
    assert_eq!(format!("{:.1}", fleet.rate(later)), "10.0");
    assert_eq!(fleet.workers["celery@a"].slots, Some(4));
    let later = later + Duration::from_secs(2);
    fleet.answered("celery@a", "stats", &stats(3), later);
    assert_eq!(format!("{:.1}", fleet.rate(later)), "0.0");
}

#[test]
fn answers_of_any_shape_do_no_harm() {
    let (mut fleet, now) = (Fleet::default(), Instant::now());
    let shapes = [
        json!(null),
        json!(7),
        json!("text"),
        json!([]),
        json!([null, 7, {}, {"id": 7}]),
        json!({"total": 7, "pool": []}),
        json!({"total": {"a": -1, "b": "x"}, "pool": {"max-concurrency": null}}),
        json!({"error": "not here"}),
    ];
    for command in ["stats", "active", "active_queues", "unknown"] {
        for answer in &shapes {
            fleet.answered("celery@a", command, answer, now);
        }
    }
    for kind in [
        "task-started",
        "task-failed",
        "worker-heartbeat",
        "task-",
        "x",
    ] {
        heard(
            &mut fleet,
            now,
            kind,
            json!({"uuid": 7, "loadavg": {}, "timestamp": "x"}),
        );
    }
    for page in Page::ALL {
        page.table(&fleet, now, 0.0);
    }
}

fn press(screen: &mut Screen, fleet: &Fleet, code: KeyCode) -> Option<Wish> {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE), fleet)
}

fn drawn(screen: &mut Screen, fleet: &Fleet) -> String {
    let mut terminal = Terminal::new(TestBackend::new(100, 12)).unwrap();
    terminal
        .draw(|frame| screen.draw(frame, fleet, "redis://localhost/0", 100.0))
        .unwrap();
    terminal.backend().to_string()
}

#[test]
fn only_the_selected_row_of_its_page_is_acted_on_and_only_after_a_yes() {
    let mut fleet = Fleet::default();
    fleet.letters.push(DeadLetter {
        place: "1-0".to_owned(),
        queue: "celery".to_owned(),
        id: "an-id".to_owned(),
        task: "proj.\u{1b}add".to_owned(),
        cause: "unknown".to_owned(),
    });
    let mut screen = Screen::default();
    assert_eq!(press(&mut screen, &fleet, KeyCode::Char('p')), None);
    assert!(drawn(&mut screen, &fleet).contains("Select a dead letter first"));
    press(&mut screen, &fleet, KeyCode::Char('6'));
    press(&mut screen, &fleet, KeyCode::Down);
    let text = drawn(&mut screen, &fleet);
    assert!(text.contains(r"proj.\u{1b}add"), "{text}");
    for (answer, wish) in [
        ('n', None),
        ('Y', None),
        ('q', None),
        ('y', Some(Wish::Replay("1-0".to_owned()))),
    ] {
        assert_eq!(press(&mut screen, &fleet, KeyCode::Char('p')), None);
        assert!(drawn(&mut screen, &fleet).contains("Put dead letter 1-0 back"));
        assert_eq!(press(&mut screen, &fleet, KeyCode::Char(answer)), wish);
    }
    // A failure is chosen on its own page only.
    assert_eq!(press(&mut screen, &fleet, KeyCode::Char('r')), None);
    assert!(drawn(&mut screen, &fleet).contains("Select a failure first"));
    heard(
        &mut fleet,
        Instant::now(),
        "task-failed",
        json!({"uuid": "failed-id", "exception": "KeyError(1)"}),
    );
    press(&mut screen, &fleet, KeyCode::Char('5'));
    press(&mut screen, &fleet, KeyCode::Down);
    press(&mut screen, &fleet, KeyCode::Char('r'));
    assert!(drawn(&mut screen, &fleet).contains("Send failed-id again"));
    let wish = Some(Wish::Retry("failed-id".to_owned()));
    assert_eq!(press(&mut screen, &fleet, KeyCode::Char('y')), wish);
    // This page has no running tasks.
    assert_eq!(press(&mut screen, &fleet, KeyCode::Char('x')), None);
    assert_eq!(press(&mut screen, &fleet, KeyCode::Char('y')), None);
    assert_eq!(
        press(&mut screen, &fleet, KeyCode::Char('q')),
        Some(Wish::Quit)
    );
}
