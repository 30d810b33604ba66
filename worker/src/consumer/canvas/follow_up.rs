//! The messages that are published after a task, and the limit on their bytes.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::broker::Step;
use crate::consumer::rules::Rules;

/// The most bytes that may follow from one task, unless it is a single message. Every member of a
/// group carries the result of the parent, and every member of a header the body of the chord.
/// Without a limit, a message of a few MiB could cause any number of GiB. The limit is already far
/// more than a broker should receive at once.
pub(crate) const MOST: usize = 64 << 20;

/// The limit on copied bytes, as a multiple of [`MOST`]. Groups, chains and chords copy arguments,
/// options and callbacks to their members, and even do so if they have no members. This much is
/// more than any workflow needs, and is copied in less than a second.
const COPIES: usize = 16;

/// The bytes that follow from one task.
#[derive(Clone, Debug)]
pub(super) struct Load {
    most: usize,
    bytes: Rc<Cell<usize>>,
    copied: Rc<Cell<usize>>,
}

impl Load {
    pub(super) fn new(rules: &Rules) -> Self {
        Load {
            most: rules.most,
            bytes: Rc::default(),
            copied: Rc::default(),
        }
    }

    /// Adds the bytes of a message, or returns an error if that exceeds the limit.
    pub(super) fn add(&self, bytes: usize) -> Result<(), String> {
        let before = self.bytes.get();
        let after = before.saturating_add(bytes);
        if before > 0 && after > self.most {
            let most = self.most;
            return Err(format!("more than {most} bytes follow from one task"));
        }
        self.bytes.set(after);
        Ok(())
    }

    /// Counts bytes that are copied from signature to signature. They are not put back.
    pub(super) fn copy(&self, bytes: usize) -> Result<(), String> {
        let copied = self.copied.get().saturating_add(bytes);
        self.copied.set(copied);
        if copied > self.most.saturating_mul(COPIES) {
            Err("groups, chains or chords in very large numbers".to_owned())
        } else {
            Ok(())
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Resets the count to an earlier value: the messages added since will not be sent.
    pub(super) fn put_back(&self, bytes: usize) {
        self.bytes.set(bytes);
    }
}

/// The messages that are published after a task.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    pub(crate) steps: Vec<Step>,
    /// The published tasks, each as Celery's result tuple `[[id, parent], members]`, for the
    /// document's `children`.
    pub(crate) children: Vec<Box<RawValue>>,
}
