//! Claims messages, and recovers a claim that was not answered.

use std::sync::Arc;
use std::time::Instant;

use celery_client::aio::{Cmd, Failure, Pipeline, Value, scripts};

use super::answer::{bytes, number, positions};
use super::consumed::Consumed;
use super::doorbell::Bell;
use super::moving::Next;
use super::session::{DEAD_LETTERS, MAX_TAGS, Session};
use crate::broker::held::Envelope;
use crate::broker::inbound;
use crate::broker::tag::Tag;
use crate::failpoint::failpoint;

pub(super) type Claimed = inbound::Claimed<Envelope>;

/// The most messages of one claim. Larger claims block Redis for milliseconds and gain nothing. A
/// tag's number also has only four digits.
pub(super) const MAX_CLAIM: usize = 250;

/// The size of a claim in bytes. `ack_claim.lua` ends the claim with the message that reaches it,
/// so that the answer arrives before its time-out.
pub(super) const CLAIM_BYTES: usize = 4 << 20;

/// The result of one claim.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub(super) messages: Vec<Claimed>,
    /// Acknowledged deliveries that this worker no longer held. After a repeated claim, the first
    /// try may have acknowledged them.
    pub(super) lost: Vec<Tag>,
    /// The number of messages that were not JSON objects and became dead letters.
    pub(super) dead: usize,
    /// `true` if there may be more messages: the claim found everything that it asked for.
    pub(super) filled: bool,
    /// The state of the bell after the claim.
    pub(super) bell: Bell,
}

/// What a claim asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// How many messages.
    pub(super) want: usize,
    /// Whether the bell is to be armed.
    pub(super) arm: bool,
}

#[cfg(test)]
impl Ask {
    /// Returns a claim that does not arm the bell.
    pub(super) fn only(want: usize) -> Self {
        Ask { want, arm: false }
    }
}

/// The acknowledgements that a claim carries.
struct Acks<'a> {
    /// Those that were not sent successfully yet.
    tags: &'a [Tag],
    /// `true` if an earlier call may have carried them out.
    repeated: bool,
    lost: Vec<Tag>,
}

impl Acks<'_> {
    /// Notes that they were carried out. After a repeated call, a tag that is lost was perhaps
    /// acknowledged by the first one.
    fn done(&mut self, lost: Vec<Tag>) {
        if !self.repeated && !self.tags.is_empty() {
            self.lost = lost;
        }
        self.tags = &[];
    }
}

impl Session {
    /// Acknowledges `acks` and claims messages. If the future is dropped, the next claim recovers the
    /// messages.
    pub(super) async fn claim(&mut self, ask: Ask, acks: &[Tag]) -> Claim {
        let mut want = ask.want.min(MAX_CLAIM);
        let mut acks = Acks {
            tags: &acks[..acks.len().min(MAX_TAGS)],
            repeated: false,
            lost: Vec::new(),
        };
        let mut recovered = Vec::new();
        loop {
            if self.moving.is_suspect(Instant::now()) {
                // This comes first: after it, an old call can no longer enter its messages.
                self.return_own().await;
            }
            if let Some(call) = self.unanswered {
                let found = self.recover(call).await;
                self.unanswered = None;
                want = want.saturating_sub(found.len());
                recovered.extend(found);
            }
            let consumed = self.layout.consumed();
            // Without lists, there is nothing that could ring.
            let arm = ask.arm && want > 0;
            let ask = Ask { want, arm };
            let claim = if want > 0 && self.moving.is_on(&consumed, Instant::now()) {
                self.claim_by_moving(&consumed, ask, &mut acks).await
            } else {
                let claim = self.claim_by_script(&consumed, ask, &mut acks).await;
                claim.map(Some)
            };
            match claim {
                Ok(Some(mut claim)) => {
                    self.turn = self.turn.wrapping_add(usize::from(want > 0));
                    self.link.worked();
                    claim.lost = acks.lost;
                    if !recovered.is_empty() {
                        recovered.append(&mut claim.messages);
                        claim.messages = recovered;
                    }
                    return claim;
                }
                Ok(None) => {}
                // The tags are in use, so this claim was carried out before. Its messages are found
                // by these tags.
                Err(failure) if failure.is_refusal("DUPCLAIM") => acks.repeated = true,
                Err(failure) => {
                    acks.repeated = true;
                    self.link.failed(&failure);
                }
            }
        }
    }

