//! Decides when to claim, as a state machine without a clock.
//!
//! It aims at few, large calls. Under load a claim waits until there is room for many messages,
//! until many acks can go with it, or until the first ack has waited [`LINGER`]. A claim does not
//! wait if the bell rang, or if the queue had more and the worker holds few messages.

use std::time::{Duration, Instant};

use super::claim::MAX_CLAIM;
use crate::broker::ledger::{ACKS, LINGER};

/// The state machine that the module describes.
#[derive(Debug)]
pub(super) struct Pace {
    /// A claim is made at least this often.
    safety: Duration,
    /// The last claim returned as many messages as it asked for: there may be more.
    hungry: bool,
    /// The bell rang since the last claim.
    rung: bool,
    last: Option<Instant>,
    /// The time at which the first waiting ack arrived.
    waiting: Option<Instant>,
}

/// The state of the fetch loop when it asks for the next move.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// How many messages may be claimed now.
    pub(super) room: usize,
    /// How many messages may be held at any time.
    pub(super) limit: usize,
    /// How many acks wait.
    pub(super) acks: usize,
}

/// The next move of the fetch loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Claim as many messages as there is room for, and send the acks.
    Claim,
    /// Wait until this time, or until an event.
    Wait(Instant),
}

impl Pace {
    pub(super) fn new(safety: Duration) -> Self {
        Pace {
            safety,
            hungry: true,
            rung: false,
            last: None,
            waiting: None,
        }
    }

    /// Notes that the bell rang.
    pub(super) fn rang(&mut self) {
        self.rung = true;
    }

    /// Notes the answer to a claim. `filled` is `true` if it returned all `want` messages.
    pub(super) fn claimed(&mut self, now: Instant, want: usize, filled: bool) {
        self.waiting = None;
        if want > 0 {
            self.last = Some(now);
            self.hungry = filled;
            self.rung = false;
        }
    }

    pub(super) fn next(&mut self, now: Instant, view: View) -> Move {
        if view.acks == 0 {
            self.waiting = None;
        } else {
            let since = *self.waiting.get_or_insert(now);
            if view.acks >= ACKS || now >= since + LINGER {
                return Move::Claim;
            }
        }
        let Some(last) = self.last else {
            return if view.room > 0 {
                Move::Claim
            } else {
                Move::Wait(now + self.safety)
            };
        };
        let mut wake = last + self.safety;
        if view.room > 0 {
            // There is plenty of room if half of the limit is free, or if a claim of the greatest
            // size fits. With less room, a short wait makes the claim larger.
            let plenty = view.room >= (view.limit / 2).clamp(1, MAX_CLAIM);
            if self.rung
                || now >= last + self.safety
                || (self.hungry && (plenty || now >= last + LINGER))
            {
                return Move::Claim;
            }
            if self.hungry {
                wake = wake.min(last + LINGER);
            }
        } else {
            wake = now + self.safety;
        }
        if let Some(since) = self.waiting {
            wake = wake.min(since + LINGER);
        }
        Move::Wait(wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFETY: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn view(room: usize, acks: usize) -> View {
        View {
            room,
            limit: 400,
            acks,
        }
    }

    #[test]
    fn starts_with_a_claim_and_then_waits_for_the_bell_or_a_second() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        assert_eq!(pace.next(t, view(400, 0)), Move::Claim);
        pace.claimed(t, 250, false);
        assert_eq!(pace.next(t + ms(1), view(400, 0)), Move::Wait(t + SAFETY));
        pace.rang();
        assert_eq!(pace.next(t + ms(2), view(400, 0)), Move::Claim);
        pace.claimed(t + ms(2), 250, false);
        assert_eq!(pace.next(t + ms(1002), view(400, 0)), Move::Claim);
    }

    #[test]
    fn acks_wait_until_they_are_many_or_old() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, false);
        assert_eq!(pace.next(t + ms(10), view(0, 1)), Move::Wait(t + ms(15)));
        assert_eq!(pace.next(t + ms(12), view(0, 99)), Move::Wait(t + ms(15)));
        assert_eq!(pace.next(t + ms(13), view(0, 100)), Move::Claim);
        assert_eq!(pace.next(t + ms(15), view(0, 5)), Move::Claim);
        pace.claimed(t + ms(15), 0, false);
        assert_eq!(pace.next(t + ms(16), view(0, 1)), Move::Wait(t + ms(21)));
    }

    #[test]
    fn under_load_small_claims_wait_a_moment_for_more_room() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, true);
        assert_eq!(pace.next(t + ms(1), view(10, 0)), Move::Wait(t + LINGER));
        assert_eq!(pace.next(t + ms(1), view(200, 0)), Move::Claim);
        assert_eq!(pace.next(t + ms(5), view(10, 0)), Move::Claim);
        assert_eq!(
            pace.next(
                t + ms(1),
                View {
                    room: 1,
                    limit: 1,
                    acks: 0
                }
            ),
            Move::Claim
        );
    }

    #[test]
    fn without_room_nothing_is_claimed() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, true);
        pace.rang();
        assert!(matches!(
            pace.next(t + ms(5_000), view(0, 0)),
            Move::Wait(_)
        ));
    }
}
