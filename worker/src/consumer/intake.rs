//! The intake role: reads what was claimed and decides, message by message, whether it is run, waits or ends here.
//!
//! Everything claimed is read at once, before anything else happens: in `unacked`, what cannot be read would break
//! Python's sweepers, so it must not stay there.
//!
//! ```text
//!   read ──► not readable ─► dead letter          known ──► expired ─► REVOKED
//!     │                                             │
//!     │                                             ├─────► ETA ahead ─► parked ──► due ─┐
//!     └────► name unknown ─► dead letter            └────────────────────────────────────┴──► delivered
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::parked::{Parked, Waiting};
use super::transition::Rules;
use crate::clock::now;
use crate::delivery::{Delivery, Order, Tag, Verdict, is_expired};
use crate::failpoint::failpoint;
use crate::monitor::metrics::{Metrics, Of};
use crate::source::redis::{MAX_PARKED, RedisSource};
use crate::source::{Claimed, Settlement, Source, Step};
use crate::{Phase, Shutdown};

/// The wall clock is looked at this often while something waits for its ETA, so that a clock that is set right is
/// noticed.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Intake {
    pub(crate) source: RedisSource,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) shutdown: Shutdown,
    pub(crate) parked: Parked,
    pub(crate) metrics: Metrics,
}

impl Intake {
    /// Runs until no more can be claimed; then gives back what waits, and ends the deliveries.
    pub(crate) async fn run(mut self, mut claimed: mpsc::UnboundedReceiver<Vec<Claimed>>) {
        self.source.ready().await;
        loop {
            tokio::select! {
                batch = claimed.recv() => match batch {
                    Some(batch) => self.receive(batch).await,
                    None => break,
                },
                () = until_due(self.parked.next_eta()) => self.fetch_due().await,
                () = self.shutdown.reached(Phase::Draining), if self.parked.next_eta().is_some() => {
                    self.give_back_parked().await;
                }
            }
        }
        self.give_back_parked().await;
    }

    async fn receive(&mut self, batch: Vec<Claimed>) {
        let now = now();
        let mut read = Vec::with_capacity(batch.len());
        for Claimed { tag, queue, raw } in batch {
            match Task::decode_redis(&raw) {
                Ok(task) => read.push(self.delivery(tag, queue, task)),
                Err(error) => {
                    tracing::error!(
                        "Received invalid task message: {error}. It was moved to the dead letters"
                    );
                    self.settle(tag, self.rules.malformed(&queue, &error, now));
                }
            }
        }
        let mut park = Vec::new();
        for delivery in read {
            if !self.rules.names.knows(&delivery.task.name) {
                tracing::error!(
                    "Received unregistered task of type '{}'. The message was moved to the dead letters",
                    delivery.task.name
                );
                self.settle(delivery.tag, self.rules.unknown(&delivery, now));
                continue;
            }
            tracing::info!("Task {}[{}] received", delivery.task.name, delivery.task.id);
            self.metrics.received(Of::delivery(&delivery));
            match delivery.task.eta {
                Some(eta)
                    if eta.unix_micros() > now.unix_micros()
                        && !is_expired(&delivery.task, now) =>
                {
                    park.push(Waiting {
                        eta: eta.unix_micros(),
                        tag: delivery.tag,
                        queue: delivery.queue,
                        priority: delivery.task.priority(),
                    });
                }
                _ => self.deliver(delivery, now).await,
            }
        }
        self.park(park).await;
    }

    fn delivery(&self, tag: Tag, queue: Arc<str>, task: Task) -> Delivery {
        Delivery {
            tag,
            queue,
            task: Arc::new(task),
            received: Instant::now(),
        }
    }

