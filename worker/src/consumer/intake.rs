//! The intake role: reads each claimed message and decides whether its task runs, waits or ends
//! here.
//!
//! Messages are read and handed out one by one, because the size of a decoded body is known only
//! after reading. Reading pauses while the held messages take more memory than allowed. The other
//! messages wait unread, and go back unread when the worker stops.
//!
//! If this code panics because of a message, or the code that works out its follow-ups does, the
//! message becomes a dead letter and the worker goes on. A message that ends the process is counted
//! (see `peek`).
//!
//! ```text
//!   read ──► not readable ─► dead letter          known ──► expired ─► REVOKED
//!     │                                             │
//!     │                                             ├─────► unique, and a duplicate ─► REVOKED
//!     │                                             ├─────► ETA ahead ─► parked ──► due ─┐
//!     └────► name unknown ─► dead letter            └────────────────────────────────────┴──► delivered
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::{DecodeError, DecodeOptions};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::parked::{Parked, Waiting, hash};
use super::rules::{Rules, caught};
use super::transition::BUG;
use crate::broker::{
    Begin, Begun, Claimed, Fate, Held, Ledger, Letter, Outbound, Peek, Settlement, Tag,
};
use crate::clock::now;
use crate::delivery::{Delivery, Order, Outbox, Outcome};
use crate::failpoint::failpoint;
use crate::monitor::{Observer, Observers, Pulse};
use crate::trace::Traces;
use crate::{Phase, Shutdown};

/// How often the wall clock is read while a message waits for its ETA, so that a corrected clock is
/// noticed.
const LOOK: Duration = Duration::from_secs(1);

/// The most due messages that are fetched at once, and the most waiting ones that are given back.
const FETCH: usize = 250;

/// About the most bytes of due messages that are fetched at once: they have to arrive in the time
/// of one answer.
pub(crate) const FETCH_BYTES: usize = 4 << 20;

/// The most parked messages that are listed at once: about a megabyte of answer.
const MOST_LISTED: usize = 1_000;

/// The intake role, with what it shares with the other roles.
pub(crate) struct Intake<O: Outbound> {
    pub(crate) outbound: O,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) shutdown: Shutdown,
    pub(crate) parked: Parked,
    /// What remote control asks about the parked messages.
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) unread: Unread<O::Message>,
    pub(crate) accept: Vec<Serializer>,
    pub(crate) redelivery_limit: u32,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) observers: Observers,
    pub(crate) traces: Traces,
}

/// What remote control asks about the parked messages.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To list them.
    List(oneshot::Sender<Vec<Waiting>>),
    /// To settle those of revoked tasks, whose ids are hashed.
    Revoked(HashSet<u64>),
}

/// The messages that are held and not yet read, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Unread<M> {
    /// Each message has `true` beside it if it has waited for its ETA.
    messages: VecDeque<(Claimed<M>, bool)>,
    bytes: usize,
}

