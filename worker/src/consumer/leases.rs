//! The two clocks: renewing our own leases, and rescuing what others let run out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Ledger;
use crate::delivery::Tag;
use crate::source::Source;
use crate::source::redis::RedisSource;
use crate::source::redis::sweep::Swept;

/// Time between two sweeps. Far shorter than Python's hundred seconds, so that its sweepers, which block their
/// worker while they compete with our writes, find nothing to do.
const SWEEP: Duration = Duration::from_secs(5);

/// Renews every lease, for ever.
pub(crate) async fn renew<S: Source>(mut source: S, ledger: Arc<Ledger>, period: Duration) {
    let mut next = Instant::now() + period;
    source.ready().await;
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + period;
        let tags = ledger.leases();
        let lost = source.renew(&tags).await;
        report_lost(&ledger, &lost);
    }
}

fn report_lost(ledger: &Ledger, lost: &[Tag]) {
    // Those that were settled between the two looks are not lost.
    let lost = lost.iter().filter(|tag| ledger.holds(**tag)).count();
    if lost > 0 {
        tracing::warn!("The leases of {lost} tasks were lost: others may run them too");
    }
}

/// When a sweeper may judge. No clock of its own.
///
/// Whoever has just come back from an outage must not: the others could not renew either.
#[derive(Debug)]
pub(crate) struct Sentry {
    lease: Duration,
    period: Duration,
    trusted_from: Option<Instant>,
}

impl Sentry {
    pub(crate) fn new(lease: Duration) -> Self {
        Sentry {
            lease,
            period: SWEEP.min(lease / 2),
            trusted_from: None,
        }
    }

    /// The connection stands since now.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.trusted_from = Some(now + self.lease);
    }

    /// The connection was lost.
    pub(crate) fn lost(&mut self) {
        self.trusted_from = None;
    }

    /// The time of the next sweep, if there is a connection. `random` is in 0..1; it keeps the sweepers of a fleet apart.
    pub(crate) fn next(&self, now: Instant, random: f64) -> Option<Instant> {
        let period = self.period.mul_f64(0.75 + random / 2.0);
        self.trusted_from.map(|from| from.max(now + period))
    }
}

/// Sweeps, for ever.
pub(crate) async fn sweep(mut source: RedisSource, lease: Duration, visibility_timeout: Duration) {
    let mut sentry = Sentry::new(lease);
    loop {
        let Some(next) = sentry.next(Instant::now(), random()) else {
            source.ready().await;
            sentry.connected(Instant::now());
            continue;
        };
        tokio::time::sleep_until(next).await;
        match source.sweep(lease, visibility_timeout).await {
            Ok(swept) => report(&swept),
            Err(_) => sentry.lost(),
        }
    }
}

fn report(swept: &Swept) {
    if swept.restored > 0 {
        tracing::warn!(
            "Restored {} unacknowledged message(s) whose worker is gone",
            swept.restored
        );
    }
    if swept.dead > 0 {
        tracing::error!(
            "Moved {} unreadable unacknowledged message(s) to the dead letters",
            swept.dead
        );
    }
}

/// A number in 0..1.
fn random() -> f64 {
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
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
    fn a_short_lease_is_looked_at_more_often() {
        let sentry = Sentry::new(Duration::from_secs(2));
        assert_eq!(sentry.period, Duration::from_secs(1));
    }
}
