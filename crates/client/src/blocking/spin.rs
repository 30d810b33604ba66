//! Decides whether a wait looks for its answer for a moment before it sleeps.
//!
//! A server on this machine often answers within the time that a sleep and its wake-up take: some
//! ten microseconds, if its processor was idle. Looking again and again without a sleep saves the
//! wake-up. The processor is *yielded* between two looks, so that a server that shares it can work.
//!
//! That is worth it only while answers come fast. So a connection begins without it, and *learns*:
//! a few fast answers permit the first try. A try without an answer costs its time, so more and
//! more waits follow without a try. A distant server is never tried.

use std::time::{Duration, Instant};

/// The longest time without a sleep in one wait, and about the time that a wake-up takes.
pub(crate) const LONGEST: Duration = Duration::from_micros(50);
/// The longest wait, with its wake-up, of an answer that counts as fast.
const FAST: Duration = Duration::from_micros(200);
/// The number of fast answers before the first try, and after a try without an answer.
const FIRST_REST: u32 = 4;
/// The most fast answers between two tries. With it, tries without an answer take at most a
/// thousandth of the time of the fast answers.
const LONGEST_REST: u32 = 1024;

/// What the last answers of a connection say about the next.
#[derive(Debug)]
pub(crate) struct Spin {
    /// Whether tries are permitted at all.
    enabled: bool,
    /// The number of fast answers to await before the next try.
    rest: u32,
    /// The value of `rest` after the next try without an answer.
    next_rest: u32,
}

/// The state of a new connection.
impl Default for Spin {
    fn default() -> Self {
        Self {
            enabled: true,
            rest: FIRST_REST,
            next_rest: FIRST_REST,
        }
    }
}

impl Spin {
    /// Sets whether tries are permitted.
    pub(crate) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Returns `true` if the next wait tries.
    pub(crate) fn tries(&self) -> bool {
        self.enabled && self.rest == 0
    }

    /// Learns from a try. `found` says whether it found an answer.
    pub(crate) fn tried(&mut self, found: bool) {
        if found {
            self.next_rest = FIRST_REST;
        } else {
            self.rest = self.next_rest;
            self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
        }
    }

    /// Learns from a wait that began at `start` and ended with an answer `now`, after a sleep.
    pub(crate) fn slept(&mut self, start: Instant, now: Instant) {
        if now.saturating_duration_since(start) <= FAST {
            self.rest = self.rest.saturating_sub(1);
        } else {
            // The fast answers must follow one another.
            self.rest = self.rest.max(FIRST_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_after(spin: &mut Spin, micros: u64) {
        let start = Instant::now();
        spin.slept(start, start + Duration::from_micros(micros));
    }

    fn off() -> Spin {
        let mut spin = Spin::default();
        spin.enable(false);
        spin
    }

    /// Returns the number of answers after this time until the next try, if one comes.
    fn answers_until_a_try(spin: &mut Spin, micros: u64) -> Option<u32> {
        (0..10 * LONGEST_REST).find(|_| {
            let tries = spin.tries();
            if !tries {
                answer_after(spin, micros);
            }
            tries
        })
    }

    #[test]
    fn fast_answers_permit_a_try_and_slow_ones_never_do() {
        for (micros, tries) in [
            (0, true),
            (54, true),
            (200, true),
            (201, false),
            (1_000, false),
            (50_000, false),
        ] {
            let mut spin = Spin::default();
            assert!(!spin.tries());
            let answers = answers_until_a_try(&mut spin, micros);
            assert_eq!(answers, tries.then_some(FIRST_REST), "{micros}");
        }
        assert_eq!(answers_until_a_try(&mut off(), 0), None);
    }

    #[test]
    fn a_slow_answer_begins_the_count_again() {
        let mut spin = Spin::default();
        for _ in 1..FIRST_REST {
            answer_after(&mut spin, 10);
        }
        answer_after(&mut spin, 900);
        assert_eq!(answers_until_a_try(&mut spin, 10), Some(FIRST_REST));
        // A slow answer ends the tries, too.
        answer_after(&mut spin, 900);
        assert!(!spin.tries());
    }

    #[test]
    fn tries_become_rare_while_they_find_nothing() {
        let mut spin = Spin::default();
        let mut rests = Vec::new();
        for _ in 0..11 {
            rests.extend(answers_until_a_try(&mut spin, 100));
            spin.tried(false);
        }
        assert_eq!(rests, [4, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]);
        // An answer that is found permits the next tries at once.
        assert!(answers_until_a_try(&mut spin, 100).is_some());
        spin.tried(true);
        assert!(spin.tries());
        spin.tried(false);
        assert_eq!(answers_until_a_try(&mut spin, 100), Some(FIRST_REST));
    }

    #[test]
    fn the_switch_ends_and_permits_tries() {
        let mut spin = Spin::default();
        answers_until_a_try(&mut spin, 10);
        spin.enable(false);
        assert!(!spin.tries());
        spin.enable(true);
        assert!(spin.tries());
    }
}
