//! Claims large messages by native commands.
//!
//! Redis's Lua hashes each byte of each string that a script makes, and a claim by script makes two
//! strings of each message. Native commands copy the message and read nothing. The claim then takes
//! three calls: *look*, *move* and *enter*. In between, the messages are in the worker's
//! [held list](super::held_list). ARCHITECTURE.md lists what can happen there.
//!
//! The script `enter_held` decides whether the messages are claimed, by the header of the held list.
//! Everything that goes wrong therefore has one answer: return what is in the held list, and claim
//! again.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use celery_client::aio::{Cmd, Failure, Pipeline, RedisWrite, Value, scripts};

use super::answer::{bytes, number, positions};
use super::claim::{Ask, CLAIM_BYTES, Claim, Claimed};
use super::consumed::Consumed;
use super::doorbell::Bell;
use super::held_list::Header;
use super::moving::{Moving, Next, Plan, View};
use super::session::{DEAD_LETTERS, Session};
use crate::broker::ClaimMode;
use crate::broker::held::Envelope;
use crate::broker::tag::Tag;
use crate::failpoint::failpoint;

/// The most messages that are moved at once. Their sizes are not known before, so a larger number
/// could make an answer that neither Redis nor this process can hold. It is enough to spread the
/// cost of three calls.
const MOST_MOVED: usize = 64;

/// The most messages that are moved while the size of the messages of a queue is not known: at
/// first, and after a pause.
const FIRST_MOVED: usize = 8;

impl Session {
    /// Makes the session claim in this mode.
    pub(super) fn claiming(mut self, mode: ClaimMode) -> Self {
        self.moving = Moving::new(mode);
        self
    }

