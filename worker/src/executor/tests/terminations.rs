//! Tests of tasks that remote control terminates.

use std::sync::{Mutex, OnceLock};

use tokio::sync::{Notify, Semaphore};

use super::*;

const TERMINATED: &str = "Terminated { signal: 15 }";

/// The arguments of the calls of a batch.
const CALLS: [u32; 4] = [1, 2, 3, 4];

fn batch<F, Fut>(run: F) -> TaskDef
where
    F: Fn(Vec<u32>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    let options = BatchOptions {
        size: CALLS.len(),
        linger: Duration::from_mins(1),
    };
    TaskDef::batched("b", "b", options, move |calls: Batch<(u32,)>| {
        let numbers: Vec<u32> = calls.iter().map(|call| call.0).collect();
        let running = run(numbers.clone());
        async move {
            running.await?;
            Ok(numbers.into_iter().map(Ok).collect::<Answers<u32>>())
        }
    })
}

impl Bench {
    /// Sends the calls of a batch, and returns the id of this one.
    async fn send_batch(&mut self, chosen: u32) -> String {
        let mut ids = Vec::new();
        for call in CALLS {
            let id = self.send_held("b", &format!("[{call}]")).await;
            ids.extend((call == chosen).then_some(id));
        }
        ids.remove(0)
    }

    fn terminate(&self, id: &str) {
        assert_eq!(self.ledger.terminate(&[id], 15), [id]);
    }

    /// Checks that this call of the batch is terminated, and that all others succeed.
    async fn check_batch(&mut self, chosen: u32) {
        for _ in CALLS {
            let (args, outcome) = self.outcome().await;
            if args == format!("[{chosen}]") {
                assert_eq!(outcome, TERMINATED, "{args}");
            } else {
                assert_eq!(format!("[{}]", outcome.replace("success ", "")), args);
            }
        }
    }
}

#[tokio::test]
async fn a_call_terminated_while_its_batch_runs_does_not_end_the_others() {
    for chosen in CALLS {
        let (begun, mut begin) = mpsc::unbounded_channel();
        let go = Arc::new(Notify::new());
        let going = Arc::clone(&go);
        let task = batch(move |calls| {
            let (begun, going) = (begun.clone(), Arc::clone(&going));
            async move {
                if calls.len() < CALLS.len() {
                    return Ok(());
                }
                let _ = begun.send(());
                going.notified().await;
                Err(Exception::new("IntegrityError", "some call").into())
            }
        });
        let mut bench = Bench::new(1, vec![task]);
        let id = bench.send_batch(chosen).await;
        begin.recv().await.unwrap();
        bench.terminate(&id);
        go.notify_one();
        bench.check_batch(chosen).await;
    }
}

#[tokio::test]
async fn a_call_of_a_halved_batch_terminated_alone_does_not_end_the_others() {
    for chosen in CALLS {
        let (begun, mut begin) = mpsc::unbounded_channel();
        let task = batch(move |calls| {
            let begun = begun.clone();
            async move {
                if calls == [chosen] {
                    let _ = begun.send(());
                    std::future::pending::<()>().await;
                }
                if calls.len() > 1 {
                    return Err(Exception::new("IntegrityError", "some call").into());
                }
                Ok(())
            }
        });
        let mut bench = Bench::new(1, vec![task]);
        let id = bench.send_batch(chosen).await;
        begin.recv().await.unwrap();
        bench.terminate(&id);
        bench.check_batch(chosen).await;
    }
}

