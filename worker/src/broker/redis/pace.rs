//! Decides when to claim, as a state machine without a clock.
//!
//! It aims at few, large calls. Under load a claim waits until there is room for many messages,
//! until many acks can go with it, or until the first ack has waited [`LINGER`]. A claim does not
//! wait if the bell rang, or if the queue had more and the worker holds few messages.
//!
//! A ring wakes every idle worker of a queue, and one of them gets the message. A worker that found
//! nothing at the last ring therefore looks before it claims, which costs Redis less.

use std::time::{Duration, Instant};

use super::claim::{Ask, Claim, MAX_CLAIM};
use super::doorbell::Bell;
use crate::broker::ledger::{ACKS, LINGER};

/// The state machine that the module describes.
#[derive(Debug)]
pub(super) struct Pace {
    /// A claim is made at least this often.
    safety: Duration,
    /// The last claim left messages in the lists, as far as it could see.
    more: bool,
    bell: Bell,
    /// The bell rang since the last call.
    rung: bool,
    /// Another worker had taken the message of the last ring.
    too_late: bool,
    /// When to look for messages, if the bell is mute.
    look: Option<Instant>,
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
    /// Claim only if a list has a message.
    Look,
    /// Wait until this time, or until an event.
    Wait(Instant),
}

impl Pace {
    pub(super) fn new(safety: Duration) -> Self {
        Pace {
            safety,
            more: false,
            bell: Bell::Unarmed,
            rung: false,
            too_late: false,
            look: None,
            last: None,
            waiting: None,
        }
    }

    /// Notes that the bell rang.
    pub(super) fn rang(&mut self) {
        self.rung = true;
    }

    /// Returns what the next claim asks for. It does not arm the bell if there are more messages.
    pub(super) fn ask(&self, want: usize) -> Ask {
        let arm = !self.more;
        Ask { want, arm }
    }

    /// Notes the answer to a claim of up to `want` messages.
    pub(super) fn claimed(&mut self, now: Instant, want: usize, claim: &Claim) {
        self.waiting = None;
        if want == 0 {
            return;
        }
        self.last = Some(now);
        self.bell = claim.bell;
        self.more = match claim.bell {
            Bell::Found => true,
            Bell::Armed => false,
            Bell::Unarmed | Bell::Mute => claim.filled,
        };
        if std::mem::take(&mut self.rung) {
            self.too_late = claim.messages.is_empty() && claim.dead == 0;
        }
    }

    /// Notes that a look found no message.
    pub(super) fn looked(&mut self, bell: Bell) {
        self.bell = bell;
        self.rung = false;
    }

    /// Sets when to look for messages. `None`: the bell rings.
    pub(super) fn look_at(&mut self, at: Option<Instant>) {
        self.look = at;
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
            // If the bell is not armed, the next claim arms it.
            let hungry = self.more || self.bell == Bell::Unarmed;
            if now >= wake || (hungry && (plenty || now >= last + LINGER)) {
                return Move::Claim;
            }
            if self.rung {
                return if self.too_late {
                    Move::Look
                } else {
                    Move::Claim
                };
            }
            if hungry {
                wake = wake.min(last + LINGER);
            }
            if let Some(look) = self.look {
                if now >= look {
                    return Move::Look;
                }
                wake = wake.min(look);
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

    /// A claim that left this state of the bell. If `filled`, it took all that it asked for.
    fn claim(bell: Bell, filled: bool) -> Claim {
        Claim {
            filled,
            bell,
            ..Claim::default()
        }
    }

    /// A claim that emptied the lists.
    fn all() -> Claim {
        Claim {
            dead: 1,
            ..claim(Bell::Armed, false)
        }
    }

    /// A claim that took a part of what is in the lists.
    fn some() -> Claim {
        claim(Bell::Unarmed, true)
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
        pace.claimed(t, 250, &all());
        assert_eq!(pace.next(t + ms(1), view(400, 0)), Move::Wait(t + SAFETY));
        pace.rang();
        assert_eq!(pace.next(t + ms(2), view(400, 0)), Move::Claim);
        pace.claimed(t + ms(2), 250, &all());
        assert_eq!(pace.next(t + ms(1002), view(400, 0)), Move::Claim);
    }

    #[test]
    fn acks_wait_until_they_are_many_or_old() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, &all());
        assert_eq!(pace.next(t + ms(10), view(0, 1)), Move::Wait(t + ms(15)));
        assert_eq!(pace.next(t + ms(12), view(0, 99)), Move::Wait(t + ms(15)));
        assert_eq!(pace.next(t + ms(13), view(0, 100)), Move::Claim);
        assert_eq!(pace.next(t + ms(15), view(0, 5)), Move::Claim);
        pace.claimed(t + ms(15), 0, &all());
        assert_eq!(pace.next(t + ms(16), view(0, 1)), Move::Wait(t + ms(21)));
    }

