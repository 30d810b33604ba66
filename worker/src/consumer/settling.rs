//! The settle role: gets a verdict for every outcome, reports it, and carries out the verdicts in
//! batches.
//!
//! * A verdict that needs only an ack goes to the ledger at once; the next claim carries it.
//! * Other verdicts wait up to [`LINGER`] while more can join them, and are then settled in one
//!   call.
//! * For results on another server, the role first checks the lease, then stores the result there,
//!   and then settles here.
//!
//! Its queues are bounded by the number of held messages: every order is about a delivery that
//! keeps its place until it is settled. While the broker or the result backend is away, the worker
//! soon claims nothing more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::result::{ResultDoc, State};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::canvas;
use super::members_first::MembersFirst;
use super::report;
use super::rules::{Rules, caught};
use crate::broker::{
    ACKS, Backend, Begin, Begun, Chord, Document, Fate, Join, LINGER, Ledger, Lock, Outbound, Part,
    ResultStep, Settled, Settlement, Step, Tag,
};
use crate::clock::now;
use crate::delivery::{Delivery, Order, Outcome};
use crate::failpoint::failpoint;
use crate::monitor::{Lost, Observer, Observers, Pulse};

/// The most settlements of one call. It keeps the script of a call within a few milliseconds.
const BATCH: usize = 250;

/// About the most bytes of one call: they have to arrive in the time of one answer.
const BATCH_BYTES: usize = 4 << 20;

/// The settle role, with what it shares with the other roles.
pub(crate) struct Settling<O, E> {
    pub(crate) outbound: O,
    /// The store of the results, if it is not the broker.
    pub(crate) elsewhere: Option<E>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) redelivery_limit: u32,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) observers: Observers,
    /// The messages whose start is noted because they may begin only once: the name of the count,
    /// by the tag of the delivery.
    pub(crate) noted: HashMap<Tag, String>,
    /// Settlements that wait until the members of their chords have been known for a moment.
    pub(crate) failed_chords: MembersFirst,
}

/// The orders that are not yet carried out.
#[derive(Default)]
struct Pending {
    acks: Vec<Tag>,
    settlements: Vec<Settlement>,
    /// Deliveries to be counted before they run.
    begin: Vec<(Delivery, oneshot::Sender<Delivery>)>,
    states: Vec<Document>,
    stored: Vec<oneshot::Sender<()>>,
    /// Locks to be freed before the code of their messages begins.
    locks: Vec<(Tag, Lock)>,
    freed: Vec<oneshot::Sender<()>>,
    /// Documents to be read.
    reads: Vec<Read>,
}

/// The ids of tasks whose documents are to be read, and where these go.
type Read = (Vec<String>, oneshot::Sender<Vec<Option<ResultDoc>>>);