    /// Claims by native commands what is to be claimed so. Returns `None` if nothing was claimed and
    /// the claim is to begin anew.
    async fn claim_by_moving(
        &mut self,
        consumed: &Consumed,
        ask: Ask,
        acks: &mut Acks<'_>,
    ) -> Result<Option<Claim>, Failure> {
        let view = self.look(consumed, ask, acks.tags).await?;
        acks.done(view.lost);
        match view.next {
            Next::Wait => Ok(Some(Claim {
                bell: view.bell,
                ..Claim::default()
            })),
            Next::ByScript => self.claim_by_script(consumed, ask, acks).await.map(Some),
            Next::Doubt => {
                self.moving.doubt();
                Ok(None)
            }
            Next::Move(plan) => match self.move_and_enter(&plan).await {
                Err(failure) if self.moving.failed(&failure, Instant::now()) => Ok(None),
                claim => claim,
            },
        }
    }

    /// Acknowledges and claims in one step.
    async fn claim_by_script(
        &mut self,
        consumed: &Consumed,
        Ask { want, arm }: Ask,
        acks: &mut Acks<'_>,
    ) -> Result<Claim, Failure> {
        let number = self.calls + 1;
        let call = self.claim_call(consumed, number, want, acks.tags);
        let connection = self.link.connection().await;
        self.calls = number;
        self.unanswered = (want > 0).then_some(number);
        let mut calls = Pipeline::with_capacity(4);
        calls.add_command(call);
        let armed = arm.then(|| {
            self.doorbell
                .arm(connection, &self.layout, consumed, &mut calls)
        });
        failpoint!("claim");
        let answers = connection.run_first(&scripts::ACK_CLAIM, &calls).await;
        let mut bell = Bell::Unarmed;
        let answer = answers.and_then(|answers| {
            let mut answers = answers.into_iter();
            let claimed = answers.next().unwrap_or(Err(Failure::Answer("ack_claim")));
            bell = match armed {
                None => Bell::Unarmed,
                Some(0) => Bell::Mute,
                Some(_) => self.doorbell.armed(connection, answers),
            };
            claimed
        });
        let claim = answer.and_then(|value| self.read(consumed, number, want, acks.tags, value));
        let claim = claim.map(|claim| Claim { bell, ..claim });
        match &claim {
            Ok(claim) => acks.done(claim.lost.clone()),
            Err(failure) if failure.outcome_unknown() || failure.is_refusal("DUPCLAIM") => {
                return claim;
            }
            Err(_) => {}
        }
        self.unanswered = None;
        claim
    }

    pub(super) fn claim_call(
        &self,
        consumed: &Consumed,
        number: u64,
        want: usize,
        acks: &[Tag],
    ) -> Cmd {
        let layout = &*self.layout;
        let lists = if want == 0 { 0 } else { consumed.lists() };
        let mut call = scripts::call(
            &scripts::ACK_CLAIM,
            3 + lists,
            8 + acks.len() + 3 * lists,
            40 * (acks.len() + 3 * lists),
        );
        call.arg(&layout.unacked)
            .arg(&layout.index)
            .arg(&layout.dead);
        for (_, key) in consumed.claim_order(self.turn).take(lists) {
            call.arg(key);
        }
        call.arg(want)
            .arg(layout.base(number))
            .arg(&layout.node)
            .arg(DEAD_LETTERS)
            .arg(acks.len());
        for tag in acks {
            call.arg(layout.tag(*tag));
        }
        for (queue, _) in consumed.claim_order(self.turn).take(lists) {
            let queue = &consumed.queues[queue];
            call.arg(&queue.tail).arg(&*queue.name);
        }
        call
    }

    fn read(
        &self,
        consumed: &Consumed,
        number_of_call: u64,
        want: usize,
        acks: &[Tag],
        answer: Value,
    ) -> Result<Claim, Failure> {
        self.read_claim(consumed, number_of_call, want, acks, answer)
            .ok_or(Failure::Answer("ack_claim"))
    }

