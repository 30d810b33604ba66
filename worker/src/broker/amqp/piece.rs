//! What is published for the end of a delivery, and what is published instead if RabbitMQ does not
//! take it.

use celery_client::amqp::aio::{Confirm, Publication};
use celery_protocol::amqp::{AmqpError, Properties, TableBuf};

use super::dead::{self, Length};
use super::message::{self, Message};
use super::publisher::reason;
use super::replies::Reply;
use crate::broker::settlement::Letter;
use crate::printable::one_line;

/// A message that is published for a settlement.
#[derive(Debug)]
pub(super) enum Piece<'b> {
    /// A message that the consumer has written.
    Written(&'b str, &'b [u8]),
    /// A held message, for a queue and with other headers.
    Copy(Message, &'b str, TableBuf),
    /// A dead letter.
    Dead(Box<Dead<'b>>),
    /// A result, as a reply.
    Reply(Box<Reply<'b>>),
}

/// A dead letter.
#[derive(Debug)]
pub(super) struct Dead<'b> {
    of: Of<'b>,
    letter: Letter,
    node: &'b str,
    length: Length,
    headers: TableBuf,
}

/// What becomes a dead letter.
#[derive(Debug)]
enum Of<'b> {
    /// A held message.
    Held(Message),
    /// A text.
    Text(&'b [u8]),
    /// A message that the consumer has written, and RabbitMQ does not take.
    Written(&'b [u8]),
}

impl<'b> Piece<'b> {
    /// Returns the dead letter of a held message.
    pub(super) fn held(message: Message, letter: Letter, node: &'b str) -> Result<Self, AmqpError> {
        Dead::piece(Of::Held(message), letter, node, Length::Whole)
    }

    /// Returns the dead letter of a text.
    pub(super) fn text(text: &'b [u8], letter: Letter, node: &'b str) -> Result<Self, AmqpError> {
        Dead::piece(Of::Text(text), letter, node, Length::Whole)
    }

    /// Returns the message in the form in which it is published.
    ///
    /// # Errors
    /// [`AmqpError`] if it cannot be written.
    pub(super) fn publication(&self) -> Result<Publication<'_>, AmqpError> {
        match self {
            Piece::Written(queue, bytes) => message::publication(queue, bytes),
            Piece::Copy(message, queue, headers) => Ok(message.copy(queue, headers)),
            Piece::Dead(dead) => dead.publication(),
            Piece::Reply(reply) => Ok(reply.publication()),
        }
    }

    /// Returns what is published in place of a message that RabbitMQ does not take for good. `None`:
    /// nothing can be.
    ///
    /// A message that follows from a task becomes a dead letter, because the task has run, and
    /// running it again would change nothing. A dead letter loses its headers.
    pub(super) fn instead(&self, answer: &Confirm, node: &'b str) -> Option<Self> {
        match (self, answer) {
            (Piece::Written(queue, bytes), Confirm::Unroutable(_) | Confirm::Refused(_)) => {
                let cause = match answer {
                    Confirm::Unroutable(_) => "unroutable",
                    _ => "refused",
                };
                tracing::error!(
                    "A message for the queue {} was not published but becomes a dead letter: {}",
                    one_line(queue),
                    reason(answer)
                );
                let letter = message::describe(queue, bytes, cause).ok()?;
                Dead::piece(Of::Written(bytes), letter, node, Length::Whole).ok()
            }
            (Piece::Dead(dead), Confirm::Refused(_)) => dead.shorter(),
            _ => None,
        }
    }

    /// Returns `true` if it is a dead letter.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self, Piece::Dead(_))
    }
}

impl<'b> Dead<'b> {
    fn piece(
        of: Of<'b>,
        letter: Letter,
        node: &'b str,
        length: Length,
    ) -> Result<Piece<'b>, AmqpError> {
        let described = dead::headers(&letter, node, length)?;
        let headers = match (&of, length) {
            (_, Length::Short) | (Of::Text(_), _) => described,
            (Of::Held(message), _) => message.headers_of_letter(described),
            (Of::Written(bytes), _) => {
                let written = message::publication("", bytes)?.properties.headers;
                written
                    .unwrap_or_default()
                    .without(|_| false)?
                    .followed_by(&described)
            }
        };
        Ok(Piece::Dead(Box::new(Dead {
            of,
            letter,
            node,
            length,
            headers,
        })))
    }

    fn publication(&self) -> Result<Publication<'_>, AmqpError> {
        let (properties, body) = match &self.of {
            Of::Held(message) => (message.properties(), message.body()),
            Of::Text(text) => (Properties::default(), *text),
            Of::Written(bytes) => {
                let written = message::publication(dead::QUEUE, bytes)?;
                (written.properties, written.body)
            }
        };
        Ok(Publication {
            routing_key: dead::QUEUE,
            properties: dead::properties(properties, &self.headers),
            body,
            ..Publication::default()
        })
    }

    /// Returns the letter without the headers of its message, which fill a frame.
    fn shorter(&self) -> Option<Piece<'b>> {
        if self.length == Length::Short {
            return None;
        }
        let of = match &self.of {
            Of::Held(message) => Of::Held(message.clone()),
            Of::Text(text) => Of::Text(text),
            Of::Written(bytes) => Of::Written(bytes),
        };
        Dead::piece(of, self.letter.clone(), self.node, Length::Short).ok()
    }
}
