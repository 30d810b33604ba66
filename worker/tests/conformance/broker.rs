//! What the suite asks of a broker and of a result backend.

use std::fmt::Debug;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_worker::consumer::ConsumerOptions;
use serde_json::Value;

use crate::rig::DEADLINE;

/// A private broker, the result backend that belongs to it, and a hand to look into both. Dropped, they are gone.
///
/// What looks, and what pushes, is tried again while the server is away. A consumer that is dropped must be to the broker as
/// if its process had been killed.
pub trait Broker: Sized {
    /// A message as this broker carries it.
    type Message: Clone;

    type Backend: Backend;

    /// The priority that is delivered before all others, and the one that is delivered last. They are opposite on Redis and
    /// on RabbitMQ: [Celery, Message Priorities](https://docs.celeryq.dev/en/stable/userguide/routing.html).
    const FIRST_PRIORITY: u8;
    /// See [`FIRST_PRIORITY`](Broker::FIRST_PRIORITY).
    const LAST_PRIORITY: u8;

    /// One that has no other user: a namespace of a server is enough.
    async fn start() -> Self;

    /// A server of its own, which keeps what it has accepted through a crash.
    async fn start_durable() -> Self;

    /// Its address, as the worker's `--broker` takes it.
    fn url(&self) -> String;

    /// A consumer of its queue `celery`, with results in [`backend`](Broker::backend).
    fn options(&self) -> ConsumerOptions;

    /// Has others get what a dead worker held about this long after its death, if a broker does not notice at once.
    fn rescue_after(options: &mut ConsumerOptions, time: Duration);

    /// Forbids a consumer to look for messages by a clock, if it does.
    fn without_polling(options: &mut ConsumerOptions);

    fn message(task: &Task, options: &EncodeOptions<'_>) -> Self::Message;

    /// One whose headers name this id and `proj.add`, and whose body is missing.
    fn without_body(id: &str) -> Self::Message;

    /// Everything malformed that this broker will carry, those captured from Python Celery among them: each is a dead
    /// letter, or has a meaning after all and is delivered. And letters that must be among theirs.
    fn malformed() -> (Vec<Self::Message>, Vec<DeadLetter>);

    /// The first is delivered first. Returns when the broker has them; it declares the queue as the worker does.
    async fn push(&mut self, queue: &str, messages: &[Self::Message]);

    /// What is in a queue and with its consumers, read at one moment and not before this call. Where unacknowledged messages
    /// are not counted by queue, those of all queues.
    async fn depth(&mut self, queue: &str) -> Depth;

    /// The dead letters of all queues, oldest first. They stay where they are.
    async fn dead(&mut self) -> Vec<DeadLetter>;

    fn backend(&mut self) -> &mut Self::Backend;

    /// Closes the connections of all others.
    async fn cut_connections(&mut self);

    /// Ends the server at once, as SIGKILL does. This and what follows: a server of its own only.
    async fn crash(&mut self);

    /// Brings it back at the same address.
    async fn restart(&mut self);

    /// Connections stay, and nothing answers.
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

    async fn until_dead(&mut self, count: usize) {
        until(&format!("{count} dead letters"), async || {
            let dead = self.dead().await;
            (dead.len() == count).then_some(()).ok_or(dead)
        })
        .await;
    }

    /// The stored result, `Null` if there is none.
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

/// Where results are, and chords.
pub trait Backend {
    /// The stored result, `Null` if there is none.
    async fn stored_result(&mut self, id: &str) -> Value;

    /// How many results are stored.
    async fn stored_results(&mut self) -> usize;

    /// As Python's backend begins a chord whose header has `size` members.
    async fn begin_chord(&mut self, group: &str, size: usize);

    /// How many chords have begun and not ended.
    async fn open_chords(&mut self) -> usize;
}

/// How many messages of a queue wait for a consumer, and how many have one: RabbitMQ's `messages_ready` and
/// `messages_unacknowledged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub ready: usize,
    pub unacknowledged: usize,
}

/// What a dead letter says. `id` and `task` are empty where the message did not tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    pub queue: String,
    pub id: String,
    pub task: String,
    pub cause: String,
}

impl DeadLetter {
    /// One out of the queue `celery`.
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

/// Looks until there is nothing in the way any more.
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
