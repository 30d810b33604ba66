//! Celery's events: tells monitors such as Flower and `celery events` what the worker and its tasks
//! do.
//!
//! [`Events`] is an observer. It writes each event of a task into a buffer, which `serve` publishes
//! in batches. Events that come during one batch go into the next one. A task never waits for that.
//! While the broker is away, events stay in the buffer; when it is full, new ones are dropped and
//! counted, and the log says how many.
//!
//! Nothing is sent before events are enabled, by `--task-events` or by remote control. As in Celery,
//! `task-sent` has a setting of its own, `--send-sent-event`: the worker sends it as a client of the
//! tasks that it sends.

mod observer;
mod serve;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use celery_protocol::events::{Clock, Event, MOST_IN_ONE, Moment, Sender};
use tokio::sync::Notify;

pub(crate) use self::serve::serve;
use crate::clock::now;

/// The most bytes of waiting events, roughly: about ten thousand events.
const MOST_BYTES: usize = 4 << 20;

/// The events of a worker. Clones share them. The default sends none.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<Inner>>);

struct Inner {
    /// `true` if events of the worker are sent: heartbeats.
    worker: AtomicBool,
    /// `true` if events of tasks are sent.
    tasks: AtomicBool,
    /// `true` if each task that the worker sends is reported by `task-sent`.
    sent: AtomicBool,
    /// `true` if remote control wants a heartbeat at once.
    heartbeat: AtomicBool,
    sender: RwLock<Sender>,
    clock: Arc<Clock>,
    waiting: Mutex<Waiting>,
    /// Wakes the role that publishes: an event waits, events were enabled, or a heartbeat is wanted.
    news: Notify,
    /// The number of tasks that run.
    active: AtomicI64,
    /// The number of tasks that have begun since the start.
    processed: AtomicU64,
}

/// The events that wait to be published.
#[derive(Default)]
struct Waiting {
    /// Each is a JSON object.
    events: VecDeque<Vec<u8>>,
    /// Events that travel alone, each as a JSON object: `task-sent`.
    alone: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Events {
    /// Returns events of the node of this name. They are off until they are enabled.
    pub(crate) fn of(node: &str) -> Self {
        let sender = Sender {
            hostname: node.to_owned(),
            pid: std::process::id(),
            utcoffset: utcoffset(),
        };
        Events(Some(Arc::new(Inner {
            worker: AtomicBool::new(false),
            tasks: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            heartbeat: AtomicBool::new(false),
            sender: RwLock::new(sender),
            clock: Arc::default(),
            waiting: Mutex::default(),
            news: Notify::new(),
            active: AtomicI64::new(0),
            processed: AtomicU64::new(0),
        })))
    }

    /// Enables all events. Returns `false` if those of tasks were enabled before.
    pub(crate) fn enable(&self) -> bool {
        let Some(inner) = &self.0 else {
            return false;
        };
        inner.worker.store(true, Ordering::Release);
        let changed = !inner.tasks.swap(true, Ordering::AcqRel);
        inner.news.notify_one();
        changed
    }

    /// Reports each task that the worker sends from now on.
    pub(crate) fn enable_sent(&self) {
        if let Some(inner) = &self.0 {
            inner.sent.store(true, Ordering::Release);
        }
    }

    /// Returns `true` if each task that the worker sends is reported.
    pub(crate) fn reports_sent(&self) -> bool {
        let inner = self.0.as_ref();
        inner.is_some_and(|inner| inner.sent.load(Ordering::Acquire))
    }

    /// Sends a heartbeat at once, if events of the worker are enabled.
    pub(crate) fn beat(&self) {
        if let Some(inner) = &self.0
            && inner.worker.load(Ordering::Acquire)
        {
            inner.heartbeat.store(true, Ordering::Release);
            inner.news.notify_one();
        }
    }

    /// Returns the logical clock of the node, which remote control advances, too.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        let inner = self.0.as_ref();
        inner.map_or_else(Arc::default, |inner| Arc::clone(&inner.clock))
    }

    /// Disables the events of tasks, as Celery's `disable_events` does; heartbeats go on. Returns
    /// `false` if they were disabled before.
    pub(crate) fn disable(&self) -> bool {
        let inner = self.0.as_ref();
        inner.is_some_and(|inner| inner.tasks.swap(false, Ordering::AcqRel))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Events(possible)",
            None => "Events(none)",
        })
    }
}

impl Inner {
    fn moment(&self) -> Moment {
        Moment {
            clock: self.clock.forward(),
            at: now(),
        }
    }

    fn sender(&self) -> Sender {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        sender.clone()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event of a task into the buffer.
    fn add(&self, event: &Event<'_>) {
        let json = self.written(event);
        self.waiting().add(json);
        self.news.notify_one();
    }

    /// Puts an event that travels alone into the buffer.
    fn add_alone(&self, event: &Event<'_>) {
        let json = self.written(event);
        self.waiting().add_alone(json);
        self.news.notify_one();
    }

    fn written(&self, event: &Event<'_>) -> Vec<u8> {
        let mut json = Vec::with_capacity(256);
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        event.write(&mut json, &sender, self.moment());
        json
    }
}

impl Waiting {
    fn add(&mut self, event: Vec<u8>) {
        if self.has_room(event.len()) {
            self.events.push_back(event);
        }
    }

    fn add_alone(&mut self, event: Vec<u8>) {
        if self.has_room(event.len()) {
            self.alone.push_back(event);
        }
    }

    /// Counts an event that is added, or one that is dropped if it does not fit.
    fn has_room(&mut self, bytes: usize) -> bool {
        if self.bytes + bytes > MOST_BYTES {
            self.dropped += 1;
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Takes up to `most` of the events that travel alone.
    fn take_alone(&mut self, most: usize) -> Vec<Vec<u8>> {
        let count = self.alone.len().min(most);
        let taken: Vec<Vec<u8>> = self.alone.drain(..count).collect();
        self.bytes -= taken.iter().map(Vec::len).sum::<usize>();
        taken
    }

    /// Takes the events for up to `most` messages. Each message is a JSON array of events.
    fn take(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while messages.len() < most && !self.events.is_empty() {
            let count = self.events.len().min(MOST_IN_ONE);
            let mut message = vec![b'['];
            for event in self.events.drain(..count) {
                self.bytes -= event.len();
                if message.len() > 1 {
                    message.extend_from_slice(b", ");
                }
                message.extend_from_slice(&event);
            }
            message.push(b']');
            messages.push(message);
        }
        messages
    }
}

/// Returns the offset of the local time in hours, positive west of Greenwich.
fn utcoffset() -> f64 {
    let offset = jiff::Zoned::now().offset().seconds();
    // Without the addition it is -0.0 in UTC.
    -f64::from(offset) / 3600.0 + 0.0
}

#[cfg(test)]
mod tests;
