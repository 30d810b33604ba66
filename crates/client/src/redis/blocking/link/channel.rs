//! Listening to a channel on a link, and leaving it.
//!
//! The link does not wait for the answer to UNSUBSCRIBE. The next user of the link reads up to that
//! answer, possibly together with the answer to the next subscription.

use redis::Value;

use super::{Answer, Link, Listening};
use crate::blocking::Wait;
use crate::error::{ClientError, ServerError};
use crate::redis::blocking::reply::Shape;

impl Link {
    /// Subscribes to a channel. A refusal of Redis is the inner error. The link must not owe any
    /// answer.
    pub(in crate::redis::blocking) fn subscribe(
        &mut self,
        channel: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Result<(), ServerError>, ClientError> {
        self.pack(redis::cmd("SUBSCRIBE").arg(channel));
        self.flush(wait)?;
        let was_leaving = self.listening == Listening::Leaving;
        if was_leaving {
            self.await_departure(wait)?;
        }
        self.listening = Listening::Yes;
        match self.answer(Shape::Message, wait, "the answer to SUBSCRIBE")? {
            Ok(Value::Array(parts)) if is_text(parts.first(), b"subscribe") => Ok(Ok(())),
            Ok(_) => {
                self.broken = true;
                Err(ClientError::Protocol(
                    "SUBSCRIBE was answered with something else".to_owned(),
                ))
            }
            Err(refused) => {
                self.listening = Listening::No;
                Ok(Err(refused))
            }
        }
    }

    /// Returns the next message of the channel.
    pub(in crate::redis::blocking) fn message(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        loop {
            let Ok(Value::Array(mut parts)) = self.answer(Shape::Message, wait, "the result")?
            else {
                self.broken = true;
                return Err(ClientError::Protocol(
                    "a channel sent something that is not a message".to_owned(),
                ));
            };
            if let (true, Some(Value::BulkString(payload))) =
                (is_text(parts.first(), b"message"), parts.pop())
            {
                return Ok(payload);
            }
        }
    }

    /// Marks the link as whole again after a timeout between two messages, which broke nothing.
    pub(in crate::redis::blocking) fn still_whole(&mut self) {
        self.broken = false;
    }

    /// Leaves the channel without waiting for the answer; the next user of the link reads up to it.
    pub(in crate::redis::blocking) fn unsubscribe(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        self.listening = Listening::Leaving;
        self.pack(&redis::cmd("UNSUBSCRIBE"));
        self.flush(wait)
    }

    /// Waits until the link has left its channel, so that commands are answered again.
    pub(in crate::redis::blocking) fn await_departure(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        while self.listening == Listening::Leaving {
            let answer = self.answer(Shape::Message, wait, "the answer to UNSUBSCRIBE")?;
            self.depart(answer);
        }
        Ok(())
    }

    /// Like [`await_departure`](Self::await_departure), but reads only what has arrived: the server
    /// may have closed the connection after its last answer.
    pub(super) fn depart_at_hand(&mut self) -> Result<(), ClientError> {
        while self.listening == Listening::Leaving {
            if let Some(answer) = self.answer_at_hand(Shape::Message)? {
                self.depart(answer);
            } else {
                let read = self.stream.read_available(&mut self.replies);
                if read.map_err(|broken| self.lost(broken))? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Notes that the link has left if this is the answer to UNSUBSCRIBE. Messages before it belong
    /// to the channel.
    fn depart(&mut self, answer: Answer) {
        if let Ok(Value::Array(parts)) = answer
            && is_text(parts.first(), b"unsubscribe")
        {
            self.listening = Listening::No;
        }
    }
}

fn is_text(value: Option<&Value>, text: &[u8]) -> bool {
    matches!(value, Some(Value::BulkString(bytes)) if bytes == text)
}