#[tokio::test]
async fn a_terminated_blocking_task_costs_neither_a_slot_nor_a_core() {
    for (limit, computes_on) in [
        (None, true),
        (None, false),
        (Some(Duration::from_hours(1)), true),
        (Some(Duration::from_hours(1)), false),
    ] {
        let (begun, mut begin) = mpsc::unbounded_channel();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let mut task = TaskDef::blocking("computes", move |_| {
            let _ = begun.send(());
            let _ = gate.lock().map(|gate| gate.recv());
            answer(42)
        });
        if let Some(limit) = limit {
            task = task.time_limit(limit);
        }
        let next = TaskDef::blocking("next", |_| answer("next"));
        // One slot and one core: the next task needs both.
        let mut bench = Bench::with(1, vec![task, next], |stage| {
            stage.cores = Arc::new(Semaphore::new(1));
            if computes_on {
                stage.stuck_after = Duration::from_millis(1);
            }
        });
        let id = bench.send_held("computes", "[]").await;
        begin.recv().await.unwrap();
        bench.terminate(&id);
        // The executor hears of it before the code returns.
        tokio::task::yield_now().await;
        if !computes_on {
            release.send(()).unwrap();
        }
        assert_eq!(bench.outcome().await.1, TERMINATED);
        bench.send("next", "[]", 0).await;
        assert_eq!(bench.outcome().await.1, "success \"next\"");
        bench.shutdown.advance(Phase::Warm);
        assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
        drop(release);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_task_that_never_yields_is_stuck_but_terminated() {
    // Dropped with the test, so that the task can end.
    let (_release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (begun, mut begin) = mpsc::unbounded_channel();
    let task = TaskDef::function("t", move |_| {
        let (begun, released) = (begun.clone(), Arc::clone(&released));
        async move {
            let _ = begun.send(());
            let _ = released.lock().unwrap().recv();
            answer(())
        }
    });
    let tasks = vec![task.time_limit(Duration::from_hours(1))];
    let mut bench = Bench::with(4, tasks, |stage| {
        stage.stuck_after = Duration::from_millis(1);
    });
    let id = bench.send_held("t", "[]").await;
    begin.recv().await.unwrap();
    bench.terminate(&id);
    assert_eq!(bench.outcome().await.1, TERMINATED);
    assert_eq!(bench.ended.await.unwrap(), Ended::Stuck { tasks: 1 });
}

/// Ends a task by its id while its code runs, as soon as the ledger is known.
fn terminating(ledger: &Arc<OnceLock<Arc<Ledger>>>, id: &str) -> TaskError {
    if let Some(ledger) = ledger.get() {
        ledger.terminate(&[id], 15);
    }
    TaskError::Unavailable {
        cause: "gone".into(),
    }
}

#[tokio::test]
async fn a_task_terminated_while_its_database_is_away_does_not_begin_again() {
    let ledger = Arc::new(OnceLock::new());
    let found = Arc::clone(&ledger);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let task = TaskDef::function("t", move |_| {
        let again = counted.fetch_add(1, Ordering::Relaxed) > 0;
        let ended = if again {
            answer("ran again")
        } else {
            Err(terminating(&found, "id-1"))
        };
        std::future::ready(ended)
    });
    let mut bench = Bench::new(1, vec![task]);
    let _ = ledger.set(Arc::clone(&bench.ledger));
    bench.send_held("t", "[]").await;
    assert_eq!(bench.outcome().await.1, TERMINATED);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_call_terminated_while_the_database_of_its_batch_is_away_does_not_begin_again() {
    for chosen in CALLS {
        let ledger = Arc::new(OnceLock::new());
        let found = Arc::clone(&ledger);
        let task = batch(move |calls| {
            let ended = if calls.len() == CALLS.len() {
                Err(terminating(&found, &format!("id-{chosen}")))
            } else {
                Ok(())
            };
            std::future::ready(ended)
        });
        let mut bench = Bench::new(1, vec![task]);
        let _ = ledger.set(Arc::clone(&bench.ledger));
        bench.send_batch(chosen).await;
        bench.check_batch(chosen).await;
    }
}

#[tokio::test]
async fn a_blocking_task_terminated_while_it_waits_for_a_core_does_not_begin() {
    let (begun, mut begin) = mpsc::unbounded_channel();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let task = TaskDef::blocking("computes", move |_| {
        let _ = begun.send(());
        let _ = gate.lock().map(|gate| gate.recv());
        answer(42)
    });
    let mut bench = Bench::with(2, vec![task], |stage| {
        stage.cores = Arc::new(Semaphore::new(1));
    });
    bench.send_held("computes", "[1]").await;
    begin.recv().await.unwrap();
    let waiting = bench.send_held("computes", "[2]").await;
    let both_have_slots = async {
        while bench
            .ledger
            .in_hand()
            .iter()
            .any(|held| held.began.is_none())
        {
            tokio::task::yield_now().await;
        }
    };
    let deadline = Duration::from_secs(30);
    tokio::time::timeout(deadline, both_have_slots)
        .await
        .unwrap();
    bench.terminate(&waiting);
    drop(release);
    let mut ended = [bench.outcome().await, bench.outcome().await];
    ended.sort_unstable();
    let expected = [("[1]", "success 42"), ("[2]", TERMINATED)];
    assert_eq!(
        ended,
        expected.map(|(args, outcome)| (args.to_owned(), outcome.to_owned()))
    );
    assert!(begin.try_recv().is_err());
}
