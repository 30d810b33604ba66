//! Brings messages: claims them when the bell rings, when there is room, or when acknowledgements
//! have waited long enough. Each claim carries the acknowledgements that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::backoff::Backoff;
use tokio::sync::Notify;

use super::claim::MAX_CLAIM;
use super::doorbell::Bell;
use super::pace::{Move, Pace, View};
use super::session::{MAX_TAGS, Session};
use crate::broker::held::Envelope;
use crate::broker::inbound::{self, Batch};
use crate::broker::ledger::Ledger;
use crate::broker::queues::Queues;

/// The shortest wait between two looks, where tracking is refused.
const POLL_FLOOR: Duration = Duration::from_millis(5);
/// The longest wait between two looks.
const POLL_CAP: Duration = Duration::from_millis(100);

/// The state between two claims.
pub(crate) struct Inbound {
    session: Session,
    ledger: Arc<Ledger>,
    pace: Pace,
    /// Notified when the bell rings.
    rung: Arc<Notify>,
    queues: Arc<Queues>,
    /// The waits between looks, if the bell is mute.
    polls: Backoff,
    /// `true` if the next call looks before it claims.
    looks: bool,
}

impl Inbound {
    pub(super) fn new(session: Session, ledger: Arc<Ledger>, safety: Duration) -> Self {
        Inbound {
            rung: Arc::clone(&session.doorbell.heard),
            queues: Arc::clone(session.layout.queues()),
            session,
            ledger,
            pace: Pace::new(safety),
            polls: Backoff::between(POLL_FLOOR, POLL_CAP),
            looks: false,
        }
    }

    /// Sets the time of the next look, if the bell is mute.
    fn plan_look(&mut self, bell: Bell, found: bool) {
        if found {
            self.polls.worked();
        }
        let look = (bell == Bell::Mute).then(|| Instant::now() + self.polls.pause());
        self.pace.look_at(look);
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
            let next = self.pace.next(Instant::now(), view);
            self.looks = next == Move::Look;
            match next {
                Move::Claim | Move::Look => return view.room,
                Move::Wait(until) => tokio::select! {
                    () = self.rung.notified() => self.pace.rang(),
                    // The bell does not ring for a queue that was added.
                    () = self.queues.changed.notified() => self.pace.rang(),
                    () = tokio::time::sleep_until(until.into()) => {}
                },
            }
        }
    }

    async fn take(&mut self, room: usize) -> Batch<Envelope> {
        let acks = self.ledger.take_acks(MAX_TAGS);
        if self.looks && acks.is_empty() {
            let bell = self.session.listen().await;
            if bell != Bell::Found {
                self.pace.looked(bell);
                self.plan_look(bell, false);
                return Batch::default();
            }
        }
        let claim = self.session.claim(self.pace.ask(room), &acks).await;
        let lost = self.ledger.lose(&claim.lost);
        self.ledger.acknowledged(&acks);
        self.pace.claimed(Instant::now(), room, &claim);
        if room > 0 {
            self.plan_look(claim.bell, !claim.messages.is_empty());
        }
        Batch {
            messages: claim.messages,
            lost,
            dead: claim.dead,
        }
    }

    async fn purge(&mut self) -> usize {
        self.session.purge_queues().await
    }
}
