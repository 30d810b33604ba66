//! The order in which calls begin.

use super::*;

/// Tasks of each kind: they run in the lane, on the runtime of tasks, on a thread for blocking code,
/// and on the worker's own runtime.
const KINDS: [&str; 4] = ["short", "waits", "computes", "limited"];

/// Returns the tasks [`KINDS`].
fn kinds() -> Vec<TaskDef> {
    let limited = TaskDef::function("limited", |_| async { answer(()) });
    vec![
        TaskDef::function("short", |_| async { answer(()) }),
        TaskDef::function("waits", |_| async {
            tokio::task::yield_now().await;
            answer(())
        }),
        TaskDef::blocking("computes", |_| answer(())),
        limited.time_limit(Duration::from_mins(5)),
    ]
}

impl Bench {
    /// Sends calls of all kinds, numbered from `first`, and returns their arguments.
    async fn send_kinds(&mut self, first: usize, count: usize) -> Vec<String> {
        let mut sent = Vec::new();
        for number in first..first + count {
            // The kind changes with each call, and so do its neighbours.
            let kind = KINDS[(number + number / KINDS.len()) % KINDS.len()];
            sent.push(format!("[{number}]"));
            self.send(kind, &sent[sent.len() - 1], 0).await;
        }
        sent
    }

    /// Returns the arguments of the next calls that end.
    async fn next_ended(&mut self, count: usize) -> Vec<String> {
        let mut ended = Vec::new();
        for _ in 0..count {
            ended.push(self.outcome().await.0);
        }
        ended
    }
}

#[tokio::test]
async fn calls_begin_in_the_order_of_their_arrival_whichever_thread_runs_them() {
    let apart = Apart::start(2);
    // With one slot, calls end in the order in which they begin.
    let mut bench = Bench::with(1, kinds(), |stage| stage.tasks = apart.handle());
    for first in (0..400).step_by(40) {
        let sent = bench.send_kinds(first, 40).await;
        assert_eq!(bench.next_ended(40).await, sent);
    }
}

#[tokio::test]
async fn calls_behind_one_that_keeps_the_lane_begin_in_the_order_of_their_arrival() {
    let apart = Apart::start(2);
    let (spins, mut spin) = spinning();
    let mut tasks = kinds();
    tasks.push(spins);
    let mut bench = Bench::with(2, tasks, |stage| stage.tasks = apart.handle());
    bench.send("spins", "[]", 0).await;
    spin.begun.recv().await.unwrap();
    // The other slot is free.
    for first in [0, 40] {
        let sent = bench.send_kinds(first, 40).await;
        assert_eq!(bench.next_ended(40).await, sent);
    }
    drop(spin.release);
    assert_eq!(bench.outcome().await.1, "success \"released\"");
}
