//! Queues: looked at, created as Celery does, and counted.
//!
//! A queue that may exist is never declared with guessed arguments, because the broker refuses
//! arguments that differ from those of the queue (406). It is looked at first.

use celery_protocol::amqp::{Close, Method, Reply, TableBuf};

use super::connection::Connection;
use super::failure::Failure;
use crate::amqp::declaration::{self, NOT_FOUND, PRECONDITION_FAILED};
use crate::amqp::{Queue, QueueState};

impl Connection {
    /// Returns the state of a queue, or `None` if it does not exist. The inner error is a refusal.
    ///
    /// The channel should have no other use: the server closes it if the queue does not exist. It is
    /// opened if it is not open.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn look_at_queue(
        &mut self,
        channel: u16,
        name: &str,
    ) -> Result<Result<Option<QueueState>, Close>, Failure> {
        let look = declaration::look_at_queue(name).map_err(Failure::Unsendable)?;
        Ok(match self.ask_opening(channel, &look).await? {
            Ok(reply) => Ok(declaration::state(reply).ok()),
            Err(close) if close.code == NOT_FOUND => Ok(None),
            Err(close) => Err(close),
        })
    }

    /// Creates a queue unless it exists, with an exchange of its name and the binding between them,
    /// as Celery does. An existing queue stays as it is. Like
    /// [`look_at_queue`](Self::look_at_queue), this needs a channel of its own.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn find_queue(
        &mut self,
        channel: u16,
        queue: &Queue<'_>,
    ) -> Result<Result<(), Close>, Failure> {
        match self.look_at_queue(channel, queue.name).await? {
            Ok(Some(_)) => return Ok(Ok(())),
            Ok(None) => {}
            Err(close) => return Ok(Err(close)),
        }
        match self.declare_queue(channel, queue).await? {
            Ok(()) => {}
            // Another program was faster, and declared it otherwise.
            Err(close) if close.code == PRECONDITION_FAILED => return Ok(Ok(())),
            Err(close) => return Ok(Err(close)),
        }
        let exchange = declaration::exchange(queue.name, false).map_err(Failure::Unsendable)?;
        let binding = declaration::binding(queue.name, queue.name, queue.name);
        let binding = binding.map_err(Failure::Unsendable)?;
        for request in [&exchange, &binding] {
            match self.ask_opening(channel, request).await? {
                Ok(_) => {}
                // An exchange of another kind has this name. The queue gets what is published to the
                // exchange without a name in any case.
                Err(close) if close.code == PRECONDITION_FAILED => {}
                Err(close) => return Ok(Err(close)),
            }
        }
        Ok(Ok(()))
    }

    /// Declares a queue. The inner error has the code 406 if it exists with other arguments.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn declare_queue(
        &mut self,
        channel: u16,
        queue: &Queue<'_>,
    ) -> Result<Result<(), Close>, Failure> {
        let arguments = TableBuf::from_fields(&queue.arguments).map_err(Failure::Unsendable)?;
        let declare = declaration::queue(queue, &arguments).map_err(Failure::Unsendable)?;
        let declared = self.ask_opening(channel, &declare).await?;
        Ok(declared.map(drop))
    }

    /// Like [`ask`](Self::ask), on a channel that the server may have closed.
    ///
    /// # Errors
    /// Like [`ask`](Self::ask).
    pub async fn ask_opening(
        &mut self,
        channel: u16,
        method: &Method<'_>,
    ) -> Result<Result<Reply, Close>, Failure> {
        if !self.is_channel_open(channel) {
            self.open_channel(channel).await?;
        }
        self.ask(channel, method).await
    }
}
