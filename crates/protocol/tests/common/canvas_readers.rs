//! Properties of signatures and of what a call of them sends that hold for any bytes.

#![allow(dead_code, unreachable_pub, reason = "each user takes its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold is a failed test"
)]

use std::cell::Cell;
use std::sync::Arc;

use celery_protocol::canvas::{Caller, Options, Plan, Signature, freeze, json};
use celery_protocol::message::{DecodeOptions, EncodeError, EncodeOptions, Task};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

/// The most bytes that a plan of several messages may have. It is small, so that inputs reach it.
const MOST: usize = 1 << 16;

/// A client with results, which counts its ids.
#[derive(Default)]
struct Client(Cell<u32>);

impl Caller for Client {
    fn new_id(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("00000000-0000-4000-8000-{:012}", self.0.get())
    }

    fn reply_to(&self) -> &'static str {
        "ffffffff-0000-3000-8000-000000000000"
    }

    fn has_results(&self) -> bool {
        true
    }

    fn queue_of(&self, _: &str) -> Arc<str> {
        "celery".into()
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        let tag = self.new_id();
        task.encode_redis(&EncodeOptions::new(queue, &tag))
    }
}

/// Reads a signature of any kind, as a client gets it from elsewhere. What was read can be written
/// and read again unchanged, frozen, and sent: all messages of its plan can be read by a worker.
pub fn canvas(bytes: &[u8]) {
    let Ok(text) = serde_json::from_slice::<&RawValue>(bytes) else {
        return;
    };
    let Ok(signature) = Signature::read(text) else {
        return;
    };
    if let Ok(written) = signature.json() {
        let again = Signature::read(&written).unwrap();
        assert_eq!(again.json().unwrap().get(), written.get());
    }
    let client = Client::default();
    let now = Timestamp::from_unix(1_800_000_000, 0);
    let argument = [json(&1).unwrap()];
    let given = (&argument[..], None, Options::default());
    if let Ok(plan) = Plan::new(&client, signature.clone(), given, now, MOST) {
        sent(&plan);
    }
    let mut frozen = signature;
    if let Ok((outcomes, outcome)) = freeze(&client, &mut frozen) {
        outcomes.tuple(outcome);
        Signature::read(&frozen.json().unwrap()).unwrap();
    }
}

/// Checks a plan: its size, and that workers can read its messages.
fn sent(plan: &Plan) {
    let bytes: usize = plan.messages.iter().map(|sent| sent.message.len()).sum();
    assert!(bytes <= MOST || plan.messages.len() == 1);
    let all = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
    let options = DecodeOptions::default().accept(&all);
    for message in &plan.messages {
        let task = Task::decode_redis_with(&message.message, &options).unwrap();
        assert_eq!((&task.id, &task.name), (&message.id, &message.task));
    }
    plan.outcomes.tuple(plan.result);
}
