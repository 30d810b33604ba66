//! The part that carries out verdicts: first what follows is published and confirmed, then the
//! delivery ends.
//!
//! If the worker ends between the two, the message comes again: its result and what follows may
//! then exist twice, but nothing is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::amqp::aio::{Confirm, Publication};
use celery_client::backoff::Backoff;
use celery_protocol::amqp::{AmqpError, TableBuf};

use super::delay;
use super::lane::End;
use super::message::Message;
use super::piece::Piece;
use super::publisher::{Publisher, reason};
use super::replies::Reply;
use super::shared::Shared;
use crate::broker::backend::Backend;
use crate::broker::outbound::{self, Begin, Begun};
use crate::broker::settlement::{
    Chord, Complete, Document, Fate, Join, Part, Redelivery, ResultStep, Settled, Settlement, Step,
};
use crate::broker::tag::Tag;
use crate::failpoint::failpoint;
use crate::monitor::Pulse;

/// The shortest and the longest pause before messages come again whose dead letters RabbitMQ does not
/// take.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a message that was published anew for its start is expected to come back. Another worker
/// may get it, or there are many before it.
const RETURN: Duration = Duration::from_secs(30);

/// The part with which a role carries out verdicts.
pub(crate) struct Outbound {
    shared: Arc<Shared>,
    publisher: Publisher,
    /// The pauses before messages come again whose dead letters RabbitMQ does not take.
    pauses: Backoff,
    /// `true` once the log says that it does not take them.
    told: bool,
    /// When messages were published anew for their start that have not started here since.
    counted: VecDeque<Instant>,
}

impl Outbound {
    pub(super) fn new(shared: &Arc<Shared>, role: &'static str, pulse: &Arc<Pulse>) -> Self {
        Outbound {
            shared: Arc::clone(shared),
            publisher: Publisher::new(shared, role, pulse),
            pauses: Backoff::between(PAUSES.0, PAUSES.1),
            told: false,
            counted: VecDeque::new(),
        }
    }

    /// Publishes what settlements need. What RabbitMQ does not take for good is replaced as far as
    /// that is possible. Notes which settlements are not carried out.
    async fn publish<'b>(
        &mut self,
        shared: &'b Shared,
        mut pieces: Vec<(usize, Piece<'b>)>,
        settled: &mut Settled,
    ) {
        let (mut refusal, mut is_taken) = (None, false);
        while !pieces.is_empty() {
            let (mut sent, mut publications) = (Vec::new(), Vec::with_capacity(pieces.len()));
            for (at, piece) in &pieces {
                match piece.publication() {
                    Ok(publication) => {
                        sent.push((*at, piece));
                        publications.push(publication);
                    }
                    Err(error) => settled.failed.push((*at, error.to_string())),
                }
            }
            failpoint!("publish");
            let published = self.publisher.publish(&publications).await;
            failpoint!("confirmed");
            settled.repeated |= published.repeated;
            let mut instead = Vec::new();
            for ((at, piece), answer) in sent.into_iter().zip(&published.answers) {
                match (answer, piece) {
                    (Confirm::Taken, piece) => is_taken |= piece.is_dead(),
                    // Its task has ended, whether or not its sender learns of that.
                    (answer, Piece::Reply(reply)) => reply.refused(&reason(answer)),
                    (answer, piece) => match piece.instead(answer, &shared.node) {
                        Some(other) => instead.push((at, other)),
                        None if piece.is_dead() => {
                            settled.put_off.push(at);
                            refusal = Some(reason(answer));
                        }
                        None => settled.failed.push((at, reason(answer))),
                    },
                }
            }
            pieces = instead;
        }
        if is_taken {
            self.pauses.worked();
            self.told = false;
        }
        if let Some(why) = refusal
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::error!(
                "RabbitMQ does not take dead letters: {why}. Their messages come again after pauses \
                 of up to {} s",
                PAUSES.1.as_secs()
            );
        }
    }

    /// Lets deliveries come again after a pause. The server does that, too, if the worker ends.
    fn return_later(&mut self, tags: Vec<Tag>) {
        if tags.is_empty() {
            return;
        }
        let (shared, pause) = (Arc::clone(&self.shared), self.pauses.pause());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let ends = tags.into_iter().map(|tag| (tag, End::Requeue));
            // What is lost comes again in any case.
            shared.end(ends.collect()).await;
        });
    }

    /// Returns `true` if another start may be counted. A message waits for a slot between its count
    /// and its start, and would be counted without a start if the worker died then. So there are no
    /// more such messages than could start.
    fn may_count(&mut self) -> bool {
        while self.counted.front().is_some_and(|at| at.elapsed() > RETURN) {
            self.counted.pop_front();
        }
        self.counted.len() < self.shared.options.slots
    }

    /// Returns what is published for a settlement, and how its delivery ends then.
    fn plan<'b>(
        shared: &'b Shared,
        message: &Message,
        settlement: &'b Settlement,
    ) -> Result<(Vec<Piece<'b>>, End), AmqpError> {
        let mut pieces = Vec::new();
        let end = match &settlement.fate {
            Fate::Ack => End::Ack,
            Fate::Return { .. } => End::Requeue,
            Fate::Redeliver(redelivery) => match &**redelivery {
                // The broker puts it where it was, and marks it.
                Redelivery {
                    front: true,
                    clear: None,
                    ..
                } => End::Requeue,
                // A copy goes to the end of the queue. The broker does not mark it, but its count
                // does.
                Redelivery { queue, clear, .. } => {
                    let begun = if clear.is_some() {
                        0
                    } else {
                        message.begun().unwrap_or(0)
                    };
                    let headers = message.headers_with(begun)?;
                    pieces.push(Piece::Copy(message.clone(), queue, headers));
                    End::Ack
                }
            },
            Fate::Dead(letter) => {
                pieces.push(Piece::held(message.clone(), letter.clone(), &shared.node)?);
                End::Ack
            }
        };
        for step in &settlement.steps {
            match step {
                Step::Publish(outgoing) => {
                    pieces.push(Piece::Written(&outgoing.queue, &outgoing.message));
                }
                Step::Note(letter, text) => {
                    pieces.push(Piece::text(text, letter.clone(), &shared.node)?);
                }
                Step::Result(ResultStep::Store(document)) => {
                    let reply = reply(shared, document);
                    pieces.extend(reply.map(|it| Piece::Reply(Box::new(it))));
                }
                // There are no chords and no locks.
                Step::Result(_) | Step::Unlock(..) => {}
            }
        }
        Ok((pieces, end))
    }

    /// Publishes copies of held messages. Returns, for each, why that failed.
    async fn republish(&mut self, copies: &[Copy]) -> Vec<Result<(), String>> {
        if copies.is_empty() {
            return Vec::new();
        }
        let publications: Vec<Publication<'_>> = copies.iter().map(Copy::publication).collect();
        failpoint!("copy");
        let published = self.publisher.publish(&publications).await;
        failpoint!("copied");
        let answers = published.answers.iter().map(|answer| match answer {
            Confirm::Taken => Ok(()),
            answer => Err(reason(answer)),
        });
        answers.collect()
    }
}

