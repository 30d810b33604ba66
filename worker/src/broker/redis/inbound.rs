//! Brings messages: claims them when the bell rings, when there is room, or when acknowledgements
//! have waited long enough. Each claim carries the acknowledgements that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::claim::MAX_CLAIM;
use super::doorbell::Bell;
use super::pace::{Move, Pace, View};
use super::session::{MAX_TAGS, Session};
use crate::broker::held::Envelope;
use crate::broker::inbound::{self, Batch};
use crate::broker::ledger::Ledger;

/// The state between two claims.
pub(crate) struct Inbound {
    session: Session,
    ledger: Arc<Ledger>,
    pace: Pace,
    bell: Arc<Bell>,
    /// Notified when the bell rings.
    rung: Arc<Notify>,
}

impl Inbound {
    pub(super) fn new(
        session: Session,
        ledger: Arc<Ledger>,
        safety: Duration,
        bell: Arc<Bell>,
        rung: Arc<Notify>,
    ) -> Self {
        Inbound {
            session,
            ledger,
            pace: Pace::new(safety),
            bell,
            rung,
        }
    }
}

impl inbound::Inbound for Inbound {
    type Message = Envelope;

    async fn due(&mut self, room: impl Fn() -> usize + Send + Sync) -> usize {
        loop {
            let view = View {
                room: room().min(MAX_CLAIM),
                limit: self.ledger.limit(),
                acks: self.ledger.acks_waiting(),
            };
            match self.pace.next(Instant::now(), view) {
                Move::Claim => return view.room,
                Move::Wait(until) => tokio::select! {
                    () = self.rung.notified() => self.pace.rang(),
                    () = tokio::time::sleep_until(until.into()) => {}
                },
            }
        }
    }

    async fn take(&mut self, room: usize) -> Batch<Envelope> {
        let acks = self.ledger.take_acks(MAX_TAGS);
        let claim = self.session.claim(room, &acks).await;
        let lost = self.ledger.lose(&claim.lost);
        self.ledger.acknowledged(&acks);
        self.pace.claimed(Instant::now(), room, claim.filled);
        if room > 0 && !claim.filled {
            self.bell.arm();
        }
        Batch {
            messages: claim.messages,
            lost,
            dead: claim.dead,
        }
    }
}
