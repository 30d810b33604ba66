//! Takes the locks of unique calls, when their messages are received.

use std::time::Duration;

use super::intake::Intake;
use crate::broker::{Locked, Locking, Outbound};
use crate::clock::now;
use crate::delivery::{Delivery, Outcome, Unique};
use crate::failpoint::failpoint;

impl<O: Outbound> Intake<O> {
    /// Takes the locks of unique calls. Returns those that have theirs.
    pub(super) async fn lock(
        &mut self,
        calls: Vec<(Delivery, Unique, bool)>,
    ) -> Vec<(Delivery, bool)> {
        if calls.is_empty() {
            return Vec::new();
        }
        let now = now().unix_micros();
        let locking = calls.iter().map(|(delivery, unique, _)| {
            let eta = delivery.task.eta.map_or(now, |eta| eta.unix_micros());
            let wait = u64::try_from(eta.saturating_sub(now)).unwrap_or(0);
            Locking {
                tag: delivery.tag,
                id: &delivery.task.id,
                lock: &unique.lock,
                wait: Duration::from_micros(wait),
                time: unique.until.time(),
            }
        });
        let locking: Vec<Locking<'_>> = locking.collect();
        let answers = self.outbound.lock(&locking).await;
        failpoint!("locked");
        let mut own = Vec::with_capacity(calls.len());
        for ((mut delivery, unique, was_due), answer) in calls.into_iter().zip(answers) {
            match answer {
                Locked::Ours => {
                    delivery.unique = Some(unique);
                    own.push((delivery, was_due));
                }
                Locked::Taken(of) => self.ended(delivery, Outcome::Duplicate { of }),
                Locked::Lost => self.ended(delivery, Outcome::NotStarted),
            }
        }
        own
    }
}
