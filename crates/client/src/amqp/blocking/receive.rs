//! Messages from a queue: one at hand, or each as it arrives.
//!
//! [`Client::receive`] acknowledges a message after the caller has seen it. If the connection breaks
//! in between, the broker delivers the message again: it is never lost, and may come twice.
//! [`Client::get`] acknowledges before it returns. For [`Client::listen`], the broker forgets a
//! message as it sends it, which suits replies that one process alone waits for.

use celery_protocol::amqp::{Close, Delivery, Event, Method, Reply, Reserved, Short, Table};

use super::client::Client;
use super::link::{Link, OTHERS, unexpected, unexpected_reply};
use crate::blocking::Wait;
use crate::error::ClientError;

/// Limit for deliveries without an acknowledgement. Results are small, and a wait for one result
/// looks at all of its queue.
const PREFETCH: u16 = 100;
/// The name of the consumer, which only its channel knows.
const CONSUMER: &str = "celery";

/// When the broker forgets a message that it has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// When the caller has seen it.
    Seen,
    /// When it is sent.
    Sent,
}

/// Whether a consumer goes on after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next message is wanted.
    More,
    /// The consumer ends.
    Stop,
}

impl Client {
    /// Takes a message out of a queue, or returns `None` if no message is ready.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the code 404 if the queue does not exist.
    pub fn get(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Delivery>, ClientError> {
        self.get_one(queue, true, wait)
    }

    /// Returns a message of a queue and leaves it there, marked as redelivered.
    ///
    /// # Errors
    /// Like [`get`](Self::get).
    pub fn peek(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Delivery>, ClientError> {
        self.get_one(queue, false, wait)
    }

    /// Returns a message of a queue. If it is not `taken`, it returns to the queue.
    fn get_one(
        &mut self,
        queue: &str,
        taken: bool,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Delivery>, ClientError> {
        self.call(wait, |link, wait| {
            let got = get(link, queue, wait)?.map(|(delivery, _)| delivery);
            if let Some(delivery) = &got {
                settle(link, delivery.tag, taken)?;
                link.flush(wait)?;
            }
            Ok(got)
        })
    }

    /// Hands each message of a queue to `take` as it arrives, until `take` returns
    /// [`Flow::Stop`]. Messages that have arrived and were not handed over return to the queue.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline, [`ClientError::Broker`] with the code 404 if the
    /// queue does not exist or is deleted meanwhile.
    pub fn receive(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
        take: impl FnMut(Delivery) -> Flow,
    ) -> Result<(), ClientError> {
        self.consume(queue, Forgotten::Seen, wait, take)
    }

    /// Like [`receive`](Self::receive), but the broker forgets each message as it sends it, which
    /// costs no acknowledgement.
    ///
    /// `take` gets every message that arrives, also those that arrive after it has returned
    /// [`Flow::Stop`] and before the broker has ended the consumer. A message that is on its way
    /// when the call fails is lost.
    ///
    /// # Errors
    /// Like [`receive`](Self::receive).
    pub fn listen(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
        take: impl FnMut(Delivery) -> Flow,
    ) -> Result<(), ClientError> {
        self.consume(queue, Forgotten::Sent, wait, take)
    }

    fn consume(
        &mut self,
        queue: &str,
        forgotten: Forgotten,
        wait: &mut Wait<'_>,
        mut take: impl FnMut(Delivery) -> Flow,
    ) -> Result<(), ClientError> {
        let mut link = self.acquire(wait)?;
        start(&mut link, queue, forgotten, wait)?;
        loop {
            match link.event(wait, "a message")? {
                Event::Delivered {
                    channel: OTHERS,
                    delivery,
                    ..
                } => {
                    let tag = delivery.tag;
                    let flow = take(*delivery);
                    if forgotten == Forgotten::Seen {
                        settle(&mut link, tag, true)?;
                    }
                    if flow == Flow::Stop {
                        break;
                    }
                }
                Event::ConsumerCancelled(OTHERS, _) => return Err(queue_is_gone(queue)),
                Event::ChannelClosed(OTHERS, close) => return Err(ClientError::Broker(close)),
                other => return Err(unexpected(&other)),
            }
        }
        stop(&mut link, wait, |link, delivery| match forgotten {
            Forgotten::Seen => settle(link, delivery.tag, false),
            Forgotten::Sent => {
                take(delivery);
                Ok(())
            }
        })?;
        self.keep(link);
        Ok(())
    }
}

fn short(name: &str) -> Result<Short<'_>, ClientError> {
    Short::new(name).map_err(ClientError::Unsendable)
}

/// Asks for a message of a queue. Returns it with the number of those that are left.
pub(super) fn get(
    link: &mut Link,
    queue: &str,
    wait: &mut Wait<'_>,
) -> Result<Option<(Delivery, u32)>, ClientError> {
    got(link.ask(&get_from(queue)?, wait, "a message")?)
}

/// Returns the request for a message of a queue.
pub(super) fn get_from(queue: &str) -> Result<Method<'_>, ClientError> {
    Ok(Method::BasicGet {
        ticket: Reserved::default(),
        queue: short(queue)?,
        no_ack: false,
    })
}

/// Reads the answer to such a request.
pub(super) fn got(answer: Result<Reply, Close>) -> Result<Option<(Delivery, u32)>, ClientError> {
    match answer {
        Ok(Reply::Got(delivery, left)) => Ok(Some((delivery, left))),
        Ok(Reply::Empty) => Ok(None),
        Ok(other) => Err(unexpected_reply(&other)),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

/// Acknowledges a delivery, or puts it back.
pub(super) fn settle(link: &mut Link, delivery_tag: u64, taken: bool) -> Result<(), ClientError> {
    let method = if taken {
        Method::BasicAck {
            delivery_tag,
            multiple: false,
        }
    } else {
        Method::BasicNack {
            delivery_tag,
            multiple: false,
            requeue: true,
        }
    };
    let settled = link.session.request(OTHERS, &method);
    settled.map_err(ClientError::Unsendable)
}

/// Starts the consumer.
pub(super) fn start(
    link: &mut Link,
    queue: &str,
    forgotten: Forgotten,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    const WHAT: &str = "the start of a consumer";
    let limit = Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: PREFETCH,
        global: false,
    };
    let consume = Method::BasicConsume {
        ticket: Reserved::default(),
        queue: short(queue)?,
        consumer_tag: short(CONSUMER)?,
        no_local: false,
        no_ack: forgotten == Forgotten::Sent,
        exclusive: false,
        no_wait: false,
        arguments: Table::default(),
    };
    for request in [&limit, &consume] {
        match link.ask(request, wait, WHAT)? {
            Ok(Reply::Done | Reply::Consuming(_)) => {}
            Ok(other) => return Err(unexpected_reply(&other)),
            Err(close) => return Err(ClientError::Broker(close)),
        }
    }
    Ok(())
}

/// Ends the consumer. Hands the messages that arrive before its end to `late`.
pub(super) fn stop(
    link: &mut Link,
    wait: &mut Wait<'_>,
    mut late: impl FnMut(&mut Link, Delivery) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let cancel = Method::BasicCancel {
        consumer_tag: short(CONSUMER)?,
        no_wait: false,
    };
    link.session
        .request(OTHERS, &cancel)
        .map_err(ClientError::Unsendable)?;
    loop {
        match link.event(wait, "the end of a consumer")? {
            Event::Delivered { delivery, .. } => late(link, *delivery)?,
            Event::Replied(OTHERS, Reply::Cancelled(_)) => return link.flush(wait),
            // The queue was deleted at the same moment; the answer still comes.
            Event::ConsumerCancelled(OTHERS, _) => {}
            Event::ChannelClosed(OTHERS, close) => return Err(ClientError::Broker(close)),
            other => return Err(unexpected(&other)),
        }
    }
}

pub(super) fn queue_is_gone(queue: &str) -> ClientError {
    ClientError::Broker(Close {
        code: 404,
        text: format!("the consumer of queue '{queue}' was cancelled: the queue was deleted"),
        method: (0, 0),
    })
}
