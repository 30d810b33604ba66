//! Messages on Redis, in kombu's layout, without its gaps.
//!
//! # States
//!
//! A message is always in exactly one of these places, and every arrow is one script – one step for Redis:
//!
//! ```text
//!                     claim                         settle: acknowledge (+ result, follow-ups)
//!    ┌── list ────────────────────► held ──────────────────────────────────────────► gone
//!    │    ▲  ▲                      │  ▲ renew, each 10 s
//!    │    │  │  settle: give back   │  │                settle: dead
//!    │    │  └──────────────────────┤  └─┐ fetch    ┌────────────────────────────► celery.dead
//!    │    │                         │    │          │                                    ▲
//!    │    │                         └─► parked ─────┘                                    │
//!    │    │                        park    (score = ETA)                                 │
//!    │    │                                                                              │
//!    │    └── restore, if the lease has run out (held: 30 s; parked: 30 s after the ETA; Python's: an hour)
//!    └─────── claim: what is no JSON object ──────────────────────────────────────────────┘
//! ```
//!
//! *Held* and *parked* are an entry in the hash `unacked` and one in the sorted set `unacked_index`, as kombu has them: a
//! Python worker can restore and run what we abandon, and we what it abandons.
//!
//! # Authority
//!
//! Redis decides who holds a message: whoever's tag is in the index. Tags are `rs:<instance>:<call>:<number>`, made
//! anew for every claim and never used again, so that "my tag is gone" can only mean "I do not hold it any longer". Every
//! script that changes the state of a held message looks at the tag in the same step (the *fence*); nobody else's
//! opinion – not this process's memory, not the last renewal – counts.
//!
//! # Trust window
//!
//! A renewal is a promise to others ("do not rescue this for another lease"), not a proof: a Python sweeper that had
//! read an older score may still take the message. And the code of a task that is frozen for longer than a lease will go
//! on when it thaws, although another worker has the message. What it wrote elsewhere stays written; what it settles is
//! refused by the fence. Times are Redis's in all scripts, so that only Python's clocks can be wrong.
//!
//! # What is never repeated blindly
//!
//! A claim whose answer did not arrive may have been carried out. It is not sent again: its tags are known, so what it
//! took is read from the hash. Should the claim be carried out even later (a frozen server thaws), nobody renews what it
//! took, and a lease later it is back in its list. Everything else is fenced and may be sent twice.
//!
//! # What is refused
//!
//! A refusal that passes (a failover, a full memory, a rotated password) is waited for like an absence, and so is one that
//! concerns the worker's own keys. One that lasts and concerns a single message (a key of another type, a key that it must
//! not touch) is that message's affair: the batch is divided, what is refused is told of and left to its lease, and the
//! count of its deliveries ends it.
//!
//! Scripts touch the hash `unacked` as seldom as possible, in large batches: Python's sweepers WATCH the whole hash, and
//! many small writes starve them.

mod binding;
mod chord;
mod claim;
pub(crate) mod doorbell;
mod layout;
mod order;
mod parking;
mod settle;
pub(crate) mod sweep;

use std::sync::Arc;

use celery_client::Endpoint;
use celery_client::aio::{Cmd, ConnectOptions, Failure, Health, Supervised, Value, scripts};
use celery_client::redis::Script;

pub(crate) use claim::MAX_CLAIM;
pub(crate) use layout::Layout;
pub(crate) use parking::MAX_PARKED;

use super::{Claim, Settled, Settlement, Source};
use crate::source::Tag;

/// About how many dead letters are kept.
pub(crate) const DEAD_LETTERS: usize = 100_000;

/// The most tags in one call: Lua unpacks arguments onto a stack of 8,000.
pub(crate) const MAX_TAGS: usize = 1_000;

/// What all roles of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) health: Arc<Health>,
}

impl Broker {
    /// A source with a connection of its own, for this role.
    pub(crate) fn role(&self, role: &str) -> RedisSource {
        let link = Supervised::new(
            Arc::clone(&self.endpoint),
            self.options(role),
            Arc::clone(&self.health),
        );
        RedisSource {
            // Only the fetcher speaks at once; the others wait for something to do.
            link: match role {
                "fetch" => link,
                _ => link.at_need(),
            },
            layout: Arc::clone(&self.layout),
            calls: 0,
            turn: 0,
            unanswered: None,
            passed_over: 0,
        }
    }

    fn options(&self, role: &str) -> ConnectOptions {
        // Redis refuses spaces in a name.
        let node: String = self
            .layout
            .node
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '_' })
            .collect();
        ConnectOptions::new(format!("{node}/{role}"))
    }
}