/// Returns a document as a reply, if results are replies.
fn reply<'b>(shared: &Shared, document: &'b Document) -> Option<Reply<'b>> {
    shared.replies?.reply(document)
}

/// A held message that is published again, and its place in a call.
struct Copy {
    place: usize,
    message: Message,
    exchange: String,
    routing_key: String,
    headers: TableBuf,
}

impl Copy {
    fn publication(&self) -> Publication<'_> {
        Publication {
            exchange: &self.exchange,
            ..self.message.copy(&self.routing_key, &self.headers)
        }
    }
}

impl outbound::Outbound for Outbound {
    type Message = Message;

    async fn ready(&mut self) {
        self.publisher.ready().await;
    }

    async fn settle(&mut self, batch: &[Settlement]) -> Settled {
        let mut settled = Settled::default();
        let (mut pieces, mut ends) = (Vec::new(), Vec::new());
        let shared = Arc::clone(&self.shared);
        for (at, settlement) in batch.iter().enumerate() {
            let Some(message) = self.shared.held(settlement.tag) else {
                settled.lost.push(at);
                continue;
            };
            match Self::plan(&shared, &message, settlement) {
                Ok((planned, end)) => {
                    pieces.extend(planned.into_iter().map(|piece| (at, piece)));
                    ends.push((at, end));
                }
                Err(error) => settled.failed.push((at, error.to_string())),
            }
        }
        self.publish(&shared, pieces, &mut settled).await;
        let later = settled.put_off.iter().map(|at| batch[*at].tag);
        self.return_later(later.collect());
        // A message whose end failed goes back, and runs again. Its redeliveries are counted.
        let failed = settled
            .failed
            .iter()
            .filter(|(at, _)| !settled.put_off.contains(at));
        let failed = failed.map(|(at, _)| (*at, End::Requeue));
        let ends = ends.into_iter().filter(|(at, _)| settled.has(*at));
        let mut ends: Vec<(usize, End)> = ends.chain(failed).collect();
        ends.sort_unstable_by_key(|(at, _)| *at);
        ends.dedup_by_key(|(at, _)| *at);
        let tags = ends.iter().map(|(at, end)| (batch[*at].tag, *end));
        let lost = self.shared.end(tags.collect()).await;
        if !lost.is_empty() {
            let lost = ends.iter().filter(|(at, _)| lost.contains(&batch[*at].tag));
            settled.lost.extend(lost.map(|(at, _)| *at));
        }
        settled
    }

