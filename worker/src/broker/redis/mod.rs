//! Moves messages on Redis, in kombu's layout but without its gaps.
//!
//! # States
//!
//! A message is always in exactly one of these places. Every arrow is one script, and therefore one
//! step for Redis:
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
//!    │    └── restore: lease run out (held: 30 s, parked: 30 s after ETA, Python's: 1 h)
//!    └─────── claim: not a JSON object ──────────────────────────────────────────────────┘
//! ```
//!
//! *Held* and *parked* messages each have an entry in the hash `unacked` and one in the sorted set
//! `unacked_index`, as kombu has them. A Python worker can therefore restore and run what this
//! worker abandons, and the reverse.
//!
//! # Authority
//!
//! Redis decides who holds a message: the worker whose tag is in the index. Tags are
//! `rs:<instance>:<call>:<number>`. They are new for every claim and never used again. If a tag is
//! gone, its worker no longer holds the message. Every script that changes the state of a held
//! message checks the tag in the same step (the *fence*). Nothing else counts: neither this
//! process's memory nor the last renewal.
//!
//! # Trust window
//!
//! A renewal is a promise to other workers ("do not rescue this for another lease"), not a proof. A
//! Python sweeper that has read an older score may still take the message. The code of a task that
//! is frozen for longer than a lease goes on when it thaws, although another worker has the
//! message. What it wrote elsewhere stays written, but the fence refuses what it settles. All
//! scripts use Redis's time, so that only Python's clocks can be wrong.
//!
//! # What is never repeated blindly
//!
//! A claim whose answer did not arrive may have been carried out. It is not sent again: its tags
//! are known, so its messages are read from the hash. If a frozen server carries out the claim even
//! later, its messages are not renewed, and go back to their lists after a lease. All other calls
//! are fenced and may be sent twice.
//!
//! # What is refused
//!
//! A refusal that passes (a failover, a full memory, a rotated password) is waited for like an
//! absence. So is a refusal that concerns the worker's own keys. A refusal that lasts can concern a
//! single message: its key has another type, or the user may not touch it. Then the batch is
//! divided, and the log reports the refused message. It is left to its lease, and the limit on its
//! deliveries ends it.
//!
//! Scripts touch the hash `unacked` as seldom as possible, in large batches. Python's sweepers
//! WATCH the whole hash, and many small writes starve them.

mod binding;
mod chord;
mod claim;
pub(crate) mod control;
pub(crate) mod doorbell;
mod layout;
mod order;
mod parking;
mod settle;
pub(crate) mod sweep;

use std::sync::Arc;

use celery_client::aio::{Cmd, ConnectOptions, Failure, Health, Supervised, Value, scripts};
use celery_client::redis::RedisEndpoint as Endpoint;
use celery_client::redis::Script;

pub(crate) use claim::MAX_CLAIM;
pub(crate) use layout::Layout;
pub(crate) use parking::MAX_PARKED;

use super::{Claim, Settled, Settlement, Source};
use crate::broker::Tag;

/// About how many dead letters are kept.
pub(crate) const DEAD_LETTERS: usize = 100_000;

/// The most tags in one call: Lua unpacks arguments onto a stack of 8,000.
pub(crate) const MAX_TAGS: usize = 1_000;

/// The parts that all roles of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) health: Arc<Health>,
}

impl Broker {
    /// Returns a source for this role, with a connection of its own.
    pub(crate) fn role(&self, role: &str) -> RedisSource {
        let link = Supervised::new(
            Arc::clone(&self.endpoint),
            self.options(role),
            Arc::clone(&self.health),
        );
        RedisSource {
            // Only the fetcher connects at once; the other roles connect when they have something
            // to do.
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

/// The connection of one role, and what its calls about messages need.
pub(crate) struct RedisSource {
    link: Supervised,
    layout: Arc<Layout>,
    /// The number of the last claim.
    calls: u64,
    /// Decides which queue goes first at the next claim. The number of the call would not do,
    /// because some calls only acknowledge. If every other call did, the same queue would always go
    /// first.
    turn: usize,
    /// A claim that may have been carried out although no answer came.
    unanswered: Option<u64>,
    /// The offset in the index at which the next sweep begins.
    passed_over: usize,
}

impl RedisSource {
    /// Calls `turned` at every answer and every failed try.
    pub(crate) fn watched(mut self, turned: impl Fn() + Send + Sync + 'static) -> Self {
        self.link = self.link.watched(turned);
        self
    }

    /// Sends a call that may be sent twice, until it is answered. The call must name only the
    /// worker's own keys: a server that refuses them is waited for like one that is away.
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

    /// Sends a call that may be sent twice, until it is answered or refused for good. The returned
    /// `bool` is `true` if the call was sent more than once.
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

    /// Handles a batch in one call. If the server refuses that for good, it halves the batch until
    /// each refused item stands alone. One message that names a forbidden key, or that is too
    /// large, thus does not stop the others. Returns the answers in order, each with the position
    /// of the first item that it is about.
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
                        // The server has answered, although it refused.
                        self.link.worked();
                    }
                    answers.push((start, answer));
                }
            }
        }
        answers
    }

    /// Renews one chunk of tags. Returns the positions of tags that are gone.
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

/// Converts positions as Lua counts them, from 1, to positions from 0.
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