impl<O: Outbound, E: Backend> Settling<O, E> {
    pub(crate) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        self.outbound.ready().await;
        let mut pending = Pending::default();
        let mut received = Vec::with_capacity(BATCH);
        let mut deadline: Option<Instant> = None;
        let mut settled = Instant::now();
        loop {
            self.pulse.beat();
            // This check settles at once; a timer would take at least a millisecond.
            let verdicts = pending.settlements.len();
            if is_complete(verdicts, self.ledger.busy(), settled.elapsed()) {
                deadline = None;
                self.settle(&mut pending.settlements).await;
                settled = Instant::now();
            }
            tokio::select! {
                biased;
                () = sleep_until(deadline), if deadline.is_some() => {
                    deadline = None;
                    self.settle(&mut pending.settlements).await;
                    settled = Instant::now();
                }
                () = sleep_until(self.failed_chords.due()), if self.failed_chords.due().is_some() => {
                    let due = self.failed_chords.take_due(Instant::now());
                    self.carry_out(due).await;
                }
                count = orders.recv_many(&mut received, BATCH) => {
                    if count == 0 {
                        self.settle(&mut pending.settlements).await;
                        let held = self.failed_chords.take_all();
                        return self.carry_out(held).await;
                    }
                    for order in received.drain(..) {
                        self.take(order, &mut pending);
                    }
                    self.do_at_once(&mut pending).await;
                    if !pending.settlements.is_empty() {
                        deadline.get_or_insert_with(|| Instant::now() + LINGER);
                    }
                }
                () = self.pulse.turn() => {}
            }
        }
    }

    fn take(&self, order: Order, pending: &mut Pending) {
        match order {
            Order::Finish(delivery, outcome) => self.finish(delivery, outcome, pending),
            Order::Begin(delivery, begun) => pending.begin.push((delivery, begun)),
            Order::Settle(settlement) => self.enqueue(settlement, pending),
            Order::Read(ids, answer) => pending.reads.push((ids, answer)),
            Order::Unlock(tag, lock, freed) => {
                pending.locks.push((tag, lock));
                pending.freed.push(freed);
            }
            Order::State {
                task,
                state,
                meta,
                stored,
            } => {
                if let Some(document) = self.rules.state(&task, &state, meta, now()) {
                    pending.states.push(document);
                    pending.stored.push(stored);
                } else {
                    // The states of this task are not stored, so the task may go on at once.
                    let _ = stored.send(());
                }
            }
        }
    }

    fn finish(&self, delivery: Delivery, outcome: Outcome, pending: &mut Pending) {
        let now = now();
        let plan = caught(|| {
            let verdict = self.rules.judge(&delivery, outcome, now);
            report::verdict(&delivery, &verdict, &self.observers);
            self.rules.plan(&delivery, verdict, now)
        });
        self.enqueue(plan.unwrap_or_else(|| self.bug(&delivery)), pending);
    }

    fn bug(&self, delivery: &Delivery) -> Settlement {
        self.observers.bug(delivery.of());
        self.rules.bug(delivery, now())
    }

    fn enqueue(&self, settlement: Settlement, pending: &mut Pending) {
        // The count of a noted message is forgotten after its settlement.
        if settlement.is_ack() && !self.noted.contains_key(&settlement.tag) {
            return pending.acks.push(settlement.tag);
        }
        self.ledger.answered(settlement.tag, settlement.size());
        pending.settlements.push(settlement);
    }

    /// Counts the deliveries that begin. A task that was begun too often without being finished
    /// becomes a dead letter; the others may run.
    async fn begin(&mut self, pending: &mut Pending) {
        let deliveries = std::mem::take(&mut pending.begin);
        let begun: Vec<Begun<'_>> = deliveries
            .iter()
            .map(|(delivery, _)| {
                let from_first = self.begins_once(&delivery.task);
                let limit = if from_first { 1 } else { self.redelivery_limit };
                Begun {
                    tag: delivery.tag,
                    name: delivery.task.redelivery_name(),
                    limit: limit.into(),
                    from_first,
                }
            })
            .collect();
        let answers = self.outbound.begin(&begun).await;
        let mut succeeded = self.succeeded_before(&deliveries, &answers).await;
        for ((mut delivery, begun), answer) in deliveries.into_iter().zip(answers) {
            if let Some(document) = succeeded.remove(&delivery.tag) {
                delivery.orders = None;
                // Python's worker publishes what follows before it stores the result. With results on
                // another server, this worker publishes it after that.
                let children = document.children.is_some_and(|them| !them.is_empty());
                let outcome = Outcome::SucceededBefore {
                    value: document.result,
                    has_followed: self.elsewhere.is_none() && children,
                };
                self.finish(delivery, outcome, pending);
            } else if answer == Begin::Again {
                delivery.orders = None;
                self.ledger.forget(&[delivery.tag]);
            } else if answer != Begin::Run && self.begins_once(&delivery.task) {
                delivery.orders = None;
                self.finish(delivery, Outcome::WorkerLost, pending);
            } else if let Begin::Poison(count) = answer {
                self.observers.poison(delivery.of(), count);
                let end = self.rules.poison(&delivery, count, now());
                let end = end.unwrap_or_else(|| self.bug(&delivery));
                delivery.orders = None;
                self.enqueue(end, pending);
            } else if let Err(mut delivery) = begun.send(self.note(delivery)) {
                // An error means that the worker no longer waits for this delivery.
                delivery.orders = None;
                self.finish(delivery, Outcome::NotStarted, pending);
            }
        }
    }

    /// Returns the results of the redelivered messages that may begin although they have succeeded,
    /// if such messages are not run again.
    async fn succeeded_before(
        &mut self,
        deliveries: &[(Delivery, oneshot::Sender<Delivery>)],
        answers: &[Begin],
    ) -> HashMap<Tag, ResultDoc> {
        if !self.rules.deduplicates || !self.rules.results {
            return HashMap::new();
        }
        let again = deliveries.iter().zip(answers);
        let again = again
            .filter(|((delivery, _), answer)| delivery.task.redelivered && **answer == Begin::Run);
        let (tags, ids): (Vec<Tag>, Vec<String>) = again
            .map(|((delivery, _), _)| (delivery.tag, delivery.task.id.clone()))
            .unzip();
        if ids.is_empty() {
            return HashMap::new();
        }
        let documents = self.read(&ids).await;
        let found = tags.into_iter().zip(documents);
        let found = found.filter_map(|(tag, document)| Some((tag, document?)));
        found
            .filter(|(_, document)| document.status == State::Success)
            .collect()
    }

    /// Remembers that the start of a message is noted, if it may begin only once.
    fn note(&mut self, mut delivery: Delivery) -> Delivery {
        delivery.is_noted = self.begins_once(&delivery.task);
        if delivery.is_noted {
            let name = delivery.task.redelivery_name().to_owned();
            self.noted.insert(delivery.tag, name);
        }
        delivery
    }

    /// Forgets that messages may begin only once, if these settlements have ended them. `settled`
    /// is what the broker says about them.
    async fn forget_noted(&mut self, batch: &[Settlement], settled: &Settled) {
        if self.noted.is_empty() {
            return;
        }
        let mut names = Vec::new();
        for (at, settlement) in batch.iter().enumerate() {
            let Some(name) = self.noted.remove(&settlement.tag) else {
                continue;
            };
            let has_ended = matches!(settlement.fate, Fate::Ack | Fate::Dead(_));
            if has_ended && settled.has(at) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            self.outbound.forget_begun(&names).await;
        }
    }

    /// Returns `true` if the code of a message of this task begins at most once.
    fn begins_once(&self, task: &Task) -> bool {
        // A task whose name makes the registry fail runs into that bug later.
        caught(|| self.rules.names.at_most_once(&task.name)) == Some(true)
    }

    async fn do_at_once(&mut self, pending: &mut Pending) {
        if !pending.begin.is_empty() {
            self.begin(pending).await;
        }
        if !pending.locks.is_empty() {
            self.outbound.unlock(&pending.locks).await;
            pending.locks.clear();
            for freed in pending.freed.drain(..) {
                let _ = freed.send(());
            }
        }
        for (ids, answer) in std::mem::take(&mut pending.reads) {
            // An error means that the task has ended meanwhile.
            let _ = answer.send(self.read(&ids).await);
        }
        if !pending.acks.is_empty() {
            self.ledger.acknowledge(&pending.acks);
            pending.acks.clear();
        }
        if !pending.states.is_empty() {
            self.store(&pending.states).await;
            pending.states.clear();
            for stored in pending.stored.drain(..) {
                let _ = stored.send(());
            }
        }
    }

    async fn read(&mut self, ids: &[String]) -> Vec<Option<ResultDoc>> {
        match &mut self.elsewhere {
            Some(backend) => backend.read(ids).await,
            None => self.outbound.read(ids).await,
        }
    }

    async fn store(&mut self, documents: &[Document]) {
        match &mut self.elsewhere {
            Some(backend) => backend.store(documents).await,
            None => self.outbound.store(documents).await,
        }
    }

    async fn settle(&mut self, settlements: &mut Vec<Settlement>) {
        let mut settlements = std::mem::take(settlements);
        while !settlements.is_empty() {
            let rest = settlements.split_off(one_call(settlements.iter().map(Settlement::size)));
            self.count_parts(&mut settlements).await;
            let first = self.failed_chords.hold(&mut settlements, Instant::now());
            if !first.is_empty() {
                self.store(&first).await;
            }
            self.carry_out(settlements).await;
            settlements = rest;
        }
    }

    /// Carries out settlements whose chord members have been counted.
    async fn carry_out(&mut self, mut settlements: Vec<Settlement>) {
        while !settlements.is_empty() {
            let rest = settlements.split_off(one_call(settlements.iter().map(Settlement::size)));
            self.carry_out_batch(settlements).await;
            settlements = rest;
        }
    }

    async fn carry_out_batch(&mut self, mut batch: Vec<Settlement>) {
        let mut ends = Vec::new();
        if self.elsewhere.is_some() {
            ends = self.store_elsewhere(&mut batch).await;
        }
        failpoint!("settle");
        let settled = self.outbound.settle(&batch).await;
        failpoint!("settled");
        for (at, settlement) in batch.iter().enumerate() {
            // What the broker has not put to the dead letters comes again.
            if settled.failed.iter().all(|(failed, _)| *failed != at)
                && !settled.put_off.contains(&at)
            {
                for letter in settlement.letters() {
                    self.observers.dead_letter(&letter.cause);
                }
            }
        }
        let tags: Vec<Tag> = batch.iter().map(|settlement| settlement.tag).collect();
        if !settled.repeated {
            let lost = settled.lost.iter().filter_map(|at| tags.get(*at));
            let lost: Vec<Tag> = lost.copied().collect();
            // Leases already known to be lost have been reported; count only new ones.
            let lost = self.ledger.lose(&lost);
            if lost > 0 {
                self.observers.lost(lost, Lost::Settled);
            }
        }
        self.report_published(&batch, &settled);
        self.forget_noted(&batch, &settled).await;
        for (position, why) in &settled.failed {
            let tag = batch
                .get(*position)
                .map_or_else(String::new, |settlement| settlement.tag.to_string());
            self.observers.unsettled(&tag, why);
        }
        if let Some(backend) = &mut self.elsewhere {
            ends.retain(|(position, _)| !settled.lost.contains(position));
            let ends: Vec<_> = ends.into_iter().map(|(_, end)| end).collect();
            backend.chords(&[], &ends).await;
        }
        self.ledger.forget(&tags);
    }

    /// Reports the messages that a call has published: their spans, and that they were sent.
    fn report_published(&self, batch: &[Settlement], settled: &Settled) {
        let decode = self.rules.decode_sent;
        if !self.rules.traces.are_on() && decode.is_none() {
            return;
        }
        for (at, settlement) in batch.iter().enumerate() {
            if !settled.has(at) {
                continue;
            }
            for outgoing in settlement.published() {
                if let Some(span) = &outgoing.span {
                    self.observers.published(span, &outgoing.queue);
                }
                let sent = decode.and_then(|decode| decode(&outgoing.message, &outgoing.queue));
                if let Some(task) = sent {
                    self.observers.sent(&task, &outgoing.queue);
                }
            }
        }
    }

    /// Counts the members of chords in a batch, and adds what follows from chords that are
    /// complete. The failure of a chord's body can be a member of another chord, so the count is
    /// repeated until nothing is left to count.
    async fn count_parts(&mut self, batch: &mut [Settlement]) {
        let mut lost = None;
        loop {
            let (mut places, mut parts) = (Vec::new(), Vec::new());
            for (place, settlement) in batch.iter_mut().enumerate() {
                for part in settlement.take_parts() {
                    places.push(place);
                    parts.push(part);
                }
            }
            if parts.is_empty() {
                if lost.is_some() {
                    failpoint!("counted");
                }
                return;
            }
            if lost.is_none() {
                // If the lease of a task is lost, the worker that has the task now counts it. As
                // with results elsewhere, the lease can still be lost shortly after this check.
                let tags: Vec<Tag> = places.iter().map(|place| batch[*place].tag).collect();
                lost = Some(self.outbound.renew(&tags).await);
            }
            let gone = |place: &usize| {
                let tag = batch[*place].tag;
                lost.as_ref().is_some_and(|lost| lost.contains(&tag))
            };
            let (places, parts): (Vec<usize>, Vec<Part>) = places
                .into_iter()
                .zip(parts)
                .filter(|(place, _)| !gone(place))
                .unzip();
            let mut counted = Vec::with_capacity(parts.len());
            for chunk in parts.chunks(BATCH) {
                counted.extend(match &mut self.elsewhere {
                    Some(backend) => backend.count(chunk).await,
                    None => self.outbound.count(chunk).await,
                });
            }
            for ((place, part), counted) in places.into_iter().zip(&parts).zip(counted) {
                let steps = match counted {
                    Ok(None) => continue,
                    Ok(Some(complete)) => canvas::after_chord(&self.rules, part, &complete, now()),
                    Err(why) => vec![canvas::not_counted(&self.rules, part, &why)],
                };
                batch[place].steps.extend(steps);
            }
        }
    }

    /// Stores the results of a batch on their own server, and removes them from the batch. Returns
    /// the chords that end with the batch, each with the position of its settlement.
    async fn store_elsewhere(&mut self, batch: &mut [Settlement]) -> Vec<(usize, Join)> {
        let tags: Vec<Tag> = batch.iter().map(|settlement| settlement.tag).collect();
        let mut ends = Vec::new();
        let Some(backend) = &mut self.elsewhere else {
            return ends;
        };
        // For one round trip after this check, a lease can still be lost unnoticed.
        let lost = self.outbound.renew(&tags).await;
        let mut documents = Vec::with_capacity(batch.len());
        let mut begins: Vec<Chord> = Vec::new();
        for (position, settlement) in batch.iter_mut().enumerate() {
            if lost.contains(&settlement.tag) {
                // None of its steps will be carried out.
                settlement.steps.clear();
                continue;
            }
            let mut steps: VecDeque<Step> = std::mem::take(&mut settlement.steps).into();
            while let Some(step) = steps.pop_front() {
                match step {
                    Step::Result(ResultStep::Store(document)) => documents.push(document),
                    Step::Result(ResultStep::Chord(chord)) => begins.push(chord),
                    Step::Result(ResultStep::Join(mut join)) => {
                        steps.extend(std::mem::take(&mut join.steps));
                        ends.push((position, join));
                    }
                    step => settlement.steps.push(step),
                }
            }
        }
        backend.store(&documents).await;
        failpoint!("stored");
        backend.chords(&begins, &[]).await;
        ends
    }
}

