//! Tests of the gate: the test answers in place of the broker.

use tokio::sync::Notify;

use super::*;
use crate::broker::admission::{Answer, Request};

/// How long a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_hours(1);

/// An executor whose limited tasks ask here.
struct Gated {
    bench: Bench,
    requests: mpsc::Receiver<Request>,
}

impl Gated {
    fn new(concurrency: usize, tasks: Vec<TaskDef>) -> Self {
        let (admission, requests) = mpsc::channel(16);
        let bench = Bench::with(concurrency, tasks, |stage| {
            stage.admission = Some(admission);
        });
        Gated { bench, requests }
    }

    /// Waits for a request, and answers each of its calls. Returns the numbers of the calls.
    async fn answer(&mut self, answer: impl Fn(u64) -> Answer) -> Vec<u64> {
        loop {
            let request = tokio::time::timeout(PATIENCE, self.requests.recv());
            match request.await.expect("a request in time").expect("a gate") {
                Request::Tend { .. } => {}
                Request::Ask(asks, answers) => {
                    let calls: Vec<u64> = asks.iter().map(|ask| ask.tag.index).collect();
                    let all = calls.iter().map(|call| answer(*call)).collect();
                    answers.send(all).unwrap();
                    return calls;
                }
            }
        }
    }

    /// Sends a call whose message is held, with one argument.
    async fn send(&mut self, name: &str, argument: u64) {
        self.bench.send_held(name, &format!("[{argument}]")).await;
    }
}

/// A task with a limit for each value of its first argument.
fn limited() -> TaskDef {
    TaskDef::function("limited", |_| async { answer(()) })
        .max_concurrency(2)
        .limit_by("0")
}

#[tokio::test]
async fn calls_begin_in_their_order_and_those_without_a_place_ask_again() {
    let mut gated = Gated::new(10, vec![limited()]);
    for _ in 0..3 {
        gated.send("limited", 7).await;
    }
    let mut asked = Vec::new();
    // The third call finds no place twice.
    for round in 0.. {
        let calls = gated
            .answer(|call| match call {
                3 if round < 3 => Answer::Full,
                _ => Answer::Begins,
            })
            .await;
        let ends = calls.contains(&3) && round >= 3;
        asked.extend(calls);
        if ends {
            break;
        }
    }
    assert_eq!(
        asked.iter().filter(|call| **call < 3).count(),
        2,
        "{asked:?}"
    );
    assert!(
        asked.iter().filter(|call| **call == 3).count() > 1,
        "{asked:?}"
    );
    for _ in 0..3 {
        assert!(gated.bench.outcome().await.1.starts_with("success"));
    }
}

#[tokio::test]
async fn a_group_without_a_place_keeps_no_other_group_away() {
    let mut gated = Gated::new(10, vec![limited()]);
    gated.send("limited", 7).await;
    while gated.answer(|_| Answer::Full).await != [1] {}
    gated.send("limited", 8).await;
    loop {
        let calls = gated
            .answer(|call| match call {
                1 => Answer::Full,
                _ => Answer::Begins,
            })
            .await;
        if calls.contains(&2) {
            break;
        }
    }
    assert_eq!(gated.bench.outcome().await.0, "[8]");
}

#[tokio::test]
async fn a_worker_without_a_free_slot_does_not_ask() {
    let (began, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (Arc::clone(&began), Arc::clone(&end));
    let busy = TaskDef::function("busy", move |_| {
        let (begins, ends) = (Arc::clone(&begins), Arc::clone(&ends));
        async move {
            begins.notify_one();
            ends.notified().await;
            answer(())
        }
    });
    let mut gated = Gated::new(1, vec![busy, limited()]);
    gated.bench.send("busy", "[]", 0).await;
    began.notified().await;
    gated.send("limited", 7).await;
    // The gate has the call, and every other task of this thread has had its turn.
    while gated.bench.ledger.waiting_count() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(gated.requests.try_recv().is_err());
    end.notify_one();
    assert_eq!(gated.bench.outcome().await.0, "[]");
    assert_eq!(gated.answer(|_| Answer::Begins).await, [2]);
    assert_eq!(gated.bench.outcome().await.0, "[7]");
}

#[tokio::test]
async fn lost_calls_do_not_run_and_a_stop_gives_back_those_that_wait() {
    let mut gated = Gated::new(10, vec![limited()]);
    gated.send("limited", 1).await;
    assert_eq!(gated.answer(|_| Answer::Lost).await, [1]);
    assert_eq!(
        gated.bench.outcome().await,
        ("[1]".into(), "NotStarted".into())
    );
    gated.send("limited", 2).await;
    assert_eq!(gated.answer(|_| Answer::Early(LONG)).await, [2]);
    gated.send("limited", 3).await;
    // This request is not answered before the worker drains.
    let request = gated.requests.recv().await;
    assert!(matches!(request, Some(Request::Ask(..))), "{request:?}");
    gated.bench.shutdown.advance(Phase::Draining);
    let mut back = [gated.bench.outcome().await, gated.bench.outcome().await];
    back.sort();
    let not_started = |args: &str| (args.to_owned(), "NotStarted".to_owned());
    assert_eq!(back, [not_started("[2]"), not_started("[3]")]);
    gated.send("limited", 4).await;
    assert_eq!(gated.bench.outcome().await, not_started("[4]"));
    gated.bench.shutdown.advance(Phase::Warm);
    assert_eq!(gated.bench.ended.await.unwrap(), Ended::Asked);
    assert_eq!(gated.bench.ledger.waiting_count(), 0);
}

#[tokio::test]
async fn revoked_calls_ask_for_nothing() {
    let mut gated = Gated::new(10, vec![limited()]);
    gated.bench.ledger.revoked.add(["id-1"], Instant::now());
    gated.send("limited", 1).await;
    assert_eq!(gated.bench.outcome().await.1, "Revoked");
    assert!(gated.requests.try_recv().is_err());
}
