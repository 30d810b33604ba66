//! The fetch role: acknowledges and claims, in one call after another, never in two at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::pace::{Move, Pace, View};
use crate::broker::redis::doorbell::Bell;
use crate::broker::redis::{MAX_CLAIM, MAX_TAGS};
use crate::broker::{Claimed, Source};
use crate::delivery::Ledger;
use crate::failpoint::failpoint;
use crate::monitor::{Lost, Observer, Observers, Pulse};
use crate::{Phase, Shutdown};

/// The state of the fetch role.
pub(crate) struct Fetch<S> {
    pub(crate) source: S,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) bell: Arc<Bell>,
    /// Notified when the bell rings.
    pub(crate) rung: Arc<Notify>,
    pub(crate) eta_limit: usize,
    pub(crate) safety: Duration,
    pub(crate) shutdown: Shutdown,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) observers: Observers,
}

impl<S: Source> Fetch<S> {
    /// Claims until the shutdown begins, and then closes `claimed`. Does not return: it sends acks
    /// until the process ends.
    pub(crate) async fn run(mut self, claimed: mpsc::UnboundedSender<Vec<Claimed>>) {
        let mut claimed = Some(claimed);
        let mut pace = Pace::new(self.safety);
        loop {
            self.pulse.beat();
            if !self.shutdown.is_running() {
                claimed = None;
            }
            let view = View {
                room: if claimed.is_some() { self.room() } else { 0 },
                limit: self.ledger.limit(),
                acks: self.ledger.acks_waiting(),
            };
            match pace.next(Instant::now(), view) {
                Move::Claim => {
                    let filled = self.claim(view.room, claimed.as_ref()).await;
                    pace.claimed(Instant::now(), view.room, filled);
                    if view.room > 0 && !filled {
                        self.bell.arm();
                    }
                }
                Move::Wait(until) => tokio::select! {
                    () = self.ledger.nudge.notified() => {}
                    () = self.rung.notified() => pace.rang(),
                    () = tokio::time::sleep_until(until.into()) => {}
                    () = self.shutdown.reached(Phase::Draining), if claimed.is_some() => {}
                },
            }
        }
    }

    fn room(&self) -> usize {
        let eta_room = self.eta_limit.saturating_sub(self.ledger.parked_count());
        self.ledger.free().min(MAX_CLAIM).min(eta_room)
    }

    /// Makes one call. Returns `true` if there may be more messages to claim.
    async fn claim(
        &mut self,
        want: usize,
        claimed: Option<&mpsc::UnboundedSender<Vec<Claimed>>>,
    ) -> bool {
        let acks = self.ledger.take_acks(MAX_TAGS);
        let since = Instant::now();
        let claim = self.source.claim(want, &acks).await;
        let lost = self.ledger.lose(&claim.lost);
        self.ledger.acknowledged(&acks);
        self.observers.claimed(claim.messages.len());
        if lost > 0 {
            self.observers.lost(lost, Lost::Acknowledged);
        }
        if claim.dead > 0 {
            self.observers.not_objects(claim.dead);
        }
        if !claim.messages.is_empty() {
            failpoint!("claimed");
        }
        if !claim.messages.is_empty()
            && let Some(claimed) = claimed
        {
            let held = claim.messages.iter().map(|it| (it.tag, it.raw.len()));
            self.ledger.hold(since, held);
            // The reader ends only after this role's sender is gone.
            let _ = claimed.send(claim.messages);
        }
        claim.filled
    }
}