/// One role's connection and what it needs to speak of messages.
pub(crate) struct RedisSource {
    link: Supervised,
    layout: Arc<Layout>,
    /// The number of the last claim.
    calls: u64,
    /// Whose turn it is at the next claim. Not the number of the call: of those, some acknowledge only, and if that were
    /// every other one, it would always be the turn of the same queue.
    turn: usize,
    /// A claim that may have been carried out although no answer came.
    unanswered: Option<u64>,
    /// Where in the index the next sweep begins.
    passed_over: usize,
}

impl RedisSource {
    /// Is told of every answer and every failed try.
    pub(crate) fn watched(mut self, turned: impl Fn() + Send + Sync + 'static) -> Self {
        self.link = self.link.watched(turned);
        self
    }

    /// Sends a call that may be sent twice until it is answered. For calls in which nothing but the worker's own keys is
    /// named: a server that refuses those is waited for like one that is away.
    async fn insist<T>(
        &mut self,
        script: &Script,
        call: &Cmd,
        read: impl Fn(Value) -> Option<T>,
        what: &'static str,
    ) -> T {
        loop {
            match self.until_told(script, call, &read, what).await {
                Ok((answer, _)) => return answer,
                Err(refused) => self.link.failed(&refused),
            }
        }
    }

    /// Sends a call that may be sent twice until it is answered, or refused for good. Tells whether it was sent more than
    /// once.
    async fn until_told<T>(
        &mut self,
        script: &Script,
        call: &Cmd,
        read: impl Fn(Value) -> Option<T>,
        what: &'static str,
    ) -> Result<(T, bool), Failure> {
        let mut repeated = false;
        loop {
            let answer = self.link.connection().await.run(script, call).await;
            match answer.and_then(|value| read(value).ok_or(Failure::Answer(what))) {
                Ok(answer) => {
                    self.link.worked();
                    return Ok((answer, repeated));
                }
                Err(refused) if refused.is_lasting() => return Err(refused),
                Err(failure) => {
                    repeated = true;
                    self.link.failed(&failure);
                }
            }
        }
    }

    /// Does a batch in one call; where the server refuses that for good, in halves, until what it refuses stands alone.
    /// So one message that names a key it must not, or that is too large, does not keep the others. The answers come in
    /// order, each with the place of the first that it is about.
    async fn in_parts<I, T>(
        &mut self,
        batch: &[I],
        script: &Script,
        call: impl Fn(&Self, &[I]) -> Cmd,
        read: impl Fn(Value, usize) -> Option<T>,
        what: &'static str,
    ) -> Vec<(usize, Result<(T, bool), Failure>)> {
        let mut answers = Vec::with_capacity(1);
        let mut parts = Vec::from([(0, batch.len())]);
        while let Some((start, end)) = parts.pop() {
            let items = batch.get(start..end).unwrap_or_default();
            if items.is_empty() {
                continue;
            }
            let call = call(self, items);
            let read = |value| read(value, items.len());
            match self.until_told(script, &call, read, what).await {
                Err(_) if items.len() > 1 => {
                    let middle = start + items.len() / 2;
                    parts.extend([(middle, end), (start, middle)]);
                }
                answer => {
                    if answer.is_err() {
                        // It has been heard.
                        self.link.worked();
                    }
                    answers.push((start, answer));
                }
            }
        }
        answers
    }

    /// Renews one chunk; the positions of tags that are gone.
    async fn renew_chunk(&mut self, tags: &[Tag]) -> Vec<usize> {
        let mut call = scripts::call(&scripts::RENEW, 1, 1 + tags.len(), 40 * tags.len());
        call.arg(&self.layout.index);
        for tag in tags {
            call.arg(self.layout.tag(*tag));
        }
        self.insist(&scripts::RENEW, &call, positions, "renew")
            .await
    }
}

impl Source for RedisSource {
    async fn ready(&mut self) {
        let mut ping = Cmd::new();
        ping.arg("PING");
        loop {
            match self.link.connection().await.query(&ping).await {
                Ok(_) => return self.link.worked(),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn claim(&mut self, want: usize, acks: &[Tag]) -> Claim {
        self.claim_messages(want, acks).await
    }

    async fn renew(&mut self, tags: &[Tag]) -> Vec<Tag> {
        let mut lost = Vec::new();
        for chunk in tags.chunks(MAX_TAGS) {
            let gone = self.renew_chunk(chunk).await;
            lost.extend(gone.into_iter().filter_map(|i| chunk.get(i)));
        }
        lost
    }

    async fn settle(&mut self, batch: &[Settlement]) -> Settled {
        self.settle_batch(batch).await
    }
}

/// Positions as Lua counts them, from 1, as positions from 0.
fn positions(value: Value) -> Option<Vec<usize>> {
    let Value::Array(items) = value else {
        return None;
    };
    items
        .iter()
        .map(|item| number(item)?.checked_sub(1))
        .collect()
}

fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
