//! A consumer under test, and what is sent to it.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::result::ExceptionDoc;
use celery_worker::consumer::{Consumer, ConsumerOptions, Left};
use celery_worker::delivery::{Delivery, Outcome, Retries, Settler, TaskNames};
use celery_worker::{Phase, Shutdown};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::broker::Broker;

/// Everything here happens within this or has failed. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Longer than any test.
pub const NEVER: Duration = Duration::from_hours(1);

/// Knows every task but those called `unknown`, has a bug about those called `bug`, and a later one about `bug later`.
/// Failures of `stubborn` are run again once.
struct Names;

impl TaskNames for Names {
    fn knows(&self, name: &str) -> bool {
        assert!(name != "bug", "as the test wants it");
        name != "unknown"
    }

    fn retries(&self, name: &str) -> Option<Retries> {
        (name == "stubborn").then_some(Retries {
            most: 1,
            delay: Duration::from_millis(50),
        })
    }

    fn ignores_result(&self, name: &str) -> bool {
        assert!(name != "bug later", "as the test wants it");
        name == "silent"
    }
}

pub fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A task to be sent, `proj.add(2, 3)`.
pub fn task(id: &str) -> Task {
    Task::new(id, "proj.add", json("[2,3]"), json("{}"))
}

/// So many of them, with the ids 0, 1, 2, …
pub fn tasks(count: usize) -> Vec<Task> {
    (0..count).map(|n| task(&n.to_string())).collect()
}

pub fn boom() -> ExceptionDoc {
    ExceptionDoc::new("ValueError", "boom", Some("builtins"))
}

/// The task returned this JSON.
pub fn succeeded(value: &str) -> Outcome {
    Outcome::Succeeded {
        value: json(value),
        runtime: Duration::from_secs(1),
    }
}

/// The task failed with a `ValueError('boom')`.
pub fn failed() -> Outcome {
    Outcome::Raised {
        exception: boom(),
        retryable: true,
    }
}

/// The task refused its message.
pub fn rejected(requeue: bool) -> Outcome {
    Outcome::Rejected {
        reason: "no".to_owned(),
        requeue,
    }
}

/// A message for a queue; its delivery tag is made of the id.
pub fn message<B: Broker>(task: &Task, queue: &str) -> B::Message {
    B::message(
        task,
        &EncodeOptions::new(queue, &format!("tag-{}", task.id)),
    )
}

/// Sends tasks to a queue, the first one first.
pub async fn post<B: Broker>(broker: &mut B, queue: &str, tasks: &[Task]) {
    let messages: Vec<_> = tasks.iter().map(|task| message::<B>(task, queue)).collect();
    broker.push(queue, &messages).await;
}

pub struct Rig {
    pub consumer: Consumer,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub settler: Settler,
    pub shutdown: Shutdown,
}

impl Rig {
    pub fn start(options: ConsumerOptions) -> Rig {
        let shutdown = Shutdown::new();
        let (consumer, deliveries, settler) = Consumer::start(options, Arc::new(Names), &shutdown);
        Rig {
            consumer,
            deliveries,
            settler,
            shutdown,
        }
    }

    pub async fn next(&mut self) -> Delivery {
        let delivery = self.next_or_end().await;
        delivery.expect("the deliveries have ended")
    }

    /// None if no more will come.
    pub async fn next_or_end(&mut self) -> Option<Delivery> {
        tokio::time::timeout(DEADLINE, self.deliveries.recv())
            .await
            .expect("no delivery came")
    }

    /// The ids of the next deliveries, all of which succeed.
    pub async fn finish(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let delivery = self.next().await;
            ids.push(delivery.task.id.clone());
            self.settler.finish(delivery, succeeded("5"));
        }
        ids
    }

    /// Succeeds with everything that comes until something else is done.
    pub async fn work_until(&mut self, done: impl Future<Output = ()>) {
        let work = async {
            while let Some(delivery) = self.deliveries.recv().await {
                self.settler.finish(delivery, succeeded("5"));
            }
        };
        tokio::select! {
            () = work => panic!("the deliveries have ended"),
            () = done => {}
        }
    }

    /// Stops as told by SIGTERM, giving back this many deliveries unbegun.
    pub async fn give_back(mut self, count: usize) {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(self.next().await);
        }
        self.shutdown.advance(Phase::Warm);
        for delivery in held.into_iter().rev() {
            self.settler.finish(delivery, Outcome::NotStarted);
        }
        // What was on its way comes, too.
        while let Some(delivery) = self.next_or_end().await {
            self.settler.finish(delivery, Outcome::NotStarted);
        }
        assert_eq!(self.consumer.close(DEADLINE).await, Left::default());
    }
}