    fn read_claim(
        &self,
        consumed: &Consumed,
        call: u64,
        want: usize,
        acks: &[Tag],
        answer: Value,
    ) -> Option<Claim> {
        let Value::Array(items) = answer else {
            return None;
        };
        let mut items = items.into_iter();
        let lost = positions(items.next()?)?;
        let Value::Array(from) = items.next()? else {
            return None;
        };
        let dead = number(&items.next()?)?;
        let mut messages = Vec::with_capacity(items.len());
        let mut index = 0;
        for ((queue, key), count) in consumed.claim_order(self.turn).zip(from) {
            let count = match count {
                Value::BulkString(why) => {
                    self.layout.pass_over(key, &String::from_utf8_lossy(&why));
                    continue;
                }
                count => number(&count)?,
            };
            if count > 0 {
                self.layout.take_in(key);
                consumed.queues[queue].was_claimed(Instant::now());
                // The order of the lists that are still to be read stays.
                consumed.served(queue, key);
            }
            for _ in 0..count {
                index += 1;
                let message = bytes(items.next()?)?;
                consumed.queues[queue].saw(message.len());
                messages.push(Claimed {
                    tag: Tag { call, index },
                    queue: Arc::clone(&consumed.queues[queue].name),
                    message: Envelope(message),
                });
            }
        }
        let bytes: usize = messages.iter().map(|it| it.message.0.len()).sum();
        Some(Claim {
            lost: lost
                .into_iter()
                .filter_map(|i| acks.get(i).copied())
                .collect(),
            filled: want > 0 && (messages.len() + dead >= want || bytes >= CLAIM_BYTES),
            dead,
            messages,
            bell: Bell::Unarmed,
        })
    }

    /// Returns the messages that a claim without an answer took.
    ///
    /// An entry without a score is not held: the end of a claim by native commands has refused it,
    /// and its message is back in its list.
    async fn recover(&mut self, call: u64) -> Vec<Claimed> {
        let tags: Vec<Tag> = (1..=MAX_CLAIM as u64)
            .map(|index| Tag { call, index })
            .collect();
        let scores = self.scores(&tags).await;
        let entries = self.entries(&tags).await;
        let found: Vec<Claimed> = tags
            .into_iter()
            .zip(entries)
            .zip(scores)
            .filter_map(|((tag, entry), is_held)| {
                let (queue, message) = self.layout.open_entry(entry?)?;
                is_held.then_some(Claimed {
                    tag,
                    queue,
                    message,
                })
            })
            .collect();
        if !found.is_empty() {
            tracing::info!(
                "recovered {} messages of a claim that was not answered",
                found.len()
            );
        }
        found
    }

