//! Keeps schedules on Redis. The heads of the scripts `beat_*.lua` have the keys and the rules.

use std::sync::Arc;

use celery_client::aio::{Cmd, Failure, Supervised, Value, scripts};
use celery_client::redis::{RedisEndpoint, Script};
use celery_protocol::redis_keys::Keys;
use celery_protocol::result::StoredForm;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::answer::bytes;
use super::connector::Connector;
use super::layout::Layout;
use crate::broker::events::EventChannel;
use crate::broker::options::{QueueOrder, Results, Subscription};
use crate::broker::queues::Queues;
use crate::broker::schedules::{
    Change, Due, Fired, Firing, Lead, Look, MOST_DUE, Opened, ScheduleStore,
};
use crate::monitor::Pulse;

/// How long a lease lasts without a renewal. Another process leads at the latest after this time, so
/// it is short; a pause of the network that is shorter does not change the leader.
const LEASE_MS: i64 = 10_000;

/// The connection of a process to the schedules.
struct Schedules {
    link: Supervised,
    keys: Keys,
    /// The node's name and a random text, so that two processes never have one name.
    instance: String,
    /// The last token of this process.
    token: Option<String>,
}

/// Returns the store of the schedules on a server. The pulse beats at every answer and every failed
/// try.
pub(crate) fn schedules(endpoint: &Arc<RedisEndpoint>, node: &str, pulse: &Arc<Pulse>) -> Opened {
    let connector = connector(endpoint, node);
    let pulse = Arc::clone(pulse);
    let store = Schedules {
        link: connector.link("beat").watched(move || pulse.beat()),
        keys: endpoint.keys(),
        instance: format!("{node}/{}", uuid::Uuid::new_v4().simple()),
        token: None,
    };
    (Box::new(store), connector.health())
}

/// Returns the channel of events of a process that only runs schedules.
pub(crate) fn events_of_schedules(
    endpoint: &Arc<RedisEndpoint>,
    node: &str,
    pulse: &Arc<Pulse>,
) -> Box<dyn EventChannel> {
    Box::new(connector(endpoint, node).events(pulse))
}

/// Returns what opens connections for a process without queues.
fn connector(endpoint: &Arc<RedisEndpoint>, node: &str) -> Connector {
    let subscription = Subscription {
        queues: &Arc::new(Queues::new([""; 0])),
        order: &QueueOrder::default(),
        node,
        results: &Results::Broker,
        result_expires: std::time::Duration::ZERO,
        failure_expires: std::time::Duration::ZERO,
        chord_expires: std::time::Duration::ZERO,
        fair: &[],
        form: StoredForm::default(),
    };
    let layout = Arc::new(Layout::new(endpoint.keys(), &subscription));
    Connector::new(endpoint, layout)
}

