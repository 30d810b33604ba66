//! The part that brings messages: the connection that consumes, and ends deliveries.
//!
//! The server pushes messages, so this part only listens. It hands messages out as far as there is
//! room, and the server sends no more than the prefetch of each queue before deliveries end.
//!
//! Acknowledgements have no answer. A request that has one follows them on the same channel: once
//! its answer is there, the server has carried them out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use celery_client::aio::Standing;
use celery_client::amqp::aio::{Connection, Failure};
use celery_client::backoff::Backoff;
use celery_protocol::amqp::{Close, Event};
use tokio::time::Instant;

use super::consuming::{self, Started};
use super::lane::{End, Lane, State};
use super::message::Message;
use super::shared::{Order, Shared};
use crate::broker::inbound::{self, Batch};
use crate::broker::ledger::{ACKS, LINGER, Ledger};
use crate::broker::options::QueueOrder;
use crate::broker::order::Turns;
use crate::broker::queues::{Names, Queues};
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// The longest wait without a reason.
const IDLE: Duration = Duration::from_mins(1);

/// The least time between two changes of the prefetch. It follows the numbers of messages that may
/// be held and that wait for their time, which change all the time.
const STEADY: Duration = Duration::from_millis(100);

/// The state of the part.
pub(crate) struct Inbound {
    pub(super) shared: Arc<Shared>,
    queues: Arc<Queues>,
    order: QueueOrder,
    ledger: Arc<Ledger>,
    pulse: Arc<Pulse>,
    connection: Option<Connection>,
    standing: Standing,
    backoff: Backoff,
    /// When the next try to connect may begin.
    next_try: Instant,
    lanes: Vec<Lane>,
    /// The number of openings of channels.
    calls: u64,
    /// The queues that are consumed, the place of each in `lanes`, and the orders of the places.
    names: Names,
    places: Vec<usize>,
    turns: Turns,
    turn: usize,
    /// `true` once no more messages may be taken.
    is_over: bool,
    /// `true` while the messages that are not handed out take too much memory.
    is_heavy: bool,
    acks_since: Option<Instant>,
    /// When the prefetch was last changed.
    changed: Instant,
}

impl Inbound {
    pub(super) fn new(
        shared: &Arc<Shared>,
        queues: &Arc<Queues>,
        order: &QueueOrder,
        ledger: &Arc<Ledger>,
        pulse: &Arc<Pulse>,
    ) -> Self {
        let now = Instant::now();
        Inbound {
            standing: Standing::new(Arc::clone(&shared.health)),
            shared: Arc::clone(shared),
            queues: Arc::clone(queues),
            order: order.clone(),
            ledger: Arc::clone(ledger),
            pulse: Arc::clone(pulse),
            connection: None,
            backoff: Backoff::new(),
            next_try: now,
            lanes: Vec::new(),
            calls: 0,
            names: Names::from(Vec::new()),
            places: Vec::new(),
            turns: Turns::new(&[] as &[&str], order),
            turn: 0,
            is_over: false,
            is_heavy: false,
            acks_since: None,
            changed: now,
        }
    }

    /// Returns the time until which nothing is to be done. `None`: something is to be done now.
    fn quiet_until(&mut self, now: Instant, room: usize) -> Option<Instant> {
        if self.connection.is_none() {
            return (now < self.next_try).then_some(self.next_try);
        }
        let waiting: usize = self.lanes.iter().map(Lane::waiting).sum();
        let is_due = self.shared.has_orders()
            || (waiting > 0 && room > 0)
            || (self.is_heavy && waiting == 0)
            || !Arc::ptr_eq(&self.names, &self.queues.names());
        if is_due {
            return None;
        }
        let mut until = now + IDLE;
        if self.ledger.acks_waiting() > 0 {
            let since = *self.acks_since.get_or_insert(now);
            until = until.min(since + LINGER);
            if self.acks_are_due() {
                return None;
            }
        } else {
            self.acks_since = None;
        }
        if !self.is_over && !self.is_heavy {
            for place in &self.places {
                match self.lanes[*place].state {
                    State::Idle(at) => until = until.min(at),
                    State::Consuming(prefetch) if self.is_changed(prefetch) => {
                        until = until.min(self.changed + STEADY);
                    }
                    State::Consuming(_) => {}
                }
            }
        }
        (now < until).then_some(until)
    }

