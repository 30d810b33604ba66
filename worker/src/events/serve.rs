//! The role that publishes events. It also makes the events about the worker itself: online,
//! heartbeat, offline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celery_protocol::events::{Event, Message, TASK_SENT, WorkerState};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Events, Inner, utcoffset};
use crate::broker::events::EventChannel;
use crate::monitor::Pulse;

/// The time between two heartbeats: Celery's default.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the first event of a batch waits for others: short for a person who watches, long for a
/// worker that runs a thousand tasks a second.
const LINGER: Duration = Duration::from_millis(20);
/// The most messages of one call, of up to 24 events each: about 300 KB.
const MESSAGES: usize = 64;

/// Publishes events until `end` is dropped. Then publishes those that wait, and `worker-offline`.
pub(crate) async fn serve(
    events: Events,
    channel: Box<dyn EventChannel>,
    pulse: Arc<Pulse>,
    mut end: oneshot::Receiver<()>,
) {
    let Some(inner) = events.0 else { return };
    let mut role = Role {
        inner,
        channel,
        next_heartbeat: None,
    };
    let mut ended = false;
    while !ended {
        let inner = Arc::clone(&role.inner);
        let next = role.next_heartbeat;
        let wait = async {
            tokio::select! {
                biased;
                _ = &mut end => true,
                () = heartbeat(next) => false,
                () = inner.news.notified() => {
                    sleep(LINGER).await;
                    false
                }
            }
        };
        ended = pulse.idle(wait).await;
        role.turn().await;
    }
    if role.next_heartbeat.is_some() {
        role.announce(Event::WorkerOffline).await;
    }
}

/// Waits for the time of the next heartbeat, if there is one.
async fn heartbeat(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

struct Role {
    inner: Arc<Inner>,
    channel: Box<dyn EventChannel>,
    /// `None` until the worker has announced itself.
    next_heartbeat: Option<Instant>,
}

impl Role {
    /// Publishes everything that is due, in more than one call if needed. Events that come during
    /// the last call are left for the next turn, so that they can share a message with others.
    async fn turn(&mut self) {
        loop {
            self.announce_if_due().await;
            let (lists, alone, dropped) = {
                let mut waiting = self.inner.waiting();
                let lists = waiting.take(MESSAGES);
                let alone = waiting.take_alone(MESSAGES - lists.len());
                (lists, alone, std::mem::take(&mut waiting.dropped))
            };
            if dropped > 0 {
                tracing::warn!("{dropped} events were dropped: the broker does not take them");
            }
            let sender = self.inner.sender();
            let lists = lists.into_iter().map(|it| Message::multi(it, &sender));
            let alone = alone.into_iter();
            let alone = alone.map(|it| Message::written(TASK_SENT, it, &sender));
            // A task is sent before a worker receives it.
            let messages: Vec<Message> = alone.chain(lists).collect();
            if messages.is_empty() {
                return;
            }
            let is_full = messages.len() == MESSAGES;
            self.channel.publish(&messages).await;
            if !is_full {
                return;
            }
        }
    }

    /// Publishes `worker-online` or a heartbeat, if it is time.
    async fn announce_if_due(&mut self) {
        if !self.inner.worker.load(Ordering::Acquire) {
            return;
        }
        let wanted = self.inner.heartbeat.swap(false, Ordering::AcqRel);
        match self.next_heartbeat {
            None => self.announce(Event::WorkerOnline).await,
            Some(next) if wanted || next <= Instant::now() => {
                self.announce(Event::WorkerHeartbeat).await;
            }
            Some(_) => {}
        }
    }

    /// Publishes an event of the worker, and sets the time of the next heartbeat.
    async fn announce(&mut self, event: fn(WorkerState<'static>) -> Event<'static>) {
        let inner = &self.inner;
        let sender = {
            let sender = inner.sender.write();
            let mut sender = sender.unwrap_or_else(std::sync::PoisonError::into_inner);
            // The local time may have changed to summer time.
            sender.utcoffset = utcoffset();
            sender.clone()
        };
        let event = event(WorkerState {
            freq: HEARTBEAT.as_secs_f64(),
            active: u64::try_from(inner.active.load(Ordering::Relaxed)).unwrap_or(0),
            processed: inner.processed.load(Ordering::Relaxed),
            loadavg: load_average(),
            sw_ident: "celery-worker",
            sw_ver: env!("CARGO_PKG_VERSION"),
            sw_sys: system(),
        });
        let message = Message::one(&event, &sender, inner.moment());
        self.next_heartbeat = Some(Instant::now() + HEARTBEAT);
        self.channel.publish(&[message]).await;
    }
}

/// Returns the load averages of the machine over 1, 5 and 15 minutes, or zeros if the system
/// does not have Linux's `/proc/loadavg`.
fn load_average() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads = text.split(' ').map(|load| load.parse().unwrap_or(0.0));
    std::array::from_fn(|_| loads.next().unwrap_or(0.0))
}

/// Returns the name of the operating system, as Python's `platform.system()` has it.
fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use celery_protocol::events::TASK_MULTI;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    /// A channel for tests. During each of its first calls another event comes, and a heartbeat is
    /// requested.
    struct Busy {
        events: Events,
        calls: usize,
        published: Arc<Mutex<Vec<String>>>,
    }

    impl EventChannel for Busy {
        fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, ()> {
            let keys = messages.iter().map(|message| message.routing_key.clone());
            self.published.lock().unwrap().extend(keys);
            self.calls += 1;
            if self.calls < 10 {
                add(&self.events, 1);
                self.events.beat();
            }
            std::future::ready(()).boxed()
        }
    }

    fn add(events: &Events, count: usize) {
        let inner = events.0.as_ref().unwrap();
        for _ in 0..count {
            inner.add(&Event::Started { uuid: "id" });
        }
    }

    fn role(events: &Events) -> (Role, Arc<Mutex<Vec<String>>>) {
        let published = Arc::new(Mutex::new(Vec::new()));
        let channel = Busy {
            events: events.clone(),
            calls: 0,
            published: Arc::clone(&published),
        };
        let role = Role {
            inner: events.0.clone().unwrap(),
            channel: Box::new(channel),
            next_heartbeat: None,
        };
        (role, published)
    }

    #[tokio::test]
    async fn events_that_come_meanwhile_wait_for_the_next_turn() {
        let events = Events::of("w@h");
        // `beat` does nothing while events are off.
        events.beat();
        events.enable();
        add(&events, 3);
        let (mut role, published) = role(&events);
        role.turn().await;
        assert_eq!(
            std::mem::take(&mut *published.lock().unwrap()),
            ["worker.online", TASK_MULTI]
        );
        for _ in 0..3 {
            role.turn().await;
            assert_eq!(
                std::mem::take(&mut *published.lock().unwrap()),
                ["worker.heartbeat", TASK_MULTI]
            );
        }
    }

    #[tokio::test]
    async fn heartbeats_go_out_between_the_calls_of_a_long_turn() {
        let events = Events::of("w@h");
        events.enable();
        add(&events, 3 * MESSAGES * celery_protocol::events::MOST_IN_ONE);
        let (mut role, published) = role(&events);
        role.turn().await;
        let published = std::mem::take(&mut *published.lock().unwrap());
        let places = published.iter().enumerate();
        let of_worker = places.filter(|(_, key)| *key != TASK_MULTI);
        let places: Vec<usize> = of_worker.map(|(place, _)| place).collect();
        assert_eq!(
            places,
            [0, 1 + MESSAGES, 2 + 2 * MESSAGES, 3 + 3 * MESSAGES]
        );
    }
}
