//! The channel on which one queue is consumed: what was delivered and not yet acknowledged.
//!
//! Each queue has a channel of its own, because the server closes a whole channel for one wrong
//! request, for example a consumer that the user may not start. The tags of the server belong to a
//! channel. Each opening of a channel therefore has its own number, [`Tag::call`]; tags of an
//! earlier opening are lost.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::aio::{Connection, Failure};
use celery_client::backoff::Backoff;
use celery_protocol::amqp::{Delivery, Method};
use tokio::time::Instant;

use super::message::Message;
use crate::broker::Tag;
use crate::broker::held::Held;
use crate::broker::inbound::Claimed;

/// The shortest and the longest pause after the server refused to let a queue be consumed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How a delivery ends on its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is removed.
    Ack,
    /// It goes back, marked as redelivered.
    Requeue,
}

/// The consumer of a queue, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is consumed. The next try is not before this time.
    Idle(Instant),
    /// Messages are delivered, up to this prefetch.
    Consuming(u16),
}

/// The channel of a queue.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Arc<str>,
    pub(super) channel: u16,
    pub(super) state: State,
    /// The number of this opening of the channel. `None`: it is not open.
    pub(super) call: Option<u64>,
    /// The name of the consumer, new for each.
    pub(super) consumer: String,
    pauses: Backoff,
    /// `true` once the log says that the queue cannot be consumed.
    pub(super) told: bool,
    /// The messages that were delivered and are not handed out.
    waiting: VecDeque<(u64, Message)>,
    /// Those that are published anew.
    anew: HashMap<u64, Message>,
    bytes: usize,
    /// The tags that are not acknowledged.
    outstanding: BTreeSet<u64>,
}

impl Lane {
    pub(super) fn new(queue: &Arc<str>, channel: u16) -> Self {
        Lane {
            queue: Arc::clone(queue),
            channel,
            state: State::Idle(Instant::now()),
            call: None,
            consumer: String::new(),
            pauses: Backoff::between(PAUSES.0, PAUSES.1),
            told: false,
            waiting: VecDeque::new(),
            anew: HashMap::new(),
            bytes: 0,
            outstanding: BTreeSet::new(),
        }
    }

    /// Returns `true` if messages are delivered.
    pub(super) fn is_consuming(&self) -> bool {
        matches!(self.state, State::Consuming(_))
    }

    /// Returns the number of messages that are not handed out.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the size of the messages that are not handed out.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that the channel is open, with a number that no opening had before.
    pub(super) fn opened(&mut self, call: u64) {
        self.closed();
        self.call = Some(call);
    }

    /// Notes that the channel is closed: its deliveries are lost.
    pub(super) fn closed(&mut self) {
        self.call = None;
        self.waiting.clear();
        self.anew.clear();
        self.bytes = 0;
        self.outstanding.clear();
        self.state = State::Idle(Instant::now());
    }

    /// Notes that the queue is consumed.
    pub(super) fn consuming(&mut self, prefetch: u16) {
        self.state = State::Consuming(prefetch);
        self.pauses.worked();
        self.told = false;
    }

    /// Notes that the queue cannot be consumed now. The next try follows after a pause.
    pub(super) fn refused(&mut self) {
        self.state = State::Idle(Instant::now() + self.pauses.pause());
    }

    /// Takes a message that was delivered. Returns it if the broker has delivered it so often that
    /// it is to be published anew.
    pub(super) fn delivered(&mut self, delivery: Delivery) -> Option<(Tag, Message)> {
        let index = delivery.tag;
        let message = Message::new(&self.queue, delivery);
        self.bytes += message.size();
        self.outstanding.insert(index);
        if message.came_back_often()
            && let Some(call) = self.call
        {
            self.anew.insert(index, message.clone());
            return Some((Tag { call, index }, message));
        }
        self.waiting.push_back((index, message));
        None
    }