    /// Returns `true` if acknowledgements need not wait for others: there are many, the server may be
    /// waiting for them, or no other can come.
    fn acks_are_due(&self) -> bool {
        let acks = self.ledger.acks_waiting();
        acks >= ACKS || 2 * acks >= self.prefetch() || self.ledger.busy() == 0
    }

    /// Returns the prefetch of each queue. With several queues, one that is full can use a quarter of
    /// the room, even while the others are empty.
    fn prefetch(&self) -> usize {
        let limit = self.ledger.limit();
        let share = limit.div_ceil(self.places.len().max(1));
        // Messages that wait here for their time are not acknowledged either.
        share.max(limit.div_ceil(4)) + self.ledger.parked_count()
    }

    /// Returns `true` if the prefetch should be another one.
    fn is_changed(&self, prefetch: u16) -> bool {
        let (now, wanted) = (usize::from(prefetch), self.prefetch());
        wanted * 4 > now * 5 || wanted * 2 < now
    }

    /// Handles all that has arrived.
    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(connection) = &mut self.connection
            && let Some(event) = connection.event_at_hand()?
        {
            self.take_event(event)?;
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match event {
            Event::Delivered {
                channel, delivery, ..
            } => {
                let Some(lane) = lane_of(&mut self.lanes, channel) else {
                    return Ok(());
                };
                if lane.is_consuming() {
                    if let Some((tag, message)) = lane.delivered(*delivery) {
                        self.shared.publish_anew(tag, message);
                    }
                } else {
                    // It was on its way when the consumer ended.
                    lane.refuse(delivery.tag, connection)?;
                }
                let bytes: usize = self.lanes.iter().map(Lane::bytes).sum();
                if bytes > self.ledger.byte_limit() && !self.is_heavy {
                    self.is_heavy = true;
                    self.stop_consuming(false)?;
                }
            }
            Event::ChannelClosed(channel, close) => self.channel_closed(channel, &close),
            Event::ConsumerCancelled(channel, consumer) => {
                if let Some(lane) = lane_of(&mut self.lanes, channel)
                    && lane.consumer == consumer
                {
                    tracing::warn!("consumer: the queue {} was deleted", lane.queue);
                    lane.refused();
                    self.shared.queues_changed();
                }
            }
            // The answer to a request whose wait was given up.
            _ => {}
        }
        Ok(())
    }

    /// Notes that the server has closed the channel of a queue.
    fn channel_closed(&mut self, channel: u16, close: &Close) {
        let Some(lane) = lane_of(&mut self.lanes, channel) else {
            return;
        };
        tracing::error!(
            "consumer: RabbitMQ closed the channel of the queue {}: {close}",
            lane.queue
        );
        if let Some(call) = lane.call {
            let lost = self.shared.lose(Some(call));
            self.ledger.lose(&lost);
        }
        lane.closed();
        lane.refused();
    }

