//! Tracks whether the database is up, and writes the log lines about its outages.
//!
//! A server may be reachable and refuse some statements while others succeed: its disk is full, or
//! it takes no writes. An outage is therefore a *spell*. It is logged when it begins, and again now
//! and then with the last refusal. It is logged as over once no refusal came for a while. Whether
//! the database is up is a separate question: each answer changes that.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Notify;

use super::DatabaseError;
use super::Kind;

/// A spell ends after this time without a refusal. A task that waits tries again within 5 s. If the
/// spell lasts, the task is therefore refused before this time has passed.
const QUIET: Duration = Duration::from_secs(6);
/// A spell is logged again after this time: two lines a minute are easy to find, and do not fill
/// the log in hours.
const AGAIN: Duration = Duration::from_secs(30);

/// A refusal for another reason is logged after this shorter time, because it needs another remedy.
/// Two reasons that alternate still do not fill the log.
const CHANGED: Duration = Duration::from_secs(5);

/// The state of the database as the module describes it.
#[derive(Debug)]
pub(super) struct Health {
    /// The URL, masked.
    shown: String,
    heard: Mutex<Heard>,
    /// Notified by each refusal: see [`Health::refused`].
    refused: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    at: Option<Instant>,
    away: bool,
    spell: Option<Spell>,
    /// The last time that the server had no room for another connection.
    full: Option<Instant>,
    /// Missing tables, each of which is logged once.
    missed: HashSet<String>,
}

#[derive(Debug)]
struct Spell {
    refused: Instant,
    told: Instant,
    /// The code of the refusal that was logged; `None` if the error had no code, for example
    /// because the server did not answer.
    reason: Option<Value>,
    /// `true` while a future waits for its end, to log it.
    watched: bool,
}

/// The log line about an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Begins,
    GoesOn,
}

/// The state of a spell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The spell is over, which must be logged now.
    Now,
    /// The spell must be checked again after this time.
    After(Duration),
    /// No spell has begun, or no success has followed the last refusal. After the next success, a
    /// future watches for the end of the spell.
    Unknown,
}

impl Heard {
    fn refusal(&mut self, now: Instant, reason: Option<&Value>) -> Option<Line> {
        (self.at, self.away) = (Some(now), true);
        let Some(spell) = &mut self.spell else {
            self.spell = Some(Spell {
                refused: now,
                told: now,
                reason: reason.cloned(),
                watched: false,
            });
            return Some(Line::Begins);
        };
        spell.refused = now;
        let wait = if spell.reason.as_ref() == reason {
            AGAIN
        } else {
            CHANGED
        };
        let is_due = now.saturating_duration_since(spell.told) >= wait;
        is_due.then(|| {
            (spell.told, spell.reason) = (now, reason.cloned());
            Line::GoesOn
        })
    }

    /// Notes an answer. Returns `true` if the caller has to wait for the end of a spell from now
    /// on.
    fn answer(&mut self, now: Instant) -> bool {
        (self.at, self.away) = (Some(now), false);
        let unwatched = self.spell.as_mut().filter(|spell| !spell.watched);
        unwatched.map(|spell| spell.watched = true).is_some()
    }

    /// Notes that the server has no room for another connection, although the worker has one.
    /// Returns `true` if that must be logged. It is logged once, and again only after [`AGAIN`]
    /// without such a refusal.
    fn lacks_room(&mut self, now: Instant) -> bool {
        let before = self.full.replace(now);
        before.is_none_or(|before| now.saturating_duration_since(before) >= AGAIN)
    }

    fn end(&mut self, now: Instant) -> End {
        let Some(spell) = &mut self.spell else {
            return End::Unknown;
        };
        let left = QUIET.saturating_sub(now.saturating_duration_since(spell.refused));
        if !left.is_zero() {
            return End::After(left);
        }
        if self.away {
            spell.watched = false;
            return End::Unknown;
        }
        self.spell = None;
        End::Now
    }
}

