//! Two periodic roles: one renews this worker's leases, the other rescues messages whose leases ran
//! out.

use std::sync::Arc;
use std::time::Duration;

use celery_client::backoff::random;
use tokio::time::Instant;

use super::fair::{Found, LOOK};
use super::session::Session;
use super::sweep::Swept;
use crate::broker::ledger::Ledger;
use crate::broker::options::RedisOptions;
use crate::failpoint::failpoint;
use crate::monitor::{Lost, Observer, Observers, Pulse};

/// The time between two sweeps. Python's workers sweep every hundred seconds. A far shorter time
/// leaves them nothing to do: a Python sweeper that competes with our writes blocks its worker.
const SWEEP: Duration = Duration::from_secs(5);

/// Renews every lease, again and again. Does not return.
pub(super) async fn renew(
    mut session: Session,
    ledger: Arc<Ledger>,
    period: Duration,
    pulse: Arc<Pulse>,
    observers: Observers,
) {
    let mut next = Instant::now() + period;
    session.connect().await;
    loop {
        pulse
            .idle(async {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = ledger.doubt.notified() => {}
                }
            })
            .await;
        let at = Instant::now();
        next = at + period;
        let scores = ledger.scores.lock().await;
        let tags = ledger.leases();
        let lost = session.renew_leases(&tags).await;
        drop(scores);
        if !tags.is_empty() {
            failpoint!("renewed");
        }
        let lost = ledger.renewed(&tags, &lost, at.into_std());
        if lost > 0 {
            observers.lost(lost, Lost::Renewed);
        }
    }
}

/// The shortest deviation that counts as a jump of a clock or a frozen sweeper. A busy machine
/// deviates less.
const JUMP: Duration = Duration::from_secs(5);

/// Decides when a sweeper may judge leases. Reads no clock.
///
/// A sweeper must not judge just after an outage, because the other workers could not renew either.
/// It must not judge just after Redis's clock has jumped, or after it was frozen itself: the other
/// workers need a moment to renew their leases by the new time.
#[derive(Debug)]
struct Sentry {
    lease: Duration,
    period: Duration,
    trusted_from: Option<Instant>,
    /// Redis's time at the last look (Unix seconds), and the local time of that look.
    seen: Option<(f64, Instant)>,
}

impl Sentry {
    fn new(lease: Duration) -> Self {
        Sentry {
            lease,
            period: SWEEP.min(lease / 2),
            trusted_from: None,
            seen: None,
        }
    }

    /// Notes that the connection is up since `now`.
    fn connected(&mut self, now: Instant) {
        self.trusted_from = Some(now + self.lease);
        self.seen = None;
    }

    /// Notes that Redis's clock says `time` (Unix seconds). Returns `false` if leases cannot be
    /// judged by that time.
    fn saw(&mut self, time: f64, now: Instant) -> bool {
        let Some((then, at)) = self.seen.replace((time, now)) else {
            return true;
        };
        let passed = now.duration_since(at);
        let jumped =
            (time - then - passed.as_secs_f64()).abs() > JUMP.max(self.lease / 2).as_secs_f64();
        let frozen = passed > self.period * 2 + JUMP.max(self.lease / 2);
        if jumped || frozen {
            self.trusted_from = Some(now + self.lease);
            self.seen = None;
        }
        !jumped && !frozen
    }

    /// Notes that the connection was lost.
    fn lost(&mut self) {
        self.trusted_from = None;
    }

    /// Returns the time of the next sweep, or `None` without a connection. `random` is in 0..1; it
    /// keeps the sweepers of a fleet apart.
    fn next(&self, now: Instant, random: f64) -> Option<Instant> {
        let period = self.period.mul_f64(0.75 + random / 2.0);
        self.trusted_from.map(|from| from.max(now + period))
    }
}

/// Restores messages whose leases ran out, again and again, and looks for the groups of fair queues.
/// Does not return.
pub(super) async fn sweep(
    mut session: Session,
    ledger: Arc<Ledger>,
    options: RedisOptions,
    found: Arc<Found>,
    pulse: Arc<Pulse>,
    observers: Observers,
) {
    let mut looked = None::<Instant>;
    let (lease, visibility_timeout) = (options.lease, options.visibility_timeout);
    let mut sentry = Sentry::new(lease);
    loop {
        let Some(next) = sentry.next(Instant::now(), random()) else {
            session.connect().await;
            sentry.connected(Instant::now());
            continue;
        };
        if looked.is_none_or(|then| then.elapsed() >= LOOK) {
            if session.look_for_groups(&found).await.is_err() {
                sentry.lost();
                continue;
            }
            looked = Some(Instant::now());
        }
        pulse.idle(tokio::time::sleep_until(next)).await;
        let swept = match session.time().await {
            Ok(time) if sentry.saw(time, Instant::now()) => {
                let holds = |tag| ledger.holds(tag);
                match session.sweep_held(time, lease).await {
                    Ok(returned) => {
                        let swept = session.sweep(time, lease, visibility_timeout, holds).await;
                        swept.map(|swept| Swept {
                            restored: swept.restored + returned,
                            ..swept
                        })
                    }
                    Err(failure) => Err(failure),
                }
            }
            Ok(_) => continue,
            Err(failure) => Err(failure),
        };
        match swept {
            Ok(Swept { restored, dead }) => {
                if restored > 0 {
                    observers.restored(restored);
                }
                if dead > 0 {
                    observers.unreadable_orphans(dead);
                }
            }
            Err(_) => sentry.lost(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweeper_waits_a_lease_after_every_connection() {
        let t = Instant::now();
        let lease = Duration::from_secs(30);
        let mut sentry = Sentry::new(lease);
        assert_eq!(sentry.next(t, 0.5), None);
        sentry.connected(t);
        assert_eq!(sentry.next(t, 0.5), Some(t + lease));
        let later = t + 2 * lease;
        assert_eq!(sentry.next(later, 0.5), Some(later + SWEEP));
        assert_eq!(sentry.next(later, 0.0), Some(later + SWEEP.mul_f64(0.75)));
        sentry.lost();
        assert_eq!(sentry.next(later, 0.5), None);
        sentry.connected(later);
        assert_eq!(sentry.next(later, 0.5), Some(later + lease));
    }

    #[test]
    fn no_lease_is_judged_by_a_clock_that_jumped_or_after_a_freeze() {
        let t = Instant::now();
        let seconds = Duration::from_secs;
        let lease = seconds(30);
        let mut sentry = Sentry::new(lease);
        sentry.connected(t);
        assert!(sentry.saw(1000.0, t + seconds(30)));
        assert!(sentry.saw(1005.5, t + seconds(35)));
        // Redis's clock was set forward by an hour: every lease looks an hour old.
        assert!(!sentry.saw(4610.0, t + seconds(40)));
        assert_eq!(sentry.next(t + seconds(40), 0.5), Some(t + seconds(70)));
        assert!(sentry.saw(4640.0, t + seconds(70)));
        // This process was stopped for a minute, and perhaps the workers beside it were, too.
        assert!(!sentry.saw(4705.0, t + seconds(135)));
    }

    #[test]
    fn short_leases_are_swept_more_often() {
        let sentry = Sentry::new(Duration::from_secs(2));
        assert_eq!(sentry.period, Duration::from_secs(1));
    }
}
