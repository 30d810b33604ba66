//! The state of a channel: its requests, its confirms and the message that is arriving.

use std::collections::VecDeque;

use super::event::{Content, Delivery, Event, Reply, Returned};
use crate::amqp::confirms::Confirms;
use crate::amqp::error::AmqpError;
use crate::amqp::properties::Properties;

/// Memory that is set aside for a body before its bytes arrive. The size that a header announces is
/// not trusted beyond that.
const FIRST_ROOM: usize = 64 << 10;

/// How far a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The server was asked to open it.
    Opening,
    /// It is open.
    Open,
    /// The server was asked to close it; what arrives meanwhile is skipped.
    Closing,
}

/// What a message is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Return {
        code: u16,
        text: String,
    },
    Deliver {
        consumer: String,
        tag: u64,
        redelivered: bool,
    },
    Get {
        tag: u64,
        redelivered: bool,
        left: u32,
    },
}

/// A message whose method has arrived.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) purpose: Purpose,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// The header and the size that it announces, once it has arrived.
    header: Option<(Vec<u8>, usize)>,
    body: Vec<u8>,
    /// `true` if the body is too large, so that its parts are only counted.
    is_left_out: bool,
    /// The number of bytes of the body that have arrived.
    count: usize,
}

/// The largest body, and what becomes of a larger one.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit {
    pub(super) most: usize,
    /// `true` if a larger body is left out; otherwise it is an error.
    pub(super) leaves_out: bool,
}

impl Arriving {
    pub(super) fn new(purpose: Purpose, exchange: String, routing_key: String) -> Self {
        Self {
            purpose,
            exchange,
            routing_key,
            header: None,
            body: Vec::new(),
            is_left_out: false,
            count: 0,
        }
    }

    /// Returns `true` if the body is complete.
    fn is_complete(&self) -> bool {
        matches!(&self.header, Some((_, size)) if *size == self.count)
    }
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) phase: Phase,
    /// The methods that answer the open requests, the oldest first.
    expected: VecDeque<(u16, u16)>,
    /// The publications without an answer, if confirms are on.
    pub(super) confirms: Option<Confirms>,
    pub(super) arriving: Option<Arriving>,
}

impl Channel {
    pub(super) fn opening() -> Self {
        Self {
            phase: Phase::Opening,
            expected: VecDeque::new(),
            confirms: None,
            arriving: None,
        }
    }

    /// Notes a request whose answer has these numbers.
    pub(super) fn expect(&mut self, answer: (u16, u16)) {
        self.expected.push_back(answer);
    }

    /// Takes the oldest open request, which this method must answer.
    pub(super) fn answered(&mut self, answer: (u16, u16)) -> bool {
        let fits = self.expected.front() == Some(&answer);
        if fits {
            self.expected.pop_front();
        }
        fits
    }

    /// Takes the header of the message that is arriving.
    pub(super) fn header(
        &mut self,
        number: u16,
        payload: &[u8],
        limit: BodyLimit,
    ) -> Result<Option<Event>, AmqpError> {
        let unexpected = AmqpError::Unexpected {
            what: "header",
            channel: number,
        };
        let arriving = self.arriving.as_mut().ok_or(unexpected.clone())?;
        if arriving.header.is_some() {
            return Err(unexpected);
        }
        let size = usize::try_from(Properties::body_size(payload)?).unwrap_or(usize::MAX);
        arriving.is_left_out = size > limit.most;
        if arriving.is_left_out && !limit.leaves_out {
            return Err(AmqpError::TooLarge {
                what: "the body of a message",
                limit: limit.most,
            });
        }
        arriving.header = Some((payload.to_vec(), size));
        if !arriving.is_left_out {
            arriving.body.reserve(size.min(FIRST_ROOM));
        }
        Ok(self.arrived(number))
    }

    /// Takes a part of the body of the message that is arriving.
    pub(super) fn body(&mut self, number: u16, part: &[u8]) -> Result<Option<Event>, AmqpError> {
        let unexpected = AmqpError::Unexpected {
            what: "body",
            channel: number,
        };
        let arriving = self.arriving.as_mut().ok_or(unexpected.clone())?;
        let Some((_, size)) = arriving.header else {
            return Err(unexpected);
        };
        if part.len() > size - arriving.count {
            return Err(AmqpError::Malformed(
                "a body is longer than its header announced",
            ));
        }
        arriving.count += part.len();
        if !arriving.is_left_out {
            arriving.body.extend_from_slice(part);
        }
        Ok(self.arrived(number))
    }

    /// Returns the message if it is complete.
    fn arrived(&mut self, channel: u16) -> Option<Event> {
        let arrived = self.arriving.take_if(|arriving| arriving.is_complete())?;
        let (exchange, routing_key) = (arrived.exchange, arrived.routing_key);
        let content = Content {
            header: arrived.header.map(|(header, _)| header).unwrap_or_default(),
            body: arrived.body,
        };
        let delivery = |tag, redelivered, content| Delivery {
            tag,
            redelivered,
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            content,
        };
        Some(match arrived.purpose {
            Purpose::Return { code, text } => Event::Returned(
                channel,
                Box::new(Returned {
                    code,
                    text,
                    exchange,
                    routing_key,
                    content,
                }),
            ),
            Purpose::Deliver {
                consumer,
                tag,
                redelivered,
            } => Event::Delivered {
                channel,
                consumer,
                delivery: Box::new(delivery(tag, redelivered, content)),
            },
            Purpose::Get {
                tag,
                redelivered,
                left,
            } => Event::Replied(
                channel,
                Reply::Got(delivery(tag, redelivered, content), left),
            ),
        })
    }
}