    #[test]
    fn under_load_small_claims_wait_a_moment_for_more_room() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, &some());
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
        pace.claimed(t, 250, &some());
        pace.rang();
        assert!(matches!(
            pace.next(t + ms(5_000), view(0, 0)),
            Move::Wait(_)
        ));
    }

    #[test]
    fn the_bell_is_armed_unless_there_are_more_messages() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        assert!(pace.ask(10).arm);
        for (claim, arms, next) in [
            (claim(Bell::Armed, true), true, Move::Wait(t + SAFETY)),
            (claim(Bell::Armed, false), true, Move::Wait(t + SAFETY)),
            (claim(Bell::Found, false), false, Move::Claim),
            (claim(Bell::Unarmed, true), false, Move::Claim),
            // It was not armed, and nothing was left: the next claim arms it.
            (claim(Bell::Unarmed, false), true, Move::Claim),
            (claim(Bell::Mute, true), false, Move::Claim),
            (claim(Bell::Mute, false), true, Move::Wait(t + SAFETY)),
        ] {
            pace.claimed(t, 250, &claim);
            assert_eq!(pace.ask(10).arm, arms, "{claim:?}");
            assert_eq!(pace.next(t, view(400, 0)), next, "{claim:?}");
        }
        // Without room, a call only acknowledges.
        pace.claimed(t, 250, &all());
        pace.claimed(t, 0, &claim(Bell::Unarmed, false));
        assert_eq!(pace.next(t, view(400, 0)), Move::Wait(t + SAFETY));
    }

    #[test]
    fn after_a_ring_without_a_message_the_next_one_is_looked_at_first() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        let late = claim(Bell::Armed, false);
        // A claim without a ring says nothing about other workers.
        pace.claimed(t, 250, &late);
        pace.rang();
        assert_eq!(pace.next(t, view(400, 0)), Move::Claim);
        pace.claimed(t, 250, &late);
        assert_eq!(pace.next(t, view(400, 0)), Move::Wait(t + SAFETY));
        for _ in 0..2 {
            pace.rang();
            assert_eq!(pace.next(t, view(400, 0)), Move::Look);
            pace.looked(Bell::Armed);
            assert_eq!(pace.next(t, view(400, 0)), Move::Wait(t + SAFETY));
        }
        // Acks and the safety claim do not look first.
        pace.rang();
        assert_eq!(pace.next(t, view(400, ACKS)), Move::Claim);
        assert_eq!(pace.next(t + SAFETY, view(400, 0)), Move::Claim);
        // The look found a message, and the claim got it.
        pace.claimed(t, 250, &all());
        pace.rang();
        assert_eq!(pace.next(t, view(400, 0)), Move::Claim);
    }

    #[test]
    fn a_mute_bell_is_replaced_by_looks() {
        let t = Instant::now();
        let mut pace = Pace::new(SAFETY);
        pace.claimed(t, 250, &claim(Bell::Mute, false));
        pace.look_at(Some(t + ms(5)));
        assert_eq!(pace.next(t, view(400, 0)), Move::Wait(t + ms(5)));
        assert_eq!(pace.next(t + ms(5), view(400, 0)), Move::Look);
        assert!(matches!(pace.next(t + ms(5), view(0, 0)), Move::Wait(_)));
        pace.looked(Bell::Mute);
        pace.look_at(Some(t + ms(15)));
        assert_eq!(pace.next(t + ms(5), view(400, 0)), Move::Wait(t + ms(15)));
        pace.look_at(None);
        assert_eq!(pace.next(t + ms(15), view(400, 0)), Move::Wait(t + SAFETY));
    }
}
