//! A link that listens to a channel, and leaves it again.
//!
//! Leaving is not waited for: whoever uses the link next reads up to the answer, perhaps together with the answer to
//! entering the next channel.

use redis::Value;

use super::{Answer, Link, Listening};
use crate::blocking::Wait;
use crate::blocking::reply::Shape;
use crate::error::{ClientError, ServerError};

impl Link {
    /// Subscribes to a channel; what Redis refused is the inner error. Nothing may be owed.
    pub(in crate::blocking) fn subscribe(
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

    /// The next message on the channel.
    pub(in crate::blocking) fn message(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        loop {
            let Ok(Value::Array(mut parts)) = self.answer(Shape::Message, wait, "the result")?
            else {
                self.broken = true;
                return Err(ClientError::Protocol(
                    "a channel brought something that is no message".to_owned(),
                ));
            };
            if let (true, Some(Value::BulkString(payload))) =
                (is_text(parts.first(), b"message"), parts.pop())
            {
                return Ok(payload);
            }
        }
    }

    /// Takes back that the link broke: only the time for the next message was over.
    pub(in crate::blocking) fn still_whole(&mut self) {
        self.broken = false;
    }

    /// Leaves the channel without waiting for the answer: the next user reads up to it.
    pub(in crate::blocking) fn unsubscribe(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        self.listening = Listening::Leaving;
        self.pack(&redis::cmd("UNSUBSCRIBE"));
        self.flush(wait)
    }

    /// Makes sure that the link is in the state in which commands are answered.
    pub(in crate::blocking) fn await_departure(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        while self.listening == Listening::Leaving {
            let answer = self.answer(Shape::Message, wait, "the answer to UNSUBSCRIBE")?;
            self.depart(answer);
        }
        Ok(())
    }

    /// The same as far as answers have arrived: behind the last of them the server may have closed the connection.
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

    /// What comes before the answer to UNSUBSCRIBE was said to the channel.
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
