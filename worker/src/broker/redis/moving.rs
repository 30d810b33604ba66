//! Decides which messages are claimed by native commands, and knows what such a claim may have left
//! behind. Asks no server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::aio::Failure;

use super::consumed::{Consumed, Queue};
use super::doorbell::Bell;
use crate::broker::ClaimMode;
use crate::broker::tag::Tag;

/// The mean size from which the messages of a queue are moved, in bytes. Below 3 KiB, the two ways
/// cost Redis about the same, because a script claims more messages at once. From here on, native
/// commands cost two thirds or less.
pub(super) const LARGE: usize = 4 << 10;

/// How long a claim by native commands is not tried again after Redis has refused or not answered
/// one.
const PAUSE: Duration = Duration::from_mins(1);

/// How long a call that was not answered may be carried out later. For this long, each claim looks
/// for what it has moved. After that, the sweepers find it.
const SUSPICION: Duration = Duration::from_mins(1);

/// Decides which messages are moved, and knows what an earlier claim may have left behind.
#[derive(Debug, Default)]
pub(super) struct Moving {
    mode: ClaimMode,
    /// `true` if the held list may have messages.
    in_doubt: bool,
    /// Until when a call that was not answered may still be carried out.
    suspect_until: Option<Instant>,
    /// Until when the script claims everything.
    pub(super) paused_until: Option<Instant>,
    /// `true` once the log says that Redis refuses native commands.
    told: bool,
}

impl Moving {
    pub(super) fn new(mode: ClaimMode) -> Self {
        Moving {
            mode,
            ..Moving::default()
        }
    }

    /// Returns `true` if messages of some queue may be moved now.
    pub(super) fn is_on(&self, consumed: &Consumed, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| now >= until)
            && consumed.queues.iter().any(|queue| self.moves(queue))
    }

    pub(super) fn moves(&self, queue: &Queue) -> bool {
        match self.mode {
            ClaimMode::Script => false,
            ClaimMode::Native => true,
            ClaimMode::Adaptive => queue.size() >= LARGE,
        }
    }

    /// Returns `true` if the held list is to be looked at before the next claim.
    pub(super) fn is_suspect(&self, now: Instant) -> bool {
        self.in_doubt || self.suspect_until.is_some_and(|until| now < until)
    }

    /// Notes that the held list may have messages.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// Notes that the held list is empty.
    pub(super) fn is_clear(&mut self) {
        self.in_doubt = false;
    }

    /// Notes that the held list could not be emptied.
    pub(super) fn gave_up(&mut self, failure: &Failure) {
        self.in_doubt = false;
        self.paused_until = Some(Instant::now() + PAUSE);
        tracing::error!(
            "consumer: The list of messages that are being claimed is unusable: {failure}"
        );
    }

    /// Notes that a call failed. Returns `true` if Redis has refused what the script may do, so that
    /// the script is to claim.
    pub(super) fn failed(&mut self, failure: &Failure, now: Instant) -> bool {
        if failure.outcome_unknown() {
            self.suspect_until = Some(now + SUSPICION);
            // The messages may be larger than the connection can carry in the time for an answer.
            // The script takes fewer of them, and the claim after it knows their size.
            self.paused_until = Some(now + PAUSE);
        }
        // When memory is full, the script may write. Any other reason that passes by itself concerns
        // the script as well, and may be gone a moment later.
        if !matches!(failure, Failure::Refused(_))
            || (!failure.is_lasting() && !failure.is_refusal("OOM"))
        {
            return false;
        }
        self.paused_until = Some(now + PAUSE);
        if failure.is_lasting() && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "Redis refuses to claim large messages by native commands ({failure}): they are \
                 claimed by script, which takes more of its time"
            );
        }
        true
    }
}

/// What a look at the lists has found.
#[derive(Debug)]
pub(super) struct View {
    pub(super) lost: Vec<Tag>,
    pub(super) next: Next,
    /// The state of the bell.
    pub(super) bell: Bell,
}

/// How to go on after a look.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing is there to claim.
    Wait,
    /// The first list with messages has small ones, or the lengths are not known.
    ByScript,
    /// The held list is not empty.
    Doubt,
    Move(Plan),
}

/// What is moved, and from where.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) queue: Arc<Queue>,
    pub(super) list: String,
    /// The list to which they go back if they are not entered.
    pub(super) home: String,
    pub(super) count: usize,
    /// Redis's time.
    pub(super) time: String,
    /// `true` if the lists have more messages than are moved.
    pub(super) more: bool,
}