    /// Ends all consumers. Messages that are on their way are put back when they arrive. If
    /// `put_back`, those that are here are put back now.
    fn stop_consuming(&mut self, put_back: bool) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        for lane in &mut self.lanes {
            if lane.is_consuming() {
                consuming::cancel(connection, lane.channel, &lane.consumer)?;
                lane.state = State::Idle(Instant::now());
            }
            if put_back {
                lane.put_back(connection)?;
            }
        }
        Ok(())
    }

    /// Notes that the connection is lost.
    fn failed(&mut self, failure: &Failure) {
        self.pulse.beat();
        self.connection = None;
        for lane in &mut self.lanes {
            lane.closed();
        }
        self.is_heavy = false;
        self.next_try = Instant::now() + self.backoff.pause();
        let server = self.shared.endpoint().display_url();
        self.standing.failed(&server, &failure.problem());
    }

    /// Tries once to connect. All that was held before is lost then.
    async fn connect(&mut self) {
        let options = consuming::options(&self.shared);
        match Connection::open(self.shared.endpoint(), &options).await {
            Ok(connection) => {
                self.connection = Some(connection);
                let lost = self.shared.lose(None);
                self.ledger.lose(&lost);
                for lane in &mut self.lanes {
                    lane.closed();
                }
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// Makes the list of the channels follow that of the queues.
    fn follow_queues(&mut self) {
        let names = self.queues.names();
        if Arc::ptr_eq(&names, &self.names) {
            return;
        }
        let mut places = Vec::with_capacity(names.len());
        for name in &*names {
            let known = self.lanes.iter().position(|lane| lane.queue == *name);
            places.push(known.unwrap_or_else(|| {
                let channel = consuming::channel(self.lanes.len());
                self.lanes.push(Lane::new(name, channel));
                self.lanes.len() - 1
            }));
        }
        self.turns = Turns::new(&names, &self.order);
        (self.names, self.places) = (names, places);
    }

    /// Starts and ends consumers as the list of queues and the memory in use want it.
    async fn follow(&mut self) -> Result<(), Failure> {
        self.follow_queues();
        if self.is_heavy && self.lanes.iter().all(|lane| lane.waiting() == 0) {
            self.is_heavy = false;
        }
        let now = Instant::now();
        let prefetch = u16::try_from(self.prefetch().max(1)).unwrap_or(u16::MAX);
        let may_change = now >= self.changed + STEADY;
        for place in 0..self.lanes.len() {
            let is_wanted = !self.is_over && !self.is_heavy && self.places.contains(&place);
            let lane = &self.lanes[place];
            let starts = match lane.state {
                State::Idle(at) => is_wanted && now >= at,
                State::Consuming(of_now) => is_wanted && may_change && self.is_changed(of_now),
            };
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            let lane = &mut self.lanes[place];
            if starts {
                self.changed = now;
                let before = lane.call;
                let started = consuming::start(
                    connection,
                    lane,
                    prefetch,
                    &self.shared.options,
                    &mut self.calls,
                );
                let started = started.await?;
                if let Some(call) = before.filter(|call| lane.call != Some(*call)) {
                    let lost = self.shared.lose(Some(call));
                    self.ledger.lose(&lost);
                }
                match started {
                    Started::Consuming { created } if created => self.shared.queues_changed(),
                    Started::Consuming { .. } => {}
                    Started::Refused(close) => {
                        if !std::mem::replace(&mut lane.told, true) {
                            tracing::error!(
                                "consumer: the queue {} cannot be consumed: {close}. Trying \
                                 again...",
                                lane.queue
                            );
                        }
                        lane.refused();
                    }
                }
            } else if lane.is_consuming() && !is_wanted {
                consuming::cancel(connection, lane.channel, &lane.consumer)?;
                lane.state = State::Idle(now);
                lane.put_back(connection)?;
            }
        }
        self.backoff.worked();
        let shared = &self.shared;
        self.standing.worked(|| shared.endpoint().display_url());
        Ok(())
    }

    /// Ends deliveries, and waits until the server has done that. Returns the tags of those that
    /// were lost.
    async fn end_deliveries(&mut self, ends: Vec<(Tag, End)>) -> Result<Vec<Tag>, Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(ends.into_iter().map(|(tag, _)| tag).collect());
        };
        let mut by_call: HashMap<u64, Vec<(u64, End)>> = HashMap::new();
        for (tag, end) in &ends {
            by_call.entry(tag.call).or_default().push((tag.index, *end));
        }
        let mut touched = Vec::new();
        for lane in &mut self.lanes {
            if let Some(call) = lane.call
                && connection.is_channel_open(lane.channel)
                && let Some(ends) = by_call.remove(&call)
            {
                lane.end(ends, connection)?;
                consuming::ask_for_end(connection, lane.channel)?;
                touched.push((lane.channel, call));
            }
        }
        let mut closed = Vec::new();
        for (channel, call) in touched {
            if let Err(close) = connection.answer(channel, "acknowledgements").await? {
                closed.push((channel, close));
                by_call.insert(call, Vec::new());
            }
        }
        for (channel, close) in closed {
            self.channel_closed(channel, &close);
        }
        // What is left belongs to channels that are closed.
        let lost = ends.iter().map(|(tag, _)| *tag);
        Ok(lost.filter(|tag| by_call.contains_key(&tag.call)).collect())
    }

    /// Does all that is due, and hands out messages.
    async fn work(&mut self, acks: &[Tag], orders: &[Order]) -> Result<Vec<Tag>, Failure> {
        self.follow().await?;
        let acks = acks.iter().map(|tag| (*tag, End::Ack));
        let ends = orders.iter().flat_map(|order| order.ends.iter().copied());
        let ends: Vec<(Tag, End)> = acks.chain(ends).collect();
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        self.end_deliveries(ends).await
    }

    /// Hands out messages, the first queue of this turn first.
    fn hand_out(&mut self, room: usize) -> Vec<inbound::Claimed<Message>> {
        let mut messages = Vec::new();
        for place in self.turns.order(self.turn) {
            let Some(lane) = self
                .places
                .get(place)
                .and_then(|at| self.lanes.get_mut(*at))
            else {
                continue;
            };
            while messages.len() < room
                && let Some(claimed) = lane.next()
            {
                messages.push(claimed);
            }
        }
        if !messages.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            self.shared
                .hold(messages.iter().map(|it| (it.tag, &it.message)));
        }
        messages
    }
}