impl Health {
    pub(super) fn of(shown: String) -> Arc<Self> {
        Arc::new(Health {
            shown,
            heard: Mutex::default(),
            refused: Notify::new(),
        })
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns `true` if the last answer was not a refusal, or if there was none.
    pub(super) fn is_up(&self) -> bool {
        !self.heard().away
    }

    /// Like [`is_up`](Self::is_up), or `None` if the last answer is older than `time`.
    pub(super) fn heard_within(&self, time: Duration) -> Option<bool> {
        let heard = self.heard();
        let fresh = heard.at.is_some_and(|at| at.elapsed() <= time);
        fresh.then_some(!heard.away)
    }

    /// Waits until a refusal is heard. Returns at once if one was heard before the call.
    pub(super) async fn refused(&self) {
        self.refused.notified().await;
    }

    /// Returns the time since the last answer, if that was a refusal.
    pub(super) fn silence_after_refusal(&self) -> Option<Duration> {
        let heard = self.heard();
        let at = heard.at.filter(|_| heard.away)?;
        Some(at.elapsed())
    }

    /// Notes the outcome of a use of the database. Call it on the runtime of the worker.
    pub(super) fn note(self: &Arc<Self>, error: Option<&DatabaseError>) {
        let shown = &self.shown;
        let mut heard = self.heard();
        if let Some(error) = error.filter(|error| error.is_our_own()) {
            // An error without a code means that the worker's own pool is full.
            if error.code().is_some() && heard.lacks_room(Instant::now()) {
                tracing::warn!(
                    "The database {shown} takes no further connection: {error}. Tasks wait for \
                     one of those that this worker has."
                );
            }
            return;
        }
        if let Some(error) = error.filter(|error| error.misses_table())
            && heard.missed.insert(error.to_string())
        {
            tracing::warn!("The database {shown} lacks a table: {error}. Tasks that need it wait.");
        }
        let refusal =
            error.filter(|error| matches!(error.kind(), Kind::Unavailable | Kind::Refused));
        if refusal.is_some() {
            self.refused.notify_one();
        }
        match refusal {
            Some(error) => match heard.refusal(Instant::now(), error.code()) {
                Some(Line::Begins) => tracing::warn!(
                    "The database {shown} is unavailable: {error}. Tasks that need it wait."
                ),
                Some(Line::GoesOn) => {
                    tracing::warn!(
                        "The database {shown} is still unavailable: {error}. Tasks that need it wait."
                    );
                }
                None => {}
            },
            None if heard.answer(Instant::now()) => {
                tokio::spawn(Arc::clone(self).tell_the_end());
            }
            None => {}
        }
    }

    async fn tell_the_end(self: Arc<Self>) {
        loop {
            let end = self.heard().end(Instant::now());
            match end {
                End::After(left) => tokio::time::sleep(left).await,
                End::Now => {
                    let shown = &self.shown;
                    return tracing::warn!("The database {shown} is available again.");
                }
                End::Unknown => return,
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A thread that panicked while it held the lock has left valid values.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series of answers and refusals at given seconds, and the lines logged.
    struct Story {
        heard: Heard,
        began: Instant,
    }

    impl Story {
        fn new() -> Self {
            Story {
                heard: Heard::default(),
                began: Instant::now(),
            }
        }

        fn at(&self, seconds: f64) -> Instant {
            self.began + Duration::from_secs_f64(seconds)
        }

        fn refusal(&mut self, seconds: f64) -> Option<Line> {
            self.refusal_for(seconds, None)
        }

        fn refusal_for(&mut self, seconds: f64, code: Option<u16>) -> Option<Line> {
            let now = self.at(seconds);
            let line = self.heard.refusal(now, code.map(Value::from).as_ref());
            assert!(self.heard.away, "at {seconds}");
            line
        }

        fn answer(&mut self, seconds: f64) -> bool {
            let now = self.at(seconds);
            let watch = self.heard.answer(now);
            assert!(!self.heard.away, "at {seconds}");
            watch
        }

        fn end(&mut self, seconds: f64) -> End {
            let now = self.at(seconds);
            self.heard.end(now)
        }
    }

    #[test]
    fn answers_among_refusals_do_not_end_a_spell() {
        let mut story = Story::new();
        assert_eq!(story.refusal(0.0), Some(Line::Begins));
        assert!(story.answer(0.1));
        // For an hour there are a refusal and an answer twice a second, while a future waits for
        // the end of the spell.
        let mut told = 0;
        for half in 1..7200 {
            let seconds = f64::from(half) / 2.0;
            told += u32::from(story.refusal(seconds) == Some(Line::GoesOn));
            assert!(!story.answer(seconds + 0.1));
            assert!(matches!(story.end(seconds + 0.2), End::After(_)));
        }
        assert_eq!(told, 119);
        assert_eq!(story.end(3606.0), End::Now);
    }

    #[test]
    fn a_spell_ends_once_after_a_while_without_a_refusal() {
        let mut story = Story::new();
        assert!(!story.answer(0.0));
        story.refusal(10.0);
        assert!(story.answer(11.0));
        assert_eq!(story.end(11.0), End::After(Duration::from_secs(5)));
        assert_eq!(story.end(16.0), End::Now);
        assert_eq!(story.end(17.0), End::Unknown);
        assert!(!story.answer(18.0));
        // The next refusal begins a new spell.
        assert_eq!(story.refusal(19.0), Some(Line::Begins));
    }

    #[test]
    fn silence_does_not_end_a_spell() {
        let mut story = Story::new();
        story.refusal(0.0);
        assert!(story.answer(1.0));
        assert_eq!(story.refusal(2.0), None);
        // No task has asked since, so the state is unknown. The end is logged at the first answer.
        assert_eq!(story.end(100.0), End::Unknown);
        assert!(story.answer(200.0));
        assert_eq!(story.end(200.0), End::Now);
    }

    #[test]
    fn an_outage_is_logged_again_now_and_then() {
        let mut story = Story::new();
        assert_eq!(story.refusal(0.0), Some(Line::Begins));
        assert_eq!(story.refusal(29.0), None);
        assert_eq!(story.refusal(31.0), Some(Line::GoesOn));
        assert_eq!(story.refusal(60.0), None);
        assert_eq!(story.refusal(61.0), Some(Line::GoesOn));
    }

    #[test]
    fn a_server_without_room_is_logged_once_a_spell() {
        let mut story = Story::new();
        let mut logged = Vec::new();
        for seconds in [0, 1, 20, 49, 79, 108, 110, 200, 229, 260] {
            let now = story.at(f64::from(seconds));
            if story.heard.lacks_room(now) {
                logged.push(seconds);
            }
        }
        assert_eq!(logged, [0, 79, 200, 260]);
        // The database is not away meanwhile.
        assert!(!story.heard.away && story.heard.spell.is_none());
    }

    #[test]
    fn another_reason_is_logged_sooner() {
        let mut story = Story::new();
        assert_eq!(story.refusal(0.0), Some(Line::Begins));
        assert_eq!(story.refusal_for(4.0, Some(1114)), None);
        assert_eq!(story.refusal_for(5.0, Some(1114)), Some(Line::GoesOn));
        assert_eq!(story.refusal_for(34.0, Some(1114)), None);
        assert_eq!(story.refusal_for(34.5, Some(1290)), Some(Line::GoesOn));
        // Reasons that alternate do not fill the log.
        let mut told = 0;
        for second in 35..95 {
            let code = (second % 2 == 0).then_some(1040);
            told += u32::from(story.refusal_for(f64::from(second), code).is_some());
        }
        assert!((6..=12).contains(&told), "{told}");
    }
}
