//! The pipelined posts of a connection.

use super::link::Link;
use super::outcome::Round;
use super::post::Post;
use crate::blocking::Wait;
use crate::error::ClientError;

/// A connection with posts whose outcomes were not collected.
pub(super) struct Owing {
    pub(super) link: Box<Link>,
    pub(super) round: Round<Post>,
    /// The bytes of their bodies and headers.
    pub(super) bytes: usize,
}

impl Owing {
    /// Takes what the broker has said so far.
    pub(super) fn look(&mut self) -> Result<(), ClientError> {
        self.link.read_at_hand()?;
        while let Some(event) = self.link.event_at_hand()? {
            self.round.take(event)?;
        }
        Ok(())
    }

    /// Waits until the broker has answered all posts.
    pub(super) fn wait_for_answers(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.link.flush(wait)?;
        while !self.round.is_answered() {
            let event = self.link.event(wait, "the confirm of the post")?;
            self.round.take(event)?;
        }
        Ok(())
    }
}
