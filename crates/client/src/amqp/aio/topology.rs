//! Queues: looked at, created as Celery does, counted and consumed. Exchanges of remote control and
//! events.
//!
//! A queue that may exist is never declared with guessed arguments, because the broker refuses
//! arguments that differ from those of the queue (406). It is looked at first.

use celery_protocol::amqp::{AmqpError, Close, Method, Reply, Reserved, Short, Table, TableBuf};
use celery_protocol::fields::Fields;

use super::connection::Connection;
use super::failure::Failure;
use crate::amqp::declaration::{self, NOT_FOUND, PRECONDITION_FAILED};
use crate::amqp::{ACCESS_REFUSED, Exchange, Queue, QueueState, Temporary};

/// A consumer to start.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Consumer<'n> {
    /// Its queue.
    pub queue: &'n str,
    /// Its name, which no other consumer of its channel has.
    pub tag: &'n str,
    /// The most messages that the server delivers before one is acknowledged. `None`: the server
    /// forgets each message as it delivers it.
    pub prefetch: Option<u16>,
}

impl<'n> Consumer<'n> {
    /// Returns a consumer whose messages are not acknowledged.
    pub fn new(queue: &'n str, tag: &'n str) -> Self {
        Consumer {
            queue,
            tag,
            prefetch: None,
        }
    }

    /// Sets the most messages that are delivered before one is acknowledged, at least one.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages.max(1));
        self
    }

    fn request<'a>(&'a self, arguments: Table<'a>) -> Result<Method<'a>, Failure> {
        Ok(Method::BasicConsume {
            ticket: Reserved::default(),
            queue: Short::new(self.queue).map_err(Failure::Unsendable)?,
            consumer_tag: Short::new(self.tag).map_err(Failure::Unsendable)?,
            no_local: false,
            no_ack: self.prefetch.is_none(),
            exclusive: false,
            no_wait: false,
            arguments,
        })
    }
}

impl Connection {
    /// Declares an exchange of remote control or events. One that exists stays as it is, and so the
    /// user needs no right to configure it.
    ///
    /// The channel should have no other use: the server may close it. It is opened if it is not open.
    ///
    /// # Errors
    /// The inner error is a refusal. Any [`Failure`] ends the connection.
    pub async fn declare_exchange(
        &mut self,
        channel: u16,
        exchange: Exchange,
    ) -> Result<Result<(), Close>, Failure> {
        let [declare, look] = [false, true].map(|it| declaration::known_exchange(exchange, it));
        let declare = declare.map_err(Failure::Unsendable)?;
        let look = look.map_err(Failure::Unsendable)?;
        let Err(refusal) = self.ask_opening(channel, &declare).await? else {
            return Ok(Ok(()));
        };
        Ok(match refusal.code {
            // It exists with other properties.
            PRECONDITION_FAILED => Ok(()),
            ACCESS_REFUSED => {
                let looked = self.ask_opening(channel, &look).await?;
                looked.map(drop).map_err(|_| refusal)
            }
            _ => Err(refusal),
        })
    }

    /// Declares a queue of this connection with its exchange, and binds it. Like
    /// [`declare_exchange`](Self::declare_exchange), this may close the channel.
    ///
    /// # Errors
    /// The inner error is a refusal. It has the code 405 if another connection has the queue. Any
    /// [`Failure`] ends the connection.
    pub async fn declare_temporary(
        &mut self,
        channel: u16,
        temporary: &Temporary<'_>,
    ) -> Result<Result<(), Close>, Failure> {
        let Temporary {
            exchange,
            queue,
            routing_key,
            ..
        } = *temporary;
        if let Err(close) = self.declare_exchange(channel, exchange).await? {
            return Ok(Err(close));
        }
        let declaration = temporary.declaration().map_err(Failure::Unsendable)?;
        if let Err(close) = self.declare_queue(channel, &declaration).await? {
            return Ok(Err(close));
        }
        let binding = declaration::binding(queue, exchange.name, routing_key);
        let binding = binding.map_err(Failure::Unsendable)?;
        Ok(self.ask(channel, &binding).await?.map(drop))
    }

    /// Starts a consumer. The channel must be open.
    ///
    /// # Errors
    /// The inner error is a refusal, which has closed the channel. Any [`Failure`] ends the
    /// connection.
    pub async fn consume(
        &mut self,
        channel: u16,
        consumer: &Consumer<'_>,
    ) -> Result<Result<(), Close>, Failure> {
        let limit = Method::BasicQos {
            prefetch_size: 0,
            prefetch_count: consumer.prefetch.unwrap_or(0),
            // For each consumer: quorum queues know no other limit.
            global: false,
        };
        let consume = consumer.request(Table::default())?;
        for request in [&limit, &consume] {
            if let Err(close) = self.ask(channel, request).await? {
                return Ok(Err(close));
            }
        }
        Ok(Ok(()))
    }

    /// Asks whether a queue may be consumed, without taking a message from it. The channel should
    /// have no other use: the server closes it.
    ///
    /// The request is a consumer with an argument that RabbitMQ refuses (406). It looks at the
    /// queue (404) and the rights of the user (403) first.
    ///
    /// # Errors
    /// The inner error is the refusal. Any [`Failure`] ends the connection.
    pub async fn may_consume(
        &mut self,
        channel: u16,
        queue: &str,
    ) -> Result<Result<(), Close>, Failure> {
        let mut arguments = Fields::new();
        let set = arguments.set("x-priority", "none");
        set.map_err(|error| Failure::Unsendable(AmqpError::Json(error.to_string())))?;
        let arguments = TableBuf::from_fields(&arguments).map_err(Failure::Unsendable)?;
        let consumer = Consumer::new(queue, "look").prefetch(1);
        let look = consumer.request(arguments.as_table())?;
        match self.ask_opening(channel, &look).await? {
            Err(close) if close.code == PRECONDITION_FAILED => Ok(Ok(())),
            Err(close) => Ok(Err(close)),
            // A server that accepts it has started a consumer, which ends with its channel.
            Ok(_) => self.end_channel(channel).await.map(Ok),
        }
    }

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
                // An exchange of another kind has this name, or the user may only write to the queue.
                // The queue gets what is published to the exchange without a name in any case.
                Err(close) if matches!(close.code, PRECONDITION_FAILED | ACCESS_REFUSED) => {}
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
