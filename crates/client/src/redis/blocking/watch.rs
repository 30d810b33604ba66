//! Waiting for the final results of tasks, one or many, over one subscription.
//!
//! The channels of all results are subscribed *before* their keys are read. So no state between the
//! two can be missed. Afterwards the messages bring the results. The keys are read again while the
//! channels are silent for long, and after each lost connection.
//!
//! In RESP3, one connection listens and reads; SUBSCRIBE and the first reads are one write. In RESP2,
//! a second connection listens. Without the permission to subscribe, the keys are read at intervals.
//!
//! A few keys are read at a time, and each answer is handed over before the next one is read. So the
//! memory needed is that of the ids and of one result, however many results there are.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::Client;
use super::acquire::Need;
use super::client::backoff;
use super::link::{Answer, Arrival, Link, Listening, Push, Resting};
use super::reply::Shape;
use super::stored::{Standing, standing, text};
use crate::blocking::Wait;
use crate::error::{ClientError, ServerError};

/// The interval at which the keys are read while their channels are silent. A message can be lost
/// with a connection that died unnoticed.
const REREAD: Duration = Duration::from_secs(5);
/// The pause before the second read if subscribing is not permitted. It doubles up to the caller's
/// interval.
const FIRST_POLL: Duration = Duration::from_millis(10);
/// The number of keys that are asked for at once. It hides the round trips, and Redis buffers at
/// most that many results for a caller that takes its time.
pub(super) const WINDOW: usize = 32;
/// The most channels to subscribe to. Redis accepts 1,048,576 arguments of a command. The keys of
/// more tasks are read at intervals.
const CHANNELS: usize = 1_000_000;

/// A stored state of an awaited task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The task.
    pub task_id: String,
    /// The document as the worker wrote it.
    pub document: Vec<u8>,
    /// Whether the wait for this task has ended: the state is final, or the document cannot be
    /// decoded.
    pub is_last: bool,
}

/// The tasks whose results a call waits for, and how far it is.
pub(super) struct Watch {
    tasks: Vec<Task>,
    /// The index of each task by the name of its key, which is also that of its channel.
    by_key: HashMap<String, usize>,
    /// The number of tasks without a last state.
    open: usize,
    /// Whether states that are not final are reported, too.
    every_state: bool,
    interval: Duration,
    /// The time for one command. It doubles after a timeout.
    step: Duration,
    may_listen: bool,
    place: Option<Place>,
}

struct Task {
    id: String,
    is_open: bool,
    /// A hash of the state that was last read or heard, so that a repeated read reports it once.
    last: Option<u64>,
}

/// The connections of a wait, while they last.
struct Place {
    /// The connection that reads.
    link: Box<Link>,
    ear: Ear,
    /// The tasks whose reads are not answered yet, the oldest first.
    asked: VecDeque<usize>,
    /// The next task to read in this round.
    cursor: usize,
    /// The number of channels whose subscription is not confirmed yet.
    unconfirmed: usize,
    /// The time at which the next round begins if nothing is heard before.
    next_round: Instant,
    /// The pause before the next round if nothing can be heard.
    pause: Duration,
}

/// Where messages arrive.
enum Ear {
    /// On the connection that reads: it speaks RESP3.
    Same,
    /// On a connection of its own.
    Other(Listening),
    /// Nowhere: the user may not subscribe.
    None,
}

impl Watch {
    /// Starts to wait for tasks. Each id counts once.
    pub(super) fn new(
        reader: &Client,
        ids: impl IntoIterator<Item = String>,
        interval: Duration,
    ) -> Self {
        let (mut tasks, mut by_key) = (Vec::new(), HashMap::new());
        for id in ids {
            by_key.entry(reader.keys().result(&id)).or_insert_with(|| {
                tasks.push(Task {
                    id,
                    is_open: true,
                    last: None,
                });
                tasks.len() - 1
            });
        }
        Self {
            open: tasks.len(),
            tasks,
            by_key,
            every_state: false,
            interval,
            step: reader.options.command_timeout,
            may_listen: true,
            place: None,
        }
    }

    /// Reports the states that are not final, too.
    pub(super) fn report_every_state(&mut self) {
        self.every_state = true;
    }

    /// Drops the connections without a word: they belong to another process.
    pub(super) fn abandon(&mut self) {
        self.place = None;
    }