fn lane_of(lanes: &mut [Lane], channel: u16) -> Option<&mut Lane> {
    lanes.iter_mut().find(|lane| lane.channel == channel)
}

/// Waits for what happens next on a connection, if there is one.
async fn next_event(connection: &mut Option<Connection>) -> Result<Event, Failure> {
    match connection {
        Some(connection) => connection.event().await,
        None => std::future::pending().await,
    }
}

impl inbound::Inbound for Inbound {
    type Message = Message;

    async fn due(&mut self, room: impl Fn() -> usize + Send + Sync) -> usize {
        loop {
            if let Err(failure) = self.take_events() {
                self.failed(&failure);
            }
            let room = room();
            let Some(until) = self.quiet_until(Instant::now(), room) else {
                return room;
            };
            tokio::select! {
                event = next_event(&mut self.connection) => {
                    let taken = event.and_then(|event| self.take_event(event));
                    if let Err(failure) = taken {
                        self.failed(&failure);
                    }
                }
                () = self.shared.ordered.notified() => {}
                () = self.queues.changed.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn take(&mut self, room: usize) -> Batch<Message> {
        let pulse = Arc::clone(&self.pulse);
        if self.connection.is_none() {
            pulse.idle(self.connect()).await;
        }
        if self.connection.is_none() {
            return Batch::default();
        }
        self.acks_since = None;
        for tag in self.shared.kept() {
            let lane = self.lanes.iter_mut().find(|it| it.call == Some(tag.call));
            if let Some(lane) = lane {
                lane.keep(tag.index);
            }
        }
        let acks = self.ledger.take_acks(usize::MAX);
        let orders = self.shared.orders();
        let worked = pulse.idle(self.work(&acks, &orders)).await;
        let lost = worked.unwrap_or_else(|failure| {
            self.failed(&failure);
            // It is unknown which of them the server has carried out.
            let ends = orders.iter().flat_map(|order| &order.ends);
            let ends = ends.map(|(tag, _)| *tag);
            acks.iter().copied().chain(ends).collect()
        });
        self.shared.forget(acks.iter().copied());
        for order in orders {
            let (ended, gone): (Vec<Tag>, Vec<Tag>) = order
                .ends
                .iter()
                .map(|(tag, _)| *tag)
                .partition(|tag| !lost.contains(tag));
            self.shared
                .forget(ended.into_iter().chain(gone.iter().copied()));
            // An error means that the role has ended.
            let _ = order.lost.send(gone);
        }
        let lost: Vec<Tag> = acks
            .iter()
            .filter(|tag| lost.contains(tag))
            .copied()
            .collect();
        let lost = self.ledger.lose(&lost);
        self.ledger.acknowledged(&acks);
        Batch {
            messages: self.hand_out(room),
            lost,
            dead: 0,
        }
    }

    async fn purge(&mut self) -> usize {
        let names = self.queues.names();
        loop {
            if self.connection.is_none() {
                tokio::time::sleep_until(self.next_try).await;
                self.connect().await;
            }
            let Some(connection) = &mut self.connection else {
                continue;
            };
            match consuming::purge(connection, &names).await {
                Ok(count) => return count,
                Err(failure) => self.failed(&failure),
            }
        }
    }

    async fn stop(&mut self) {
        self.is_over = true;
        let stopped = self.stop_consuming(true);
        let sent = match (&stopped, &mut self.connection) {
            (Ok(()), Some(connection)) => connection.send().await,
            _ => stopped,
        };
        if let Err(failure) = sent {
            self.failed(&failure);
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.shared.end_with(self.connection.take());
    }
}