    /// Lets a message be handed out that cannot be published anew.
    pub(super) fn keep(&mut self, tag: u64) {
        if let Some(message) = self.anew.remove(&tag) {
            self.waiting.push_back((tag, message));
        }
    }

    /// Puts a message back that comes too late.
    pub(super) fn refuse(&self, tag: u64, connection: &mut Connection) -> Result<(), Failure> {
        self.tell(connection, &requeue(tag))
    }

    /// Hands out the message that came first.
    pub(super) fn next(&mut self) -> Option<Claimed<Message>> {
        let call = self.call?;
        let (index, message) = self.waiting.pop_front()?;
        self.bytes -= message.size();
        Some(Claimed {
            tag: Tag { call, index },
            queue: Arc::clone(&self.queue),
            message,
        })
    }

    /// Puts the messages back that are not handed out.
    pub(super) fn put_back(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        self.bytes = self.anew.values().map(Message::size).sum();
        // The message that was delivered first comes first again.
        for (tag, _) in std::mem::take(&mut self.waiting).into_iter().rev() {
            self.outstanding.remove(&tag);
            self.tell(connection, &requeue(tag))?;
        }
        Ok(())
    }

    /// Ends deliveries. Consecutive acknowledgements become one.
    pub(super) fn end(
        &mut self,
        tags: impl IntoIterator<Item = (u64, End)>,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let mut acks = BTreeSet::new();
        let mut back = Vec::new();
        for (tag, end) in tags {
            // A tag that is not outstanding would close the channel.
            if self.outstanding.remove(&tag) {
                if let Some(message) = self.anew.remove(&tag) {
                    self.bytes -= message.size();
                }
                match end {
                    End::Ack => drop(acks.insert(tag)),
                    End::Requeue => back.push(tag),
                }
            }
        }
        for tag in &back {
            self.tell(connection, &requeue(*tag))?;
        }
        for method in acknowledgements(&acks, self.outstanding.first().copied()) {
            self.tell(connection, &method)?;
        }
        Ok(())
    }

    /// Sends a request on the channel, unless the server has closed it. The server has then put back
    /// all that was delivered on it, and the event that says so may not have been taken yet.
    fn tell(&self, connection: &mut Connection, method: &Method<'_>) -> Result<(), Failure> {
        if connection.is_channel_open(self.channel) {
            connection.tell(self.channel, method)
        } else {
            Ok(())
        }
    }
}

fn requeue(delivery_tag: u64) -> Method<'static> {
    Method::BasicNack {
        delivery_tag,
        multiple: false,
        requeue: true,
    }
}

/// Returns the acknowledgements of tags. One covers all that are below the first outstanding tag,
/// the others are single.
fn acknowledgements(
    tags: &BTreeSet<u64>,
    outstanding: Option<u64>,
) -> impl Iterator<Item = Method<'static>> {
    let first = outstanding.unwrap_or(u64::MAX);
    let all = tags.range(..first).next_back().map(|last| (*last, true));
    let single = tags.range(first..).map(|tag| (*tag, false));
    let acks: Vec<(u64, bool)> = all.into_iter().chain(single).collect();
    acks.into_iter()
        .map(|(delivery_tag, multiple)| Method::BasicAck {
            delivery_tag,
            multiple,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acknowledgement_covers_all_below_the_first_outstanding_tag() {
        let acks = |tags: &[u64], outstanding| -> Vec<(u64, bool)> {
            let tags = tags.iter().copied().collect();
            let acks = acknowledgements(&tags, outstanding);
            acks.map(|method| match method {
                Method::BasicAck {
                    delivery_tag,
                    multiple,
                } => (delivery_tag, multiple),
                other => panic!("{other:?}"),
            })
            .collect()
        };
        assert_eq!(acks(&[1, 2, 3], None), [(3, true)]);
        assert_eq!(acks(&[1, 2, 5], Some(3)), [(2, true), (5, false)]);
        assert_eq!(acks(&[4, 5], Some(3)), [(4, false), (5, false)]);
        assert_eq!(acks(&[], Some(3)), []);
    }
}