impl Schedules {
    /// Sends a call that may be sent twice, until it is answered. A server that refuses the keys of
    /// the schedules is waited for like one that is away.
    async fn insist<T>(
        &mut self,
        script: &Script,
        call: &Cmd,
        read: impl Fn(Value) -> Option<T>,
        what: &'static str,
    ) -> T {
        loop {
            let answer = self.link.connection().await.run(script, call).await;
            match answer.and_then(|value| read(value).ok_or(Failure::Answer(what))) {
                Ok(answer) => {
                    self.link.worked();
                    return answer;
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn take_look(&mut self) -> Look {
        let keys = &self.keys;
        let mut call = scripts::call(&scripts::BEAT_LOOK, 4, 7, 256);
        call.arg(keys.beat_leader())
            .arg(keys.beat_due())
            .arg(keys.beat())
            .arg(keys.beat_fence());
        call.arg(&self.instance).arg(LEASE_MS).arg(MOST_DUE);
        let look = self
            .insist(&scripts::BEAT_LOOK, &call, read_look, "beat_look")
            .await;
        self.token = look.lead.as_ref().map(|_| look.leader.clone());
        look
    }

    async fn send(&mut self, firing: &Firing<'_>) -> Fired {
        let keys = &self.keys;
        let messages: usize = firing.messages.iter().map(Vec::len).sum();
        let size = messages + firing.due.entry.len() + 512;
        let lists = usize::from(!firing.messages.is_empty());
        let arguments = 10 + firing.messages.len();
        let mut call = scripts::call(&scripts::BEAT_FIRE, 4 + lists, arguments, size);
        call.arg(keys.beat_leader())
            .arg(keys.beat_due())
            .arg(keys.beat())
            .arg(keys.beat_runs());
        if lists == 1 {
            call.arg(keys.queue(firing.queue, firing.priority));
        }
        call.arg(firing.token)
            .arg(&firing.due.name)
            .arg(&firing.due.stored)
            .arg(
                firing
                    .next
                    .map_or_else(String::new, |next| next.to_string()),
            )
            .arg(&firing.due.entry)
            .arg(firing.messages);
        loop {
            let connection = self.link.connection().await;
            match connection.run(&scripts::BEAT_FIRE, &call).await {
                Ok(answer) => {
                    self.link.worked();
                    return read_fired(answer);
                }
                Err(refused) if refused.is_lasting() => {
                    self.link.worked();
                    return Fired::Refused(refused.to_string());
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn read_entries(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut call = Cmd::new();
        call.arg("HGETALL").arg(self.keys.beat());
        loop {
            match self.link.connection().await.query(&call).await {
                Ok(answer) => {
                    self.link.worked();
                    return pairs(answer);
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn change(&mut self, change: &Change<'_>) -> bool {
        let call = write_call(&self.keys, change);
        self.insist(&scripts::BEAT_WRITE, &call, read_written, "beat_write")
            .await
    }

    async fn give_up(&mut self) {
        let Some(token) = self.token.take() else {
            return;
        };
        let mut call = scripts::call(&scripts::BEAT_RESIGN, 1, 2, 64);
        call.arg(self.keys.beat_leader()).arg(token);
        // If this fails, the lease runs out.
        let _ = self
            .link
            .connection()
            .await
            .run(&scripts::BEAT_RESIGN, &call)
            .await;
    }
}

impl ScheduleStore for Schedules {
    fn look(&mut self) -> BoxFuture<'_, Look> {
        self.take_look().boxed()
    }

    fn fire<'a>(&'a mut self, firing: &'a Firing<'a>) -> BoxFuture<'a, Fired> {
        self.send(firing).boxed()
    }

    fn entries(&mut self) -> BoxFuture<'_, Vec<(Vec<u8>, Vec<u8>)>> {
        self.read_entries().boxed()
    }

    fn write<'a>(&'a mut self, change: &'a Change<'a>) -> BoxFuture<'a, bool> {
        self.change(change).boxed()
    }

    fn resign(&mut self) -> BoxFuture<'_, ()> {
        self.give_up().boxed()
    }
}

/// Returns the call that changes an entry.
pub(crate) fn write_call(keys: &Keys, change: &Change<'_>) -> Cmd {
    let size = change.read.len() + change.entry.len() + 256;
    let mut call = scripts::call(&scripts::BEAT_WRITE, 3, 7, size);
    call.arg(keys.beat_due())
        .arg(keys.beat())
        .arg(keys.beat_runs());
    call.arg(change.name).arg(change.read).arg(change.entry);
    call.arg(change.due.as_str());
    call
}

/// Reads the answer to a change of an entry: `false` if another program has changed it.
pub(crate) fn read_written(answer: Value) -> Option<bool> {
    match answer {
        Value::Int(done) => Some(done == 1),
        _ => None,
    }
}

fn read_look(answer: Value) -> Option<Look> {
    let Value::Array(items) = answer else {
        return None;
    };
    let mut items = items.into_iter();
    let mut look = Look {
        now: integer(&items.next()?)?,
        leader: String::from_utf8(bytes(items.next()?)?).ok()?,
        lease: integer(&items.next()?)?,
        lead: None,
    };
    if let Some(next) = items.next() {
        let mut lead = Lead {
            next: score(&bytes(next)?),
            due: Vec::new(),
        };
        while let Some(name) = items.next() {
            let stored = bytes(items.next()?)?;
            lead.due.push(Due {
                name: bytes(name)?,
                at: score(&stored)?,
                stored,
                entry: bytes(items.next()?)?,
            });
        }
        look.lead = Some(lead);
    }
    Some(look)
}

fn read_fired(answer: Value) -> Fired {
    match answer {
        Value::Int(1) => Fired::Done,
        Value::Int(0) => Fired::Changed,
        Value::Int(_) => Fired::NotLeading,
        Value::BulkString(why) => Fired::NotSent(String::from_utf8_lossy(&why).into_owned()),
        other => Fired::Refused(format!("an unexpected answer: {other:?}")),
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

/// Reads a score of a sorted set. Another program may have stored a fraction, or infinity.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn score(text: &[u8]) -> Option<i64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(number as i64)
}

fn pairs(answer: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let flat: Vec<Value> = match answer {
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            return pairs
                .filter_map(|(name, entry)| Some((bytes(name)?, bytes(entry)?)))
                .collect();
        }
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let mut flat = flat.into_iter();
    let mut found = Vec::new();
    while let (Some(name), Some(entry)) = (flat.next(), flat.next()) {
        found.extend(bytes(name).zip(bytes(entry)));
    }
    found
}