/// Returns `true` if the waiting verdicts should be settled now. `quiet` is the time since the last
/// settlement.
///
/// There are three reasons to settle: at least [`ACKS`] verdicts wait; all `busy` messages have
/// their verdict, so that no other can join; or the last settlement is [`LINGER`] ago, so that the
/// next verdict is not expected soon. A worker with little to do therefore answers without delay.
fn is_complete(verdicts: usize, busy: usize, quiet: Duration) -> bool {
    verdicts > 0 && (verdicts >= ACKS.min(busy) || quiet >= LINGER)
}

/// Returns how many settlements of these sizes go into one call: at least one.
fn one_call(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = sizes.take(BATCH).take_while(|size| {
        let first = bytes == 0;
        bytes += size.max(&1);
        first || bytes <= BATCH_BYTES
    });
    fits.count()
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_wait_only_while_others_can_join_them() {
        let ms = Duration::from_millis;
        assert!(is_complete(1, 1, ms(0)));
        assert!(!is_complete(1, 2, ms(4)));
        assert!(is_complete(1, 2, ms(5)));
        assert!(!is_complete(0, 2, ms(5)));
        assert!(!is_complete(ACKS - 1, 400, ms(0)) && is_complete(ACKS, 400, ms(0)));
    }

    #[test]
    fn a_call_is_bounded_in_bytes() {
        let fit = |sizes: &[usize]| one_call(sizes.iter().copied());
        assert_eq!(fit(&[10; 300]), BATCH);
        assert_eq!(fit(&[2 * BATCH_BYTES, 1]), 1);
        assert_eq!(fit(&[1, BATCH_BYTES, 1]), 1);
        assert_eq!(fit(&[1, 2, BATCH_BYTES / 2, BATCH_BYTES]), 3);
    }
}
