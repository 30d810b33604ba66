//! A consumer for the replies of workers.
//!
//! The caller learns of the time that passes without a reply, and decides when the wait ends.

use std::time::Duration;

use celery_protocol::amqp::{Delivery, Event, Method};

use super::client::Client;
use super::link::{Link, OTHERS, unexpected};
use super::receive::{Flow, Forgotten, get, get_from, got, queue_is_gone, settle, start, stop};
use crate::amqp::declaration::PRECONDITION_FAILED;
use crate::blocking::{NeverInterrupt, Wait};
use crate::error::ClientError;

/// Time for ending the consumer after the deadline, so that the connection can be used again.
const LAST_MOMENT: Duration = Duration::from_millis(100);
/// The number of messages that are asked for before an answer is read.
const AT_ONCE: u32 = 50;

/// What remains in the queue of a [`follow`](Client::follow).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing that was handed over.
    Nothing,
    /// The newest message that was handed over.
    Newest,
}

impl Client {
    /// Hands each message of a queue to `take` as it arrives, until `take` returns
    /// [`Flow::Stop`]. `take` gets `None` once the consumer has started, and whenever `tick` passes
    /// without a message.
    ///
    /// Messages that arrive after `take` has returned [`Flow::Stop`] are handed over as well if
    /// nothing shall remain. Otherwise they go back: another reader may have held an older one. If
    /// the connection breaks, messages that were handed over may come again.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline, [`ClientError::Broker`] with the code 404 if the
    /// queue does not exist or is deleted meanwhile.
    pub fn follow(
        &mut self,
        queue: &str,
        remains: Remains,
        tick: Duration,
        wait: &mut Wait<'_>,
        mut take: impl FnMut(Option<Delivery>) -> Flow,
    ) -> Result<(), ClientError> {
        let mut link = self.acquire(wait)?;
        if let Err(error) = start(&mut link, queue, Forgotten::Seen, wait) {
            // A refusal closes a channel, not the connection.
            if matches!(error, ClientError::Broker(_)) && link.is_alive() {
                self.keep(link);
            }
            return Err(error);
        }
        let mut seen = Seen {
            remains,
            newest: None,
        };
        let first = take(None);
        let ended = loop {
            if first == Flow::Stop {
                break Ok(());
            }
            match link.event_within(tick, wait, "a reply") {
                Ok(Some(Event::Delivered {
                    channel: OTHERS,
                    delivery,
                    ..
                })) => {
                    seen.note(&mut link, delivery.tag)?;
                    if take(Some(*delivery)) == Flow::Stop {
                        break Ok(());
                    }
                }
                Ok(Some(Event::ConsumerCancelled(OTHERS, _))) => return Err(queue_is_gone(queue)),
                // The server waits for an acknowledgement for a limited time (`consumer_timeout`).
                // What was held goes back, and comes again.
                Ok(Some(Event::ChannelClosed(OTHERS, close)))
                    if close.code == PRECONDITION_FAILED && seen.newest.is_some() =>
                {
                    seen.newest = None;
                    start(&mut link, queue, Forgotten::Seen, wait)?;
                }
                Ok(Some(Event::ChannelClosed(OTHERS, close))) => {
                    return Err(ClientError::Broker(close));
                }
                Ok(Some(other)) => return Err(unexpected(&other)),
                Ok(None) if take(None) == Flow::Stop => break Ok(()),
                Ok(None) => {}
                Err(late @ ClientError::Timeout { .. }) => break Err(late),
                Err(error) => return Err(error),
            }
        };
        let late = |link: &mut Link, delivery: Delivery| match remains {
            Remains::Nothing => {
                seen.note(link, delivery.tag)?;
                take(Some(delivery));
                Ok(())
            }
            Remains::Newest => settle(link, delivery.tag, false),
        };
        let mut never = NeverInterrupt;
        let stopped = match ended {
            Ok(()) => stop(&mut link, wait, late),
            Err(_) => stop(&mut link, &mut Wait::new(LAST_MOMENT, &mut never), late),
        };
        // The caller has its messages. A connection that fails here is dropped.
        if stopped.and_then(|()| seen.end(&mut link, wait)).is_ok() {
            self.keep(link);
        }
        ended
    }

    /// Hands the messages that are ready in a queue to `take`, and acknowledges them.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the code 404 if the queue does not exist.
    pub fn take_ready(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
        mut take: impl FnMut(Delivery),
    ) -> Result<(), ClientError> {
        self.call(wait, |link, wait| {
            let mut asked = 1;
            while asked > 0 {
                asked = take_some(link, queue, asked, wait, &mut take)?.min(AT_ONCE);
            }
            link.flush(wait)
        })
    }

    /// Returns the newest message of a queue and leaves it there. Older ones are removed.
    ///
    /// # Errors
    /// Like [`take_ready`](Self::take_ready).
    pub fn newest(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Delivery>, ClientError> {
        self.call(wait, |link, wait| {
            let mut newest: Option<Delivery> = None;
            while let Some((delivery, left)) = get(link, queue, wait)? {
                if let Some(older) = newest.replace(delivery) {
                    settle(link, older.tag, true)?;
                }
                if left == 0 {
                    break;
                }
            }
            if let Some(newest) = &newest {
                settle(link, newest.tag, false)?;
                link.flush(wait)?;
            }
            Ok(newest)
        })
    }
}

/// Asks for this number of messages, and acknowledges those that come. Returns the number of those
/// that are left.
fn take_some(
    link: &mut Link,
    queue: &str,
    asked: u32,
    wait: &mut Wait<'_>,
    take: &mut impl FnMut(Delivery),
) -> Result<u32, ClientError> {
    link.open_others()?;
    for _ in 0..asked {
        let packed = link.session.request(OTHERS, &get_from(queue)?);
        packed.map_err(ClientError::Unsendable)?;
    }
    let (mut last, mut left) = (None, 0);
    for _ in 0..asked {
        match got(link.wait_for_reply(OTHERS, wait, "a message")?)? {
            Some((delivery, more)) => {
                (last, left) = (Some(delivery.tag), more);
                take(delivery);
            }
            None => left = 0,
        }
    }
    if let Some(delivery_tag) = last {
        let ack = Method::BasicAck {
            delivery_tag,
            multiple: true,
        };
        let packed = link.session.request(OTHERS, &ack);
        packed.map_err(ClientError::Unsendable)?;
    }
    Ok(left)
}

/// The acknowledgements of what was handed over.
struct Seen {
    remains: Remains,
    /// The message without an acknowledgement.
    newest: Option<u64>,
}

impl Seen {
    fn note(&mut self, link: &mut Link, tag: u64) -> Result<(), ClientError> {
        match self.remains {
            Remains::Nothing => settle(link, tag, true),
            Remains::Newest => match self.newest.replace(tag) {
                Some(older) => settle(link, older, true),
                None => Ok(()),
            },
        }
    }

    /// Puts the newest message back.
    fn end(&mut self, link: &mut Link, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let Some(newest) = self.newest.take() else {
            return Ok(());
        };
        settle(link, newest, false)?;
        link.flush(wait)
    }
}
