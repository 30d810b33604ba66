//! The limits on the messages of one call, and on what is copied to make them.

use std::cell::Cell;
use std::rc::Rc;

use super::error::CanvasError;

/// The limit on copied bytes, as a multiple of the limit on bytes. Groups, chains and chords copy
/// arguments, options and callbacks to their members, and even do so if they have no members. This
/// much is more than any workflow needs, and is copied in less than a second.
const COPIES: usize = 16;

/// The bytes that one call publishes and copies. Clones count together.
///
/// Every member of a group carries the arguments of the call, and every member of a header the body
/// of the chord. Without a limit, a message of a few MiB could cause any number of GiB.
#[derive(Clone, Debug)]
pub struct Load {
    most: usize,
    bytes: Rc<Cell<usize>>,
    copied: Rc<Cell<usize>>,
}

impl Load {
    /// Returns a load of nothing, with this limit on the bytes of all messages. A single message
    /// may be larger.
    pub fn new(most: usize) -> Self {
        Load {
            most,
            bytes: Rc::default(),
            copied: Rc::default(),
        }
    }

    /// Returns the load of a caller that has sent messages of this many bytes before.
    pub fn after(most: usize, bytes: usize) -> Self {
        let load = Load::new(most);
        load.put_back(bytes);
        load
    }

    /// Adds the bytes of a message.
    ///
    /// # Errors
    /// [`CanvasError::TooManyBytes`] if that exceeds the limit.
    pub fn add(&self, bytes: usize) -> Result<(), CanvasError> {
        let before = self.bytes.get();
        let after = before.saturating_add(bytes);
        if before > 0 && after > self.most {
            return Err(CanvasError::TooManyBytes(self.most));
        }
        self.bytes.set(after);
        Ok(())
    }

    /// Counts bytes that are copied from signature to signature. They are not put back.
    ///
    /// # Errors
    /// [`CanvasError::TooManyCopies`] if that exceeds the limit.
    pub fn copy(&self, bytes: usize) -> Result<(), CanvasError> {
        let copied = self.copied.get().saturating_add(bytes);
        self.copied.set(copied);
        if copied > self.most.saturating_mul(COPIES) {
            Err(CanvasError::TooManyCopies)
        } else {
            Ok(())
        }
    }

    /// Returns the bytes of the messages so far.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Resets the count to an earlier value: the messages added since will not be sent.
    pub(super) fn put_back(&self, bytes: usize) {
        self.bytes.set(bytes);
    }
}
