//! The interface through which the suite uses a broker and a result backend.

use std::fmt::Debug;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_worker::consumer::ConsumerOptions;
use serde_json::Value;

use crate::rig::{DEADLINE, Rig};

/// A private broker and its result backend, with access to both from outside. Both end when it is
/// dropped.
///
/// Methods that read or push retry while the server is away. To the broker, a dropped consumer must
/// look as if its process had been killed.
pub trait Broker: Sized {
    /// A message as this broker carries it.
    type Message: Clone;

    type Backend: Backend;

    /// The priority that is delivered before all others. First and last are opposite on Redis and
    /// on RabbitMQ: [Celery, Message
    /// Priorities](https://docs.celeryq.dev/en/stable/userguide/routing.html).
    const FIRST_PRIORITY: u8;
    /// The priority that is delivered last; see [`FIRST_PRIORITY`](Broker::FIRST_PRIORITY).
    const LAST_PRIORITY: u8;

    /// `true` if the broker sends messages for those that wait for their ETA, so that a worker may
    /// have more messages than it holds.
    const PREFETCHES: bool = false;

    /// Starts a broker that has no other user; a namespace of a server is enough.
    async fn start() -> Self;

    /// Starts a server that no other test uses, and that keeps accepted messages through a crash.
    async fn start_durable() -> Self;

    /// Returns the options of a consumer of its queue `celery`, with results in
    /// [`backend`](Broker::backend).
    fn options(&self) -> ConsumerOptions;

    /// Sets how long after a worker's death other workers get its messages, if the broker does not
    /// notice the death at once.
    fn rescue_after(options: &mut ConsumerOptions, time: Duration);

    /// Makes a consumer of this broker wait for messages without polling, if it polls by default.
    fn without_polling(options: &mut ConsumerOptions);

    fn message(task: &Task, options: &EncodeOptions<'_>) -> Self::Message;

    /// Returns a message whose headers name this id and `proj.add`, and whose body is missing.
    fn without_body(id: &str) -> Self::Message;

    /// Returns all malformed messages that this broker will carry, with those captured from Python
    /// Celery, and some of the expected dead letters. Each message becomes a dead letter, or has a
    /// meaning after all and is delivered.
    fn malformed() -> (Vec<Self::Message>, Vec<DeadLetter>);

    /// Pushes messages, the first to be delivered first. Returns when the broker has them; it
    /// declares the queue as the worker does.
    async fn push(&mut self, queue: &str, messages: &[Self::Message]);

    /// Returns the numbers of messages in a queue and with its consumers. Both are counted at the
    /// same moment, after this call began. If a broker does not count unacknowledged messages by
    /// queue, it returns those of all queues.
    async fn depth(&mut self, queue: &str) -> Depth;

    /// Returns the dead letters of all queues, oldest first. They stay where they are.
    async fn dead(&mut self) -> Vec<DeadLetter>;

    /// Returns how many messages wait for their ETA, with the consumer or in the broker.
    async fn waiting(&mut self, rig: &Rig) -> usize {
        rig.consumer.parked()
    }

    fn backend(&mut self) -> &mut Self::Backend;

    /// Closes the connections of all other clients.
    async fn cut_connections(&mut self);

    /// Ends the server at once, as SIGKILL does. This method and those below it need a server of
    /// [`start_durable`](Broker::start_durable).
    async fn crash(&mut self);

    /// Starts the server again at the same address.
    async fn restart(&mut self);

    /// Freezes the server: connections stay, and nothing answers.
    async fn freeze(&mut self);

    async fn thaw(&mut self);

    async fn until_depth(&mut self, queue: &str, ready: usize, unacknowledged: usize) {
        let wanted = Depth {
            ready,
            unacknowledged,
        };
        until(&format!("{queue}: {wanted:?}"), async || {
            let depth = self.depth(queue).await;
            (depth == wanted).then_some(()).ok_or(depth)
        })
        .await;
    }

    /// Waits until the queue `celery` is empty and everything is acknowledged.
    async fn until_clean(&mut self) {
        self.until_depth("celery", 0, 0).await;
    }

    /// Waits until this many messages wait for their ETA.
    async fn until_waiting(&mut self, rig: &Rig, count: usize) {
        until(&format!("{count} waiting"), async || {
            let waiting = self.waiting(rig).await;
            (waiting == count).then_some(()).ok_or(waiting)
        })
        .await;
    }

    async fn until_dead(&mut self, count: usize) {
        until(&format!("{count} dead letters"), async || {
            let dead = self.dead().await;
            (dead.len() == count).then_some(()).ok_or(dead)
        })
        .await;
    }

    /// Returns the stored result; `Null` if there is none.
    async fn result(&mut self, id: &str) -> Value {
        self.backend().stored_result(id).await
    }

    async fn until_status(&mut self, id: &str, status: &str) {
        until(&format!("{id}: {status}"), async || {
            let stored = self.result(id).await;
            (stored["status"] == status).then_some(()).ok_or(stored)
        })
        .await;
    }
}

/// A broker that other processes reach.
pub trait Reachable: Broker {
    /// Returns its address, as the worker's `--broker` takes it.
    fn url(&self) -> String;
}

/// The store of results and chords.
pub trait Backend {
    /// Returns the stored result; `Null` if there is none.
    async fn stored_result(&mut self, id: &str) -> Value;

    /// Returns how many results are stored.
    async fn stored_results(&mut self) -> usize;

    /// Begins a chord whose header has `size` members, as Python's backend does.
    async fn begin_chord(&mut self, group: &str, size: usize);

    /// Returns how many chords have begun and not ended.
    async fn open_chords(&mut self) -> usize;
}

/// The number of messages of a queue that wait for a consumer, and of those that have one:
/// RabbitMQ's `messages_ready` and `messages_unacknowledged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub ready: usize,
    pub unacknowledged: usize,
}

/// The fields of a dead letter. `id` and `task` are empty if the message had none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    pub queue: String,
    pub id: String,
    pub task: String,
    pub cause: String,
}

impl DeadLetter {
    /// Returns a dead letter of the queue `celery`.
    pub fn of(id: &str, task: &str, cause: &str) -> Self {
        let [id, task, cause] = [id, task, cause].map(str::to_owned);
        DeadLetter {
            queue: "celery".into(),
            id,
            task,
            cause,
        }
    }
}

/// Waits until `look` returns `Ok`.
pub async fn until<T: Debug>(wanted: &str, mut look: impl AsyncFnMut() -> Result<(), T>) {
    let mut last = None;
    let waiting = async {
        while let Err(seen) = look().await {
            last = Some(seen);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, waiting).await.is_ok(),
        "waited for {wanted}; there is still {last:?}"
    );
}
