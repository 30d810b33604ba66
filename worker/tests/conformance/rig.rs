//! A consumer under test, and the tasks that are sent to it.

use std::future::pending;
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

/// The longest wait for anything in these tests. It is generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A time that no test reaches.
pub const NEVER: Duration = Duration::from_hours(1);

/// Knows every task except those called `unknown`. Panics about those called `bug`, and later about
/// those called `bug later`. Failures of `stubborn` are retried once.
struct Names;

impl TaskNames for Names {
    fn knows(&self, name: &str) -> bool {
        assert!(name != "bug", "as the test wants it");
        name != "unknown"
    }

    fn retries(&self, task: &Task, _: &ExceptionDoc) -> Option<Retries> {
        (task.name == "stubborn").then_some(Retries {
            most: Some(1),
            delay: Duration::from_millis(50),
            backoff: None,
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

/// Returns a task to be sent, `proj.add(2, 3)`.
pub fn task(id: &str) -> Task {
    Task::new(id, "proj.add", json("[2,3]"), json("{}"))
}

/// Returns `count` tasks with the ids 0, 1, 2, …
pub fn tasks(count: usize) -> Vec<Task> {
    (0..count).map(|n| task(&n.to_string())).collect()
}

pub fn boom() -> ExceptionDoc {
    ExceptionDoc::new("ValueError", "boom", Some("builtins"))
}

/// Returns the outcome of a task that returned this JSON.
pub fn succeeded(value: &str) -> Outcome {
    Outcome::Succeeded {
        value: json(value),
        runtime: Duration::from_secs(1),
    }
}

/// Returns the outcome of a task that failed with a `ValueError('boom')`.
pub fn failed() -> Outcome {
    Outcome::Raised {
        exception: boom(),
        retryable: true,
    }
}

/// Returns the outcome of a task that rejected its message.
pub fn rejected(requeue: bool) -> Outcome {
    Outcome::Rejected {
        reason: "no".to_owned(),
        requeue,
    }
}

/// Returns a message for a queue; its delivery tag is made of the id.
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

    /// Returns the next delivery; `None` if no more will come.
    pub async fn next_or_end(&mut self) -> Option<Delivery> {
        tokio::time::timeout(DEADLINE, self.deliveries.recv())
            .await
            .expect("no delivery came")
    }

    /// Begins a delivery, and returns it. A broker may keep the count of redeliveries in the
    /// message. It then puts the message back with the new count, and this function begins the
    /// delivery that follows.
    pub async fn begin(&mut self, delivery: Delivery) -> Delivery {
        if let Some(begun) = self.settler.begin(delivery, pending()).await {
            return begun;
        }
        let again = self.next().await;
        let begun = self.settler.begin(again, pending()).await;
        begun.expect("the delivery does not begin")
    }

    /// Lets the next deliveries succeed, and returns their ids.
    pub async fn finish(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let delivery = self.next().await;
            ids.push(delivery.task.id.clone());
            self.settler.finish(delivery, succeeded("5"));
        }
        ids
    }

    /// Lets all deliveries succeed until `done` is ready.
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

    /// Stops as after SIGTERM, and gives back `count` deliveries that have not begun.
    pub async fn give_back(mut self, count: usize) {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(self.next().await);
        }
        self.shutdown.advance(Phase::Warm);
        for delivery in held.into_iter().rev() {
            self.settler.finish(delivery, Outcome::NotStarted);
        }
        // Deliveries that were under way still arrive.
        while let Some(delivery) = self.next_or_end().await {
            self.settler.finish(delivery, Outcome::NotStarted);
        }
        assert_eq!(self.consumer.close(DEADLINE).await, Left::default());
    }
}