    /// Returns what an earlier claim may have left in the held list, however long that takes.
    pub(super) async fn return_own(&mut self) {
        loop {
            match self.try_return_own().await {
                Ok(returned) => {
                    self.link.worked();
                    self.moving.is_clear();
                    if returned > 0 {
                        tracing::info!("returned {returned} messages of a claim that failed");
                    }
                    return;
                }
                Err(failure) if failure.is_lasting() || matches!(failure, Failure::Answer(_)) => {
                    return self.moving.gave_up(&failure);
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Sends the acknowledgements, and looks where there is something to claim.
    ///
    /// The bell is armed before the lengths are read, so that it counts as armed only if all lists
    /// are empty.
    pub(super) async fn look(
        &mut self,
        consumed: &Consumed,
        Ask { want, arm }: Ask,
        acks: &[Tag],
    ) -> Result<View, Failure> {
        let layout = Arc::clone(&self.layout);
        let ack = (!acks.is_empty()).then(|| self.claim_call(consumed, 0, 0, acks));
        let mut look = Pipeline::new();
        if let Some(call) = &ack {
            look.add_command(call.clone());
        }
        let connection = self.link.connection().await;
        let armed = arm.then(|| self.doorbell.arm(connection, &layout, consumed, &mut look));
        look.cmd("TIME");
        look.cmd("SCARD").arg(&layout.owners);
        look.cmd("LLEN").arg(&layout.held);
        for (_, list) in consumed.claim_order(self.turn) {
            look.cmd("LLEN").arg(list);
        }
        let mut answers = connection.each(&look).await?.into_iter();
        let mut lost = Vec::new();
        if let Some(call) = ack {
            let answer = match answers.next() {
                Some(Err(failure)) if failure.is_refusal("NOSCRIPT") => {
                    connection.run(&scripts::ACK_CLAIM, &call).await
                }
                Some(answer) => answer,
                None => return Err(Failure::Answer("ack_claim")),
            };
            let Value::Array(parts) = answer? else {
                return Err(Failure::Answer("ack_claim"));
            };
            let places = parts.into_iter().next().and_then(positions);
            let places = places.ok_or(Failure::Answer("ack_claim"))?;
            lost.extend(places.into_iter().filter_map(|i| acks.get(i).copied()));
        }
        let bell = match armed {
            None => Bell::Unarmed,
            Some(0) => Bell::Mute,
            Some(count) => self
                .doorbell
                .armed(connection, answers.by_ref().take(count)),
        };
        let next = self.judge_lengths(consumed, want, answers);
        Ok(View { lost, next, bell })
    }

    fn judge_lengths(
        &mut self,
        consumed: &Consumed,
        want: usize,
        mut answers: impl Iterator<Item = Result<Value, Failure>>,
    ) -> Next {
        let layout = Arc::clone(&self.layout);
        let mut next = || answers.next().unwrap_or(Err(Failure::Answer("LLEN")));
        let (time, owners, held) = (next(), next(), next());
        let Some(time) = time.ok().and_then(time_text) else {
            return Next::ByScript;
        };
        match (owners, held) {
            (Ok(_), Ok(Value::Int(0))) => {}
            (Ok(_), Ok(Value::Int(_))) => return Next::Doubt,
            (Err(failure), _) | (_, Err(failure)) => {
                self.moving.failed(&failure, Instant::now());
                return Next::ByScript;
            }
            _ => return Next::ByScript,
        }
        let (mut first, mut total) = (None, 0);
        for (queue, list) in consumed.claim_order(self.turn) {
            let length = match next() {
                Ok(length) => number(&length).unwrap_or(0),
                Err(failure) if failure.is_refusal("WRONGTYPE") => {
                    layout.pass_over(list, &failure.to_string());
                    continue;
                }
                Err(_) => return Next::ByScript,
            };
            if length > 0 {
                layout.take_in(list);
                total += length;
                first = first.or(Some((queue, list, length)));
            }
        }
        let Some((queue, list, length)) = first else {
            return Next::Wait;
        };
        let home = consumed.home(queue, list).to_owned();
        let place = queue;
        let queue = &consumed.queues[place];
        if !self.moving.moves(queue) {
            return Next::ByScript;
        }
        consumed.served(place, list);
        let fit = match queue.size() {
            size if queue.knows_size(Instant::now()) => (CLAIM_BYTES / size.max(1)).max(1),
            _ => FIRST_MOVED,
        };
        let count = want.min(MOST_MOVED).min(fit).min(length);
        Next::Move(Plan {
            queue: Arc::clone(queue),
            list: list.to_owned(),
            home,
            count,
            time,
            more: total > count,
        })
    }

    /// Moves messages to the held list, and enters them into the held messages. Returns `None` if
    /// the held list is not as this call has left it: then nothing is claimed.
    pub(super) async fn move_and_enter(&mut self, plan: &Plan) -> Result<Option<Claim>, Failure> {
        let call = self.calls + 1;
        self.calls = call;
        let header = Header::text(&self.layout, call, &plan.time, &plan.home);
        let Some(moved) = self.move_messages(plan, &header).await? else {
            return Ok(None);
        };
        let claim = self.enter(call, plan, &header, moved).await?;
        if claim.is_some() {
            self.moving.is_clear();
            self.unanswered = None;
        }
        Ok(claim)
    }

    async fn move_messages(
        &mut self,
        plan: &Plan,
        header: &str,
    ) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let layout = &*self.layout;
        let mut register = Cmd::new();
        register
            .arg("SADD")
            .arg(&layout.owners)
            .arg(layout.instance());
        let mut head = Cmd::new();
        head.arg("LPUSH").arg(&layout.held).arg(header);
        let mut commands = vec![register, head];
        for _ in 0..plan.count {
            let mut one = Cmd::with_capacity(5, plan.list.len() + layout.held.len() + 16);
            one.arg("LMOVE").arg(&plan.list).arg(&layout.held);
            one.arg("RIGHT").arg("LEFT");
            commands.push(one);
        }
        let connection = self.link.connection().await;
        self.moving.doubt();
        failpoint!("moving");
        let mut answers = connection.transaction(commands).await?.into_iter();
        failpoint!("moved");
        let mut next = || answers.next().unwrap_or(Err(Failure::Answer("EXEC")));
        let (_registered, length) = (next()?, next()?);
        if length != Value::Int(1) {
            return Ok(None);
        }
        let mut moved = Vec::with_capacity(plan.count);
        // The list may have become shorter since the look, or a key of another type.
        while let Some(Ok(Value::BulkString(message))) = answers.next() {
            moved.push(message);
        }
        Ok(Some(moved))
    }

    async fn enter(
        &mut self,
        call: u64,
        plan: &Plan,
        header: &str,
        moved: Vec<Vec<u8>>,
    ) -> Result<Option<Claim>, Failure> {
        let layout = Arc::clone(&self.layout);
        let queue = &plan.queue;
        let count = moved.len();
        queue.was_claimed(Instant::now());
        let (mut messages, mut bad) = (Vec::with_capacity(count), Vec::new());
        for (place, message) in (1_usize..).zip(moved) {
            queue.saw(message.len());
            if message.starts_with(b"{") && message.ends_with(b"}") {
                messages.push(Claimed {
                    tag: Tag {
                        call,
                        index: messages.len() as u64 + 1,
                    },
                    queue: Arc::clone(&queue.name),
                    message: Envelope(message),
                });
            } else {
                bad.push(place);
            }
        }
        let mut commands = Vec::with_capacity(2);
        if !messages.is_empty() {
            commands.push(entries(&layout.unacked, &queue.tail, &messages, |tag| {
                layout.tag(tag)
            }));
        }
        let mut enter = Cmd::new();
        enter
            .arg("EVAL")
            .arg(scripts::ENTER_HELD.source())
            .arg(5)
            .arg(&layout.held)
            .arg(&layout.owners)
            .arg(&layout.unacked)
            .arg(&layout.index)
            .arg(&layout.dead);
        enter
            .arg(layout.instance())
            .arg(header)
            .arg(count)
            .arg(&layout.node)
            .arg(DEAD_LETTERS)
            .arg(&*queue.name)
            .arg(messages.len());
        for claimed in &messages {
            enter.arg(layout.tag(claimed.tag));
        }
        enter.arg(&bad);
        commands.push(enter);
        let connection = self.link.connection().await;
        self.unanswered = (!messages.is_empty()).then_some(call);
        failpoint!("enter");
        let answers = connection.transaction(commands).await?;
        failpoint!("entered");
        // The script is the last command. If the first one was refused, so is the script.
        let entered = answers.into_iter().next_back();
        match entered.unwrap_or(Err(Failure::Answer("EXEC")))? {
            Value::Int(1) => Ok(Some(Claim {
                messages,
                lost: Vec::new(),
                dead: bad.len(),
                filled: plan.more,
                bell: Bell::Unarmed,
            })),
            // No entry remains.
            Value::Int(0) => {
                self.unanswered = None;
                Ok(None)
            }
            _ => Err(Failure::Answer("enter_held")),
        }
    }
}

/// Returns the command that writes the entries of messages, as the claim script writes them.
fn entries(unacked: &str, tail: &str, messages: &[Claimed], name: impl Fn(Tag) -> String) -> Cmd {
    let bytes: usize = messages.iter().map(|it| it.message.0.len()).sum();
    let more = messages.len() * (tail.len() + 64);
    let mut write = Cmd::with_capacity(2 + 2 * messages.len(), bytes + more);
    write.arg("HSET").arg(unacked);
    for claimed in messages {
        write.arg(name(claimed.tag));
        let mut entry = write.writer_for_next_arg();
        for part in [b"[", &*claimed.message.0, tail.as_bytes()] {
            // Writing to memory does not fail.
            let _ = entry.write_all(part);
        }
    }
    write
}

/// Returns the time of an answer to `TIME`, in the form in which scripts write scores.
fn time_text(answer: Value) -> Option<String> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let mut parts = parts
        .into_iter()
        .map(|part| String::from_utf8(bytes(part)?).ok());
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(format!("{seconds}.{micros:0>6}"))
}

#[cfg(test)]
mod tests;
