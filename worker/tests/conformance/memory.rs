//! The harness of the broker in memory. It shows that the consumer needs nothing that only Redis
//! has. It has no process, so the suite's words for outages mean its connections: a crash refuses
//! them, a freeze leaves them unanswered.

use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_worker::consumer::ConsumerOptions;
use celery_worker::consumer::memory::Server;
use serde_json::Value;

use crate::broker::{Backend, Broker, DeadLetter, Depth};
use crate::redis::Redis;
use crate::rig::Rig;

conformance!(crate::memory::Memory<false>: holds_waiting_messages, has_priorities);

mod delaying {
    conformance!(crate::memory::Memory<true>: has_priorities);
}

/// A broker in memory. If it `DELAYS`, it keeps messages until they are due, as RabbitMQ can.
/// Otherwise workers hold them meanwhile, as on Redis.
pub struct Memory<const DELAYS: bool>(Server);

impl<const DELAYS: bool> Broker for Memory<DELAYS> {
    type Message = Vec<u8>;
    type Backend = Self;

    const FIRST_PRIORITY: u8 = 0;
    const LAST_PRIORITY: u8 = 9;

    async fn start() -> Self {
        Memory(if DELAYS {
            Server::delaying()
        } else {
            Server::default()
        })
    }

    async fn start_durable() -> Self {
        Self::start().await
    }

    fn options(&self) -> ConsumerOptions {
        ConsumerOptions::new(self.0.clone(), "celery@test")
    }

    /// Does nothing: the broker notices at once that a worker is gone.
    fn rescue_after(_: &mut ConsumerOptions, _: Duration) {}

    /// Does nothing: no consumer polls.
    fn without_polling(_: &mut ConsumerOptions) {}

    fn message(task: &Task, options: &EncodeOptions<'_>) -> Vec<u8> {
        task.encode_redis(options).unwrap()
    }

    fn without_body(id: &str) -> Vec<u8> {
        Redis::without_body(id)
    }

    fn malformed() -> (Vec<Vec<u8>>, Vec<DeadLetter>) {
        Redis::malformed()
    }

    async fn push(&mut self, queue: &str, messages: &[Vec<u8>]) {
        for message in messages {
            self.0.push(queue, message.clone());
        }
    }

    async fn depth(&mut self, queue: &str) -> Depth {
        let depth = self.0.depth(queue);
        Depth {
            ready: depth.ready,
            unacknowledged: depth.unacknowledged,
        }
    }

    async fn waiting(&mut self, rig: &Rig) -> usize {
        if DELAYS {
            self.0.delayed()
        } else {
            rig.consumer.parked()
        }
    }

    async fn dead(&mut self) -> Vec<DeadLetter> {
        let letters = self.0.dead().into_iter();
        letters
            .map(|letter| DeadLetter {
                queue: letter.queue,
                id: letter.id,
                task: letter.task,
                cause: letter.cause,
            })
            .collect()
    }

    fn backend(&mut self) -> &mut Self {
        self
    }

    async fn cut_connections(&mut self) {
        self.0.cut();
    }

    async fn crash(&mut self) {
        self.0.stop();
    }

    async fn restart(&mut self) {
        self.0.start();
    }

    async fn freeze(&mut self) {
        self.0.freeze(true);
    }

    async fn thaw(&mut self) {
        self.0.freeze(false);
    }
}

impl<const DELAYS: bool> Backend for Memory<DELAYS> {
    async fn stored_result(&mut self, id: &str) -> Value {
        let stored = self.0.result(id);
        stored.map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap())
    }

    async fn stored_results(&mut self) -> usize {
        self.0.results()
    }

    async fn begin_chord(&mut self, group: &str, size: usize) {
        self.0.begin_chord(group, size);
    }

    async fn open_chords(&mut self) -> usize {
        self.0.open_chords()
    }
}