    async fn begin(&mut self, begun: &[Begun<'_>]) -> Vec<Begin> {
        let mut answers = Vec::with_capacity(begun.len());
        let mut copies = Vec::new();
        for (place, it) in begun.iter().enumerate() {
            let (answer, copy) = self.next_count(place, it);
            answers.push(answer);
            copies.extend(copy);
        }
        let republished = self.republish(&copies).await;
        let mut ends = Vec::new();
        for (copy, republished) in copies.iter().zip(republished) {
            match republished {
                Ok(()) => {
                    answers[copy.place] = Begin::Again;
                    ends.push((begun[copy.place].tag, End::Ack));
                }
                Err(reason) => cannot_count(&copy.message, &reason),
            }
        }
        self.shared.end(ends).await;
        answers
    }

    async fn forget_begun(&mut self, _: &[String]) {
        // The count is kept with the message.
    }

    async fn renew(&mut self, tags: &[Tag]) -> Vec<Tag> {
        self.shared.lost(tags)
    }

    async fn park(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
        let (mut gone, mut copies) = (Vec::new(), Vec::new());
        for (place, (tag, wait)) in messages.iter().enumerate() {
            let wait = Duration::from_micros(u64::try_from(*wait).unwrap_or(0));
            let Some(message) = self.shared.held(*tag) else {
                gone.push(*tag);
                continue;
            };
            if wait >= delay::SOON && self.publisher.delays(message.queue()).await {
                copies.extend(delayed(place, &message, wait));
            }
        }
        let republished = self.republish(&copies).await;
        let mut ends = Vec::new();
        for (copy, republished) in copies.iter().zip(republished) {
            let tag = messages[copy.place].0;
            match republished {
                Ok(()) => ends.push((tag, End::Ack)),
                Err(reason) => tracing::warn!(
                    "RabbitMQ does not keep a message of {} until its ETA: {reason}. It waits in \
                     this worker",
                    copy.message.queue()
                ),
            }
        }
        gone.extend(ends.iter().map(|(tag, _)| *tag));
        self.shared.end(ends).await;
        gone
    }

    async fn fetch_parked(&mut self, tags: &[Tag]) -> Vec<Option<(Arc<str>, Message)>> {
        let held = tags.iter().map(|tag| self.shared.held(*tag));
        held.map(|held| held.map(|message| (Arc::clone(message.queue()), message)))
            .collect()
    }
}

impl Outbound {
    /// Decides whether a message may begin. A message that the broker delivered again is published
    /// anew with the next count; the copy begins when it comes. If others are on this way, it begins
    /// without a count.
    fn next_count(&mut self, place: usize, begun: &Begun<'_>) -> (Begin, Option<Copy>) {
        let Some(message) = self.shared.held(begun.tag) else {
            return (Begin::Run, None);
        };
        let before = message.begun();
        // A message with a count was published with it, unless the broker has delivered it again.
        let is_counted = before.is_some_and(|count| count > 0) || !begun.from_first;
        if !message.is_redelivered_by_broker() && is_counted {
            self.counted.pop_front();
            return (Begin::Run, None);
        }
        let count = before.unwrap_or(0) + 1;
        if count > begun.limit {
            return (Begin::Poison(count), None);
        }
        // What may begin only once must be counted.
        if !begun.from_first && !self.may_count() {
            return (Begin::Run, None);
        }
        match message.headers_with(count) {
            Ok(headers) => {
                self.counted.push_back(Instant::now());
                let copy = Copy {
                    place,
                    exchange: String::new(),
                    routing_key: message.queue().to_string(),
                    message,
                    headers,
                };
                (Begin::Run, Some(copy))
            }
            Err(error) => {
                cannot_count(&message, &error.to_string());
                (Begin::Run, None)
            }
        }
    }
}

fn cannot_count(message: &Message, reason: &str) {
    tracing::warn!(
        "The start of a message of {} cannot be counted, and it starts: {reason}",
        message.queue()
    );
}

/// Returns the copy with which the broker keeps a message until it is due. `None`: its headers cannot
/// be read.
fn delayed(place: usize, message: &Message, wait: Duration) -> Option<Copy> {
    let headers = match message.begun() {
        Some(count) => message.headers_with(count),
        None => message.headers(),
    };
    Some(Copy {
        place,
        message: message.clone(),
        exchange: delay::entrance(),
        routing_key: delay::routing_key(wait, message.queue()),
        headers: headers.ok()?,
    })
}

impl Backend for Outbound {
    /// Sends documents as replies, if results are replies. Otherwise they are elsewhere or nowhere.
    async fn store(&mut self, documents: &[Document]) {
        let replies: Vec<Reply<'_>> = documents
            .iter()
            .filter_map(|it| reply(&self.shared, it))
            .collect();
        if replies.is_empty() {
            return;
        }
        let publications: Vec<Publication<'_>> = replies.iter().map(Reply::publication).collect();
        let published = self.publisher.publish(&publications).await;
        for (reply, answer) in replies.iter().zip(&published.answers) {
            if *answer != Confirm::Taken {
                reply.refused(&reason(answer));
            }
        }
    }

    async fn count(&mut self, parts: &[Part]) -> Vec<Result<Option<Complete>, String>> {
        let why = "RabbitMQ keeps no chords: they need a result backend on Redis";
        parts.iter().map(|_| Err(why.to_owned())).collect()
    }

    async fn chords(&mut self, _: &[Chord], _: &[Join]) {}
}
