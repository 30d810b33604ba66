//! The fetch role: takes messages from the broker as long as there is room for them.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::broker::{Claimed, Held, Inbound, Ledger};
use crate::failpoint::failpoint;
use crate::monitor::{Lost, Observer, Observers, Pulse};
use crate::{Phase, Shutdown};

/// The state of the fetch role.
pub(crate) struct Fetch<I: Inbound> {
    pub(crate) inbound: I,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) eta_limit: usize,
    /// `true` if the waiting messages are deleted before the first one is taken.
    pub(crate) purges: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) observers: Observers,
}

impl<I: Inbound> Fetch<I> {
    /// Takes messages until the shutdown begins, and then closes `claimed`. Does not return: it
    /// sends acks until the process ends.
    pub(crate) async fn run(mut self, claimed: mpsc::UnboundedSender<Vec<Claimed<I::Message>>>) {
        let mut claimed = Some(claimed);
        if self.purges {
            let count = self.inbound.purge().await;
            tracing::warn!("Deleted {count} waiting messages (--purge)");
        }
        loop {
            self.pulse.beat();
            if !self.shutdown.is_running() && claimed.take().is_some() {
                self.inbound.stop().await;
            }
            let is_open = claimed.is_some();
            let room = || {
                if is_open {
                    room(&self.ledger, self.eta_limit)
                } else {
                    0
                }
            };
            tokio::select! {
                biased;
                room = self.inbound.due(room) => self.take(room, claimed.as_ref()).await,
                () = self.ledger.nudge.notified() => {}
                () = self.shutdown.reached(Phase::Draining), if claimed.is_some() => {}
                () = self.pulse.turn() => {}
            }
        }
    }

    /// Makes one call.
    async fn take(
        &mut self,
        room: usize,
        claimed: Option<&mpsc::UnboundedSender<Vec<Claimed<I::Message>>>>,
    ) {
        let since = Instant::now();
        self.ledger.adapt(since);
        let batch = self.inbound.take(room).await;
        self.observers.claimed(batch.messages.len());
        let lost = batch.lost;
        if lost > 0 {
            self.observers.lost(lost, Lost::Acknowledged);
        }
        if batch.dead > 0 {
            self.observers.not_objects(batch.dead);
        }
        if !batch.messages.is_empty() {
            failpoint!("claimed");
        }
        if !batch.messages.is_empty()
            && let Some(claimed) = claimed
        {
            let held = batch.messages.iter().map(|it| (it.tag, it.message.size()));
            self.ledger.hold(since, held);
            // The intake role ends only after the sender of this role is dropped.
            let _ = claimed.send(batch.messages);
        }
    }
}

/// Returns how many messages may be taken now.
fn room(ledger: &Ledger, eta_limit: usize) -> usize {
    let eta_room = eta_limit.saturating_sub(ledger.parked_count());
    ledger.free().min(eta_room)
}