    /// Hands out what may run now.
    async fn deliver(&self, delivery: Delivery, now: Timestamp) {
        if is_expired(&delivery.task, now) {
            tracing::info!(
                "Discarding revoked task: {}[{}]",
                delivery.task.name,
                delivery.task.id
            );
            self.metrics.revoked(Of::delivery(&delivery));
            self.settle(delivery.tag, self.rules.expired(&delivery.task, now));
            return;
        }
        failpoint!("deliver");
        // The channel has a place for everything that can be held. It is closed when the executor starts nothing any more,
        // which can be while a claim is under way: what that one brings goes back.
        if let Err(refused) = self.deliveries.send(delivery).await {
            let verdict = Verdict::GiveBack { started: false };
            let _ = self.orders.send(Order::Finish(refused.0, verdict));
        }
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
        // Out of the renewals first, and none of those under way: they would overwrite the score.
        let scores = self.ledger.scores.lock().await;
        self.ledger.park(&tags);
        let lost = self.source.park(&waits).await;
        drop(scores);
        for waiting in waiting {
            if lost.contains(&waiting.tag) {
                self.ledger.unpark(1);
            } else {
                self.parked.push(waiting);
            }
        }
    }

    async fn fetch_due(&mut self) {
        let now = now();
        let mut due = self.parked.due(now.unix_micros(), MAX_PARKED);
        // Where there is no room for all, the others go to the head of their queue: whoever has room finds them there.
        let mut beyond = due.split_off(due.len().min(self.ledger.free()));
        // Their places are taken before anything is waited for: the fetch role claims what is free.
        let tags: Vec<Tag> = due.iter().map(|waiting| waiting.tag).collect();
        self.ledger.hold(tags.iter().copied());
        self.ledger.unpark(due.len());
        // What is due first has to stand in front of the others.
        beyond.reverse();
        self.give_back(&beyond).await;
        if tags.is_empty() {
            return;
        }
        let messages = self.source.fetch_parked(&tags).await;
        let gone = tags.iter().zip(&messages).filter(|(_, m)| m.is_none());
        let gone: Vec<Tag> = gone.map(|(tag, _)| *tag).collect();
        self.ledger.forget(&gone);
        for (tag, message) in tags.into_iter().zip(messages) {
            // Gone: somebody else has it, or it was purged.
            let Some((queue, raw)) = message else {
                continue;
            };
            match Task::decode_redis(&raw) {
                Ok(task) => self.deliver(self.delivery(tag, queue, task), now).await,
                Err(error) => self.settle(tag, self.rules.malformed(&queue, &error, now)),
            }
        }
    }

    /// Other workers may hold what waits here.
    async fn give_back_parked(&mut self) {
        let mut waiting = self.parked.drain();
        if waiting.is_empty() {
            return;
        }
        tracing::info!(
            "Giving back {} tasks that wait for their ETA",
            waiting.len()
        );
        // The one that was claimed first has to stand in front of the others.
        waiting.sort_unstable_by_key(|waiting| std::cmp::Reverse(waiting.tag));
        self.give_back(&waiting).await;
    }

    /// Puts parked messages to the heads of their queues, the last one foremost.
    async fn give_back(&mut self, waiting: &[Waiting]) {
        for chunk in waiting.chunks(MAX_PARKED) {
            let batch: Vec<Settlement> = chunk
                .iter()
                .map(|waiting| Settlement {
                    tag: waiting.tag,
                    steps: vec![Step::Return {
                        queue: Arc::clone(&waiting.queue),
                        priority: waiting.priority,
                    }],
                })
                .collect();
            self.source.settle(&batch).await;
            self.ledger.unpark(chunk.len());
        }
    }

    fn settle(&self, tag: Tag, steps: Vec<Step>) {
        // The settle role ends after this one.
        let _ = self.orders.send(Order::Settle(Settlement { tag, steps }));
    }
}

async fn until_due(eta: Option<i64>) {
    let Some(eta) = eta else {
        return std::future::pending().await;
    };
    let wait = u64::try_from(eta.saturating_sub(now().unix_micros())).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(wait).min(LOOK)).await;
}