impl<M> Default for Unread<M> {
    fn default() -> Self {
        Unread {
            messages: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<M: Held> Unread<M> {
    fn push(&mut self, claimed: Claimed<M>, was_due: bool) {
        self.bytes += claimed.message.size();
        self.messages.push_back((claimed, was_due));
    }

    fn pop(&mut self) -> Option<(Claimed<M>, bool)> {
        let (claimed, was_due) = self.messages.pop_front()?;
        self.bytes -= claimed.message.size();
        Some((claimed, was_due))
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl<O: Outbound> Intake<O> {
    /// Runs until the fetch role has closed `claimed` and all messages are read. Then gives back the
    /// parked messages and ends the deliveries.
    pub(crate) async fn run(
        mut self,
        mut claimed: mpsc::UnboundedReceiver<Vec<Claimed<O::Message>>>,
    ) {
        self.outbound.ready().await;
        let mut open = true;
        while open || !self.unread.is_empty() {
            self.pulse.beat();
            tokio::select! {
                batch = claimed.recv(), if open => match batch {
                    Some(batch) => batch.into_iter().for_each(|it| self.unread.push(it, false)),
                    None => open = false,
                },
                Some(asked) = self.asked.recv() => self.answer(asked).await,
                () = self.ledger.lighter.notified(), if !self.unread.is_empty() => {}
                () = until_due(self.parked.next_eta()) => self.fetch_due().await,
                () = self.shutdown.reached(Phase::Draining), if self.parked.next_eta().is_some() => {
                    self.give_back_parked().await;
                }
                () = self.shutdown.reached(Phase::Warm), if !self.unread.is_empty() => {
                    self.give_back_unread();
                }
                () = self.pulse.turn() => {}
            }
            self.read().await;
        }
        self.give_back_parked().await;
    }

    async fn answer(&mut self, asked: Asked) {
        match asked {
            Asked::List(list) => {
                // An error means that the asking side has given up.
                let _ = list.send(self.parked.first(MOST_LISTED, FETCH_BYTES));
            }
            Asked::Revoked(ids) => {
                for waiting in self.parked.of_tasks(&ids) {
                    // It counts as newly claimed: if its id only has the hash of a revoked one, it
                    // waits again. One at a time, because its body may be large.
                    self.fetch_again(vec![waiting], false).await;
                    self.read().await;
                }
            }
        }
    }

    /// Reads as many messages as there is room for.
    async fn read(&mut self) {
        let (mut park, mut locking) = (Vec::new(), Vec::new());
        while self.has_room()
            && let Some((claimed, was_due)) = self.unread.pop()
        {
            let Some(delivery) = self.receive(claimed, was_due).await else {
                continue;
            };
            match caught(|| self.rules.names.unique(&delivery.task)) {
                Some(Some(unique)) => locking.push((delivery, unique, was_due)),
                _ => park.extend(self.pass_on(delivery, was_due).await),
            }
        }
        for (delivery, was_due) in self.lock(locking).await {
            park.extend(self.pass_on(delivery, was_due).await);
        }
        self.park(park).await;
    }

    /// Returns `true` if one more message may be read. Unread messages do not count: they would
    /// block the reading that makes room.
    fn has_room(&self) -> bool {
        let read = self.ledger.bytes().saturating_sub(self.unread.bytes);
        read < self.ledger.byte_limit()
    }

    /// Reads one message. Returns it if its task can run now or at its ETA.
    async fn receive(&mut self, claimed: Claimed<O::Message>, was_due: bool) -> Option<Delivery> {
        let Claimed {
            tag,
            queue,
            message,
        } = claimed;
        let peek = message.peek();
        if let Some(peek) = &peek
            && !self.may_be_read(peek, tag, &queue).await
        {
            return None;
        }
        let task = caught(|| {
            failpoint!("read");
            message.decode(&DecodeOptions::default().accept(&self.accept))
        });
        if let Some(peek) = peek {
            self.outbound
                .forget_begun(std::slice::from_ref(&peek.count))
                .await;
        }
        let now = now();
        let mut task = match task {
            Some(Ok(task)) => task,
            Some(Err(error)) => {
                self.malformed(tag, &queue, &error, now);
                return None;
            }
            None => {
                self.observers.unreadable();
                self.settle(tag, Fate::Dead(Letter::unread(&queue, BUG)));
                return None;
            }
        };
        self.ledger.weigh(tag, task.size());
        let run = self.traces.enter(&mut task);
        let delivery = Delivery {
            tag,
            queue,
            task: Arc::new(task),
            received: Instant::now(),
            size: message.size(),
            outbox: Outbox::default(),
            run,
            unique: None,
            is_noted: false,
            orders: None,
        };
        drop(message);
        self.sort(delivery, was_due, now)
    }

    /// Returns `true` if a message may be read, although workers may have ended while they read it.
    async fn may_be_read(&mut self, peek: &Peek, tag: Tag, queue: &Arc<str>) -> bool {
        let limit = u64::from(self.redelivery_limit);
        let name = peek.count.as_str();
        let begun = Begun {
            tag,
            name,
            limit,
            from_first: false,
        };
        let answer = self.outbound.begin(&[begun]).await;
        let count = match answer.first() {
            Some(Begin::Poison(count)) => *count,
            Some(Begin::Again) => {
                self.ledger.forget(&[tag]);
                return false;
            }
            Some(Begin::Run) | None => return true,
        };
        self.observers
            .lethal(queue, &peek.id, &peek.task, count - 1);
        let end = self
            .rules
            .unreadable(tag, queue, &peek.id, &peek.task, count - 1, now());
        self.end(end);
        false
    }

    /// Returns the message if its task can run now or at its ETA.
    fn sort(&self, delivery: Delivery, was_due: bool, now: Timestamp) -> Option<Delivery> {
        let task = &delivery.task;
        match caught(|| self.rules.names.knows(&task.name)) {
            Some(true) => {}
            Some(false) => {
                self.observers.unregistered(delivery.of());
                let end = self.rules.unknown(&delivery, now);
                self.end(end.unwrap_or_else(|| self.bug(&delivery, now)));
                return None;
            }
            None => {
                self.end(self.bug(&delivery, now));
                return None;
            }
        }
        // As in Celery, a task that was revoked before it came sends no event that it was received.
        // While the list of revoked tasks is being read, the start of the task checks it.
        if self.ledger.is_revoked(task) {
            self.ended(delivery, Outcome::Revoked);
            return None;
        }
        if !was_due {
            self.observers.received(delivery.of());
        }
        if delivery.is_expired(now) {
            self.ended(delivery, Outcome::Expired);
            return None;
        }
        Some(delivery)
    }

    /// Hands a message to the executor. Returns it if it is to be parked.
    async fn pass_on(&mut self, mut delivery: Delivery, was_due: bool) -> Option<Waiting> {
        let (task, now) = (&delivery.task, now());
        if let Some(eta) = task.eta.map(|eta| eta.unix_micros())
            && !was_due
            && eta > now.unix_micros()
        {
            return Some(Waiting {
                eta,
                tag: delivery.tag,
                queue: Arc::clone(&delivery.queue),
                priority: task.priority(),
                size: delivery.size,
                id: hash(&task.id),
            });
        }
        delivery.orders = Some(self.orders.clone());
        self.ledger.reserve(delivery.tag, &delivery.task);
        failpoint!("deliver");
        // The channel has room for every message that can be held. The executor closes it when it
        // starts nothing more, possibly while a claim is under way: the messages of that claim go
        // back.
        if let Err(refused) = self.deliveries.send(delivery).await {
            self.ended(refused.0, Outcome::NotStarted);
        }
        None
    }

    async fn park(&mut self, waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let now = now().unix_micros();
        let waits: Vec<(Tag, i64)> = waiting
            .iter()
            .map(|w| (w.tag, w.eta.saturating_sub(now)))
            .collect();
        let tags: Vec<Tag> = waiting.iter().map(|w| w.tag).collect();
        // These messages are removed from the leases to renew before their scores are set. The lock
        // ensures that no renewal is running: it would overwrite the scores.
        let scores = self.ledger.scores.lock().await;
        self.ledger.park(&tags);
        let gone = self.outbound.park(&waits).await;
        failpoint!("parked");
        drop(scores);
        for waiting in waiting {
            if gone.contains(&waiting.tag) {
                self.ledger.unpark(1);
            } else {
                self.parked.push(waiting);
            }
        }
    }

    async fn fetch_due(&mut self) {
        let now = now().unix_micros();
        let due = self.parked.due(now, FETCH, FETCH_BYTES);
        self.fetch_again(due, true).await;
    }

    /// Holds parked messages again, and fetches their bodies.
    async fn fetch_again(&mut self, mut due: Vec<Waiting>, was_due: bool) {
        // Messages that do not fit go to the head of their queue, where any worker with room finds
        // them.
        let mut beyond = due.split_off(due.len().min(self.ledger.free()));
        // These messages get their places before the first await, because the fetch role fills all
        // places that are free.
        let held = due.iter().map(|waiting| (waiting.tag, waiting.size));
        self.ledger.hold(Instant::now(), held);
        self.ledger.unpark(due.len());
        // The message that is due first must come before the others.
        beyond.reverse();
        self.give_back(&beyond).await;
        let tags: Vec<Tag> = due.iter().map(|waiting| waiting.tag).collect();
        if tags.is_empty() {
            return;
        }
        failpoint!("due");
        let messages = self.outbound.fetch_parked(&tags).await;
        let gone = tags.iter().zip(&messages).filter(|(_, m)| m.is_none());
        let gone: Vec<Tag> = gone.map(|(tag, _)| *tag).collect();
        self.ledger.forget(&gone);
        for (tag, message) in tags.into_iter().zip(messages) {
            // `None`: another worker has the message, or it was purged.
            if let Some((queue, message)) = message {
                let claimed = Claimed {
                    tag,
                    queue,
                    message,
                };
                self.unread.push(claimed, was_due);
            }
        }
    }

    /// Gives back the unread messages, the last one first, so that the message that was claimed
    /// first comes first in its queue again.
    fn give_back_unread(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        for (claimed, _) in unread.messages.into_iter().rev() {
            let Claimed {
                tag,
                queue,
                message,
            } = claimed;
            match message.priority() {
                Ok(priority) => self.settle(tag, Fate::Return { queue, priority }),
                Err(error) => self.malformed(tag, &queue, &error, now()),
            }
        }
    }

    fn malformed(&self, tag: Tag, queue: &Arc<str>, error: &DecodeError, now: Timestamp) {
        self.observers.malformed(queue, error);
        self.end(self.rules.malformed(tag, queue, error, now));
    }

    /// Gives back the messages that wait for their ETA, so that other workers can hold them.
    async fn give_back_parked(&mut self) {
        let mut waiting = self.parked.drain();
        if waiting.is_empty() {
            return;
        }
        self.observers.gives_back(waiting.len());
        // The message that was claimed first must come first in its queue again, so it is given
        // back last.
        waiting.sort_unstable_by_key(|waiting| std::cmp::Reverse(waiting.tag));
        self.give_back(&waiting).await;
    }

    /// Puts parked messages at the heads of their queues, one after the other. The last one is then
    /// the first of its queue.
    async fn give_back(&mut self, waiting: &[Waiting]) {
        for chunk in waiting.chunks(FETCH) {
            let batch: Vec<Settlement> = chunk
                .iter()
                .map(|waiting| Settlement {
                    tag: waiting.tag,
                    fate: Fate::Return {
                        queue: Arc::clone(&waiting.queue),
                        priority: waiting.priority,
                    },
                    steps: Vec::new(),
                })
                .collect();
            self.outbound.settle(&batch).await;
            self.ledger.unpark(chunk.len());
        }
    }

    fn bug(&self, delivery: &Delivery, now: Timestamp) -> Settlement {
        self.observers.bug(delivery.of());
        self.rules.bug(delivery, now)
    }

    pub(super) fn ended(&self, delivery: Delivery, outcome: Outcome) {
        // The settle role ends after this one.
        let _ = self.orders.send(delivery.ended(outcome));
    }

    fn settle(&self, tag: Tag, fate: Fate) {
        let steps = Vec::new();
        self.end(Settlement { tag, fate, steps });
    }

    fn end(&self, settlement: Settlement) {
        // The settle role ends after this one.
        let _ = self.orders.send(Order::Settle(settlement));
    }
}

async fn until_due(eta: Option<i64>) {
    let Some(eta) = eta else {
        return std::future::pending().await;
    };
    let wait = u64::try_from(eta.saturating_sub(now().unix_micros())).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(wait).min(LOOK)).await;
}
