//! Messages with confirms.
//!
//! Every message is published with `mandatory`, unless it may get lost. The broker answers each: it
//! has the message in a queue, it has no queue for it, or it does not take it.

use std::collections::BTreeMap;
use std::time::Duration;

use celery_protocol::amqp::{AmqpError, Close, Event, Properties, Returned, Route, Short};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::failure::Failure;

/// How many bytes may wait to be sent before more messages are written. The limit keeps a batch of
/// large messages from being in memory twice.
const UNSENT: usize = 4 << 20;

/// A message to publish, in the form of AMQP.
#[derive(Clone, Debug, Default)]
pub struct Publication<'m> {
    /// The exchange; empty if the routing key is the name of a queue.
    pub exchange: &'m str,
    /// The routing key.
    pub routing_key: &'m str,
    /// The properties.
    pub properties: Properties<'m>,
    /// The body.
    pub body: &'m [u8],
    /// `true` if the message may get lost when no queue gets it, without a word.
    pub may_be_lost: bool,
}

/// What the broker answers to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirm {
    /// A queue has the message.
    Taken,
    /// No queue gets messages of this routing key: the reason. The message was dropped.
    Unroutable(String),
    /// The broker did not take the message, mostly because its queue is full.
    NotTaken,
    /// The message cannot be written in AMQP, or the server refuses it for good.
    Refused(String),
}

/// A publication without an answer.
struct Open<'m> {
    place: usize,
    message: &'m Publication<'m>,
    returned: Option<String>,
}

impl Connection {
    /// Opens a channel whose publications are confirmed.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn open_confirming(&mut self, channel: u16) -> Result<(), Failure> {
        self.open_channel(channel).await?;
        self.session.confirm(channel).map_err(Failure::Unsendable)?;
        let confirming = self.answer(channel, "confirm.select").await?;
        confirming.map(drop).map_err(Failure::Closed)
    }

    /// Publishes messages on a channel of [`open_confirming`](Self::open_confirming), and notes each
    /// answer at the place of its message. Places that have an answer already are left out, so that
    /// a call can be repeated on another connection.
    ///
    /// While an alarm of the server lasts, the call waits for the `blocked_timeout` of the options.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection. It is then unknown whether the messages without an
    /// answer were published.
    pub async fn publish_all(
        &mut self,
        channel: u16,
        messages: &[Publication<'_>],
        answers: &mut [Option<Confirm>],
    ) -> Result<(), Failure> {
        let mut open = BTreeMap::new();
        for (place, message) in messages.iter().enumerate() {
            if answers.get(place).is_none_or(Option::is_some) {
                continue;
            }
            match self.publish(channel, message) {
                Ok(number) => {
                    let waiting = Open {
                        place,
                        message,
                        returned: None,
                    };
                    open.insert(number, waiting);
                }
                Err(Failure::Unsendable(AmqpError::Channel(_))) => {
                    return Err(Failure::Lost("the channel is closed".to_owned()));
                }
                Err(Failure::Unsendable(error)) => {
                    answer(answers, place, Confirm::Refused(error.to_string()));
                }
                Err(failure) => return Err(failure),
            }
            while self.unsent() > UNSENT {
                self.take_answer(channel, &mut open, answers).await?;
            }
        }
        while !open.is_empty() {
            self.take_answer(channel, &mut open, answers).await?;
        }
        Ok(())
    }

    fn publish(&mut self, channel: u16, message: &Publication<'_>) -> Result<u64, Failure> {
        let short = |text| Short::new(text).map_err(Failure::Unsendable);
        let route = Route {
            exchange: short(message.exchange)?,
            routing_key: short(message.routing_key)?,
            mandatory: !message.may_be_lost,
        };
        let published = self
            .session
            .publish(channel, &route, &message.properties, message.body);
        published.map_err(Failure::Unsendable)
    }

    /// Waits until something arrives, and notes it if it is an answer.
    async fn take_answer(
        &mut self,
        channel: u16,
        open: &mut BTreeMap<u64, Open<'_>>,
        answers: &mut [Option<Confirm>],
    ) -> Result<(), Failure> {
        match self.event_unless_late(channel).await? {
            Event::Confirmed {
                channel: of,
                numbers,
                accepted,
            } if of == channel => {
                for number in numbers {
                    let Some(done) = open.remove(&number) else {
                        continue;
                    };
                    let confirm = match done.returned {
                        Some(reason) => Confirm::Unroutable(reason),
                        None if accepted => Confirm::Taken,
                        None => Confirm::NotTaken,
                    };
                    answer(answers, done.place, confirm);
                }
            }
            Event::Returned(of, returned) if of == channel => note_return(&returned, open),
            Event::ChannelClosed(of, close) if of == channel => {
                return Err(closed(close, open, answers));
            }
            other => self.put_off(other),
        }
        Ok(())
    }

    /// Waits for the next event. The time in which the server reads nothing, by its own account,
    /// does not count. While more of a message is written, its answer is not late.
    async fn event_unless_late(&mut self, channel: u16) -> Result<Event, Failure> {
        /// How often the wait looks whether the alarm has ended.
        const LOOK: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let mut deadline = start + self.response_timeout();
        let mut sent = self.sent();
        loop {
            let look = deadline.min(Instant::now() + LOOK);
            if let Ok(event) = timeout_at(look, self.new_event()).await {
                return event;
            }
            if let Some(reason) = self.blocked()
                && self
                    .blocked_timeout()
                    .is_some_and(|most| start.elapsed() >= most)
            {
                return Err(Failure::Silent(format!(
                    "the server blocks publishers: {reason}"
                )));
            }
            let goes_on = self.sent() != sent;
            sent = self.sent();
            if goes_on || self.blocked().is_some() {
                deadline = Instant::now() + self.response_timeout();
            } else if Instant::now() >= deadline {
                return Err(Failure::late(&format!("confirms on channel {channel}")));
            }
        }
    }
}

/// Notes that the broker gave a message back. Its confirm follows. A return has no number: it
/// belongs to the first open publication to this exchange with this routing key and id that the
/// broker may give back.
fn note_return(returned: &Returned, open: &mut BTreeMap<u64, Open<'_>>) {
    let properties = returned.content.properties().unwrap_or_default();
    let id = properties.correlation_id;
    let is_it = |it: &&mut Open<'_>| {
        let message = it.message;
        it.returned.is_none()
            && !message.may_be_lost
            && message.exchange == returned.exchange
            && message.routing_key == returned.routing_key
            && message.properties.correlation_id.map(Short::bytes) == id.map(Short::bytes)
    };
    if let Some(it) = open.values_mut().find(is_it) {
        it.returned = Some(format!("{} {}", returned.code, returned.text));
    }
}

/// Returns the failure of a channel that the server has closed. If only one publication was
/// open, it is the one at fault.
fn closed(
    close: Close,
    open: &mut BTreeMap<u64, Open<'_>>,
    answers: &mut [Option<Confirm>],
) -> Failure {
    /// The numbers of `basic.publish`.
    const PUBLISH: (u16, u16) = (60, 40);
    if close.method == PUBLISH
        && open.len() == 1
        && let Some((_, at_fault)) = open.pop_first()
    {
        answer(answers, at_fault.place, Confirm::Refused(close.to_string()));
    }
    Failure::Closed(close)
}

fn answer(answers: &mut [Option<Confirm>], place: usize, confirm: Confirm) {
    if let Some(answer) = answers.get_mut(place) {
        *answer = Some(confirm);
    }
}