    /// Returns the tasks without a last state, in the order given.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        let open = self.tasks.iter().filter(|task| task.is_open);
        open.map(|task| task.id.as_str())
    }

    /// Waits for the next state, or returns `None` if every task has reported its last.
    pub(super) fn next(
        &mut self,
        reader: &mut Client,
        listener: &mut Client,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Stored>, ClientError> {
        let mut backoff = backoff();
        let mut is_first = true;
        while self.open > 0 {
            let was_first = std::mem::take(&mut is_first);
            match self.try_next(reader, listener, wait) {
                Ok(stored) => return Ok(Some(stored)),
                // A wait that finds the circuit open ends at once. A wait that was under way goes
                // on: the server may be back before its deadline.
                Err(error @ ClientError::CircuitOpen { .. }) if was_first => return Err(error),
                Err(error) if error.is_retryable() && !wait.deadline().has_passed() => {
                    if !matches!(error, ClientError::Server(_)) {
                        // A fault that broke one connection has most likely broken both.
                        reader.doubt();
                        listener.doubt();
                    }
                    if matches!(error, ClientError::Timeout { .. }) {
                        // The connection may not be dead but slow, or the result large.
                        self.step = self.step.saturating_mul(2);
                    }
                    if let Err(ended) = wait.back_off(&mut backoff) {
                        // The error that prevented success says more than the timeout of the whole
                        // wait.
                        return Err(if matches!(ended, ClientError::Timeout { .. }) {
                            error
                        } else {
                            ended
                        });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Waits for the next state for as long as the connections last. Each command has the time of
    /// one step, so that a connection that died unnoticed does not use up the whole wait.
    fn try_next(
        &mut self,
        reader: &mut Client,
        listener: &mut Client,
        wait: &mut Wait<'_>,
    ) -> Result<Stored, ClientError> {
        let mut place = match self.place.take() {
            Some(place) => place,
            None => self.enter(reader, listener, wait)?,
        };
        loop {
            match self.go_on(&mut place, reader, wait) {
                Ok(None) => {}
                Ok(Some(stored)) => {
                    self.place = Some(place);
                    return Ok(stored);
                }
                // In a forked child, the connections belong to the parent.
                Err(error) if error.ends_call() => return Err(error),
                Err(error) => {
                    place.leave(reader, listener, wait);
                    return Err(error);
                }
            }
        }
    }

    /// Subscribes. In RESP3, the subscription is sent together with the first reads.
    fn enter(
        &mut self,
        reader: &mut Client,
        listener: &mut Client,
        wait: &mut Wait<'_>,
    ) -> Result<Place, ClientError> {
        let mut entering = wait.within(self.step);
        let mut place = Place::of(reader.acquire_quiet(&mut entering)?);
        if !self.may_listen || self.open > CHANNELS {
            return Ok(place);
        }
        let channels = self.open().map(|id| reader.keys().result(id));
        let channels: Vec<String> = channels.collect();
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        if !place.link.wire.speaks_resp3() {
            match listener.acquire(Need::Quiet, &mut entering)? {
                // The server was replaced by a newer one.
                Resting::Ready(link) if link.wire.speaks_resp3() => place = Place::of(link),
                resting => {
                    match resting.subscribe(&channels, &mut entering)? {
                        Ok(listening) => place.ear = Ear::Other(listening),
                        Err((link, refused)) => {
                            listener.keep(link);
                            if let Err(error) = self.refused(refused, reader) {
                                reader.keep(place.link);
                                return Err(error);
                            }
                        }
                    }
                    return Ok(place);
                }
            }
        }
        place.link.wire.pack_subscribe(channels.iter().copied());
        place.ear = Ear::Same;
        place.unconfirmed = channels.len();
        Ok(place)
    }

    /// Notes that subscribing is not permitted, or returns the error of another refusal.
    fn refused(&mut self, refused: ServerError, client: &Client) -> Result<(), ClientError> {
        match refused.code() {
            "NOPERM" | "ERR" => {
                self.may_listen = false;
                Ok(())
            }
            _ => Err(client.endpoint().refused(refused)),
        }
    }

    /// Reads or hears one thing.
    fn go_on(
        &mut self,
        place: &mut Place,
        reader: &Client,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Stored>, ClientError> {
        if place.asked.is_empty() && place.cursor < self.tasks.len() {
            self.ask(place, reader);
            place.link.wire.flush(&mut wait.within(self.step))?;
        }
        if place.asked.is_empty() && place.unconfirmed == 0 {
            return self.listen(place, wait);
        }
        let what = "reading the result";
        let mut part = wait.within(self.step);
        match place.link.wire.arrival(Shape::Text, &mut part, what)? {
            Arrival::Push(push) => Ok(self.hear(place, push)),
            // A subscription is confirmed by pushes, and before the reads are answered.
            Arrival::Answer(Err(refused)) if place.unconfirmed > 0 => {
                self.refused(refused, reader)?;
                place.ear = Ear::None;
                place.unconfirmed = 0;
                Ok(None)
            }
            Arrival::Answer(answer) => self.read(place, answer, reader),
        }
    }

    /// Packs the next reads of a round. After the last one, the round ends.
    fn ask(&mut self, place: &mut Place, reader: &Client) {
        while place.asked.len() < WINDOW
            && let Some(task) = self.tasks.get(place.cursor)
        {
            if task.is_open {
                let mut get = redis::cmd("GET");
                place
                    .link
                    .wire
                    .pack(get.arg(reader.keys().result(&task.id)));
                place.asked.push_back(place.cursor);
            }
            place.cursor += 1;
        }
        place.next_round = Instant::now() + REREAD;
    }

    /// Waits for a message until the next round begins.
    fn listen(
        &mut self,
        place: &mut Place,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Stored>, ClientError> {
        const WHAT: &str = "the result";
        let until = place.next_round.saturating_duration_since(Instant::now());
        let mut part = wait.within(until);
        let push = match &mut place.ear {
            Ear::None => {
                wait.pause(place.pause, WHAT)?;
                place.pause = (place.pause * 2).min(self.interval.max(FIRST_POLL));
                place.cursor = 0;
                return Ok(None);
            }
            Ear::Same => match place.link.wire.arrival(Shape::Message, &mut part, WHAT) {
                Ok(Arrival::Push(push)) => Ok(push),
                Ok(Arrival::Answer(_)) => {
                    Err(ClientError::Protocol("an answer to no command".to_owned()))
                }
                Err(error) => {
                    if matches!(error, ClientError::Timeout { .. }) {
                        place.link.wire.recover();
                    }
                    Err(error)
                }
            },
            Ear::Other(listening) => listening
                .message(&mut part)
                .map(|(channel, payload)| Push::Message { channel, payload }),
        };
        match push {
            Ok(push) => Ok(self.hear(place, push)),
            Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {
                place.cursor = 0;
                Ok(None)
            }
            Err(ClientError::Timeout { .. }) => Err(wait.timeout(WHAT)),
            Err(error) => Err(error),
        }
    }

    /// Takes note of a push.
    fn hear(&mut self, place: &mut Place, push: Push) -> Option<Stored> {
        match push {
            Push::Message { channel, payload } => {
                let index = *self.by_key.get(str::from_utf8(&channel).ok()?)?;
                self.report(index, payload, true)
            }
            Push::Subscribed => {
                place.unconfirmed = place.unconfirmed.saturating_sub(1);
                None
            }
            Push::Other => None,
        }
    }

    /// Takes note of the answer to the oldest read.
    fn read(
        &mut self,
        place: &mut Place,
        answer: Answer,
        reader: &Client,
    ) -> Result<Option<Stored>, ClientError> {
        let index = place.asked.pop_front();
        let value = answer.map_err(|refused| reader.endpoint().refused(refused))?;
        match (index, text(value)?) {
            (Some(index), Some(document)) => Ok(self.report(index, document, false)),
            _ => Ok(None),
        }
    }

    /// Returns a state if the caller waits for it.
    fn report(&mut self, index: usize, document: Vec<u8>, is_news: bool) -> Option<Stored> {
        let task = self.tasks.get_mut(index).filter(|task| task.is_open)?;
        let is_last = standing(&document) != Standing::Underway;
        if is_last {
            task.is_open = false;
            self.open -= 1;
        } else if self.every_state {
            let mut hasher = DefaultHasher::new();
            document.hash(&mut hasher);
            let state = Some(hasher.finish());
            let known = std::mem::replace(&mut task.last, state) == state;
            if known && !is_news {
                return None;
            }
        } else {
            return None;
        }
        Some(Stored {
            task_id: task.id.clone(),
            document,
            is_last,
        })
    }

    /// Puts the connections back. On a connection of RESP3, UNSUBSCRIBE goes out with the next
    /// command.
    pub(super) fn leave(
        &mut self,
        reader: &mut Client,
        listener: &mut Client,
        wait: &mut Wait<'_>,
    ) {
        if let Some(place) = self.place.take() {
            place.leave(reader, listener, wait);
        }
    }
}

impl Place {
    /// Returns the place of a wait that has not subscribed.
    fn of(link: Box<Link>) -> Self {
        Self {
            link,
            ear: Ear::None,
            asked: VecDeque::new(),
            cursor: 0,
            unconfirmed: 0,
            next_round: Instant::now(),
            pause: FIRST_POLL,
        }
    }

    /// Puts the connections back, as far as they can be used again. A read of one result may be
    /// unanswered: no call waits for it.
    fn leave(self, reader: &mut Client, listener: &mut Client, wait: &mut Wait<'_>) {
        let mut link = self.link;
        match self.ear {
            Ear::Same => link.wire.pack_for_later(&redis::cmd("UNSUBSCRIBE")),
            Ear::Other(listening) => {
                if let Some(leaving) = listening.unsubscribe(wait) {
                    listener.keep(leaving);
                }
            }
            Ear::None => {}
        }
        if link.wire.is_whole() && self.asked.len() <= 1 && self.unconfirmed == 0 {
            link.wire.expect_unawaited(self.asked.len());
            reader.keep(link);
        }
    }
}