    /// Returns, for each of these tags, `true` if it is held.
    async fn scores(&mut self, tags: &[Tag]) -> Vec<bool> {
        let mut get = Cmd::with_capacity(2 + tags.len(), 40 * tags.len());
        get.arg("ZMSCORE").arg(&self.layout.index);
        for tag in tags {
            get.arg(self.layout.tag(*tag));
        }
        loop {
            match self.link.connection().await.query(&get).await {
                Ok(Value::Array(scores)) => {
                    self.link.worked();
                    return scores.iter().map(|it| *it != Value::Nil).collect();
                }
                Ok(_) => self.link.failed(&Failure::Answer("ZMSCORE")),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Returns the entries of held messages, and `None` for messages that are gone.
    pub(super) async fn entries(&mut self, tags: &[Tag]) -> Vec<Option<Vec<u8>>> {
        let mut get = Cmd::with_capacity(2 + tags.len(), 40 * tags.len());
        get.arg("HMGET").arg(&self.layout.unacked);
        for tag in tags {
            get.arg(self.layout.tag(*tag));
        }
        loop {
            match self.link.connection().await.query(&get).await {
                Ok(Value::Array(entries)) => {
                    self.link.worked();
                    return entries.into_iter().map(bytes).collect();
                }
                Ok(_) => self.link.failed(&Failure::Answer("HMGET")),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Returns the messages of held deliveries, and `None` for those that are gone.
    pub(super) async fn bodies(&mut self, tags: &[Tag]) -> Vec<Option<Envelope>> {
        let mut bodies = Vec::with_capacity(tags.len());
        for chunk in tags.chunks(MAX_TAGS) {
            let entries = self.entries(chunk).await;
            bodies.extend(
                entries
                    .into_iter()
                    .map(|entry| Some(self.layout.open_entry(entry?)?.1)),
            );
        }
        bodies
    }
}

#[cfg(test)]
mod tests {
    use celery_protocol::redis_keys::Keys;
    use celery_testkit::{Redis, RedisOptions};

    use super::*;
    use crate::broker::QueueOrder;
    use crate::broker::redis::layout::testing::connector;

    fn source(redis: &Redis) -> Session {
        connector(redis, Keys::default(), &["q", "r"], &QueueOrder::Priority).session("fetch")
    }

    fn texts(claim: &Claim) -> Vec<(&str, String)> {
        let text = |m: &Claimed| String::from_utf8_lossy(&m.message.0).into_owned();
        claim
            .messages
            .iter()
            .map(|m| (&*m.queue, text(m)))
            .collect()
    }

    fn both() -> Vec<(&'static str, String)> {
        vec![("q", "{1}".into()), ("r", "{2}".into())]
    }

    async fn two_claimed(redis: &Redis) -> (Session, Claim) {
        redis.cli(&["LPUSH", "q", "{1}"]).unwrap();
        redis.cli(&["LPUSH", "r", "{2}"]).unwrap();
        let mut source = source(redis);
        let claim = source.claim(Ask::only(10), &[]).await;
        assert_eq!(texts(&claim), both());
        assert!(!claim.filled);
        (source, claim)
    }

    #[tokio::test]
    async fn messages_of_an_unanswered_claim_are_recovered() {
        let redis = RedisOptions::new().start().unwrap();
        let (mut source, first) = two_claimed(&redis).await;
        redis.cli(&["LPUSH", "q", "{3}"]).unwrap();
        // Behaves as if the connection had been lost before the answer.
        source.unanswered = Some(source.calls);
        let again = source.claim(Ask::only(10), &[]).await;
        assert_eq!(texts(&again)[..2], both());
        assert_eq!(texts(&again)[2], ("q", "{3}".into()));
        let tags = |claim: &Claim| {
            claim.messages[..2]
                .iter()
                .map(|m| m.tag)
                .collect::<Vec<_>>()
        };
        assert_eq!(tags(&first), tags(&again));
    }

    #[tokio::test]
    async fn only_messages_with_a_lease_are_recovered() {
        let redis = RedisOptions::new().start().unwrap();
        let (mut source, first) = two_claimed(&redis).await;
        let tag = source.layout.tag(first.messages[0].tag);
        redis.cli(&["ZREM", "unacked_index", &tag]).unwrap();
        source.unanswered = Some(source.calls);
        let again = source.claim(Ask::only(10), &[]).await;
        assert_eq!(texts(&again), both()[1..]);
        redis.cli(&["DEL", "unacked_index"]).unwrap();
        source.unanswered = Some(first.messages[0].tag.call);
        assert!(source.claim(Ask::only(10), &[]).await.messages.is_empty());
        // The entries stay: they may be the only ones.
        assert_eq!(redis.cli(&["HLEN", "unacked"]).unwrap().trim(), "2");
    }

    #[tokio::test]
    async fn a_repeated_claim_finds_the_messages_of_the_first() {
        let redis = RedisOptions::new().start().unwrap();
        let (mut source, _) = two_claimed(&redis).await;
        // Behaves as if the same call had been sent twice.
        source.calls -= 1;
        let again = source.claim(Ask::only(10), &[]).await;
        assert_eq!(texts(&again), both());
        assert_eq!(redis.cli(&["HLEN", "unacked"]).unwrap().trim(), "2");
    }

    #[tokio::test]
    async fn a_full_claim_reports_that_there_may_be_more() {
        let redis = RedisOptions::new().start().unwrap();
        redis.cli(&["LPUSH", "q", "{1}", "{2}", "[3]"]).unwrap();
        let mut source = source(&redis);
        let claim = source.claim(Ask::only(2), &[]).await;
        assert!(claim.filled);
        let acks: Vec<Tag> = claim.messages.iter().map(|m| m.tag).collect();
        let rest = source.claim(Ask::only(2), &acks).await;
        assert_eq!(
            (rest.messages.len(), rest.dead, rest.filled, rest.lost.len()),
            (0, 1, false, 0)
        );
        let lost = source.claim(Ask::only(0), &acks[..1]).await.lost;
        assert_eq!(lost, acks[..1]);
        assert_eq!(redis.cli(&["XLEN", "celery.dead"]).unwrap().trim(), "1");
    }
}
