//! Notices that there is something to claim, without polling.
//!
//! With `CLIENT TRACKING`, Redis tells a connection when a key changes that this connection has
//! read. The worker therefore sends one `EXISTS` over all lists, which *arms* the bell: either it
//! finds a message now, or Redis reports the next message, and the bell rings. The bell rings once
//! for each arming. A busy worker does not arm it, so it causes no traffic.
//!
//! The connection sends no other commands. If it wrote a key, the bell would no longer be armed,
//! although it has not rung. If it called a script, the bell would be armed for the keys of the
//! script, too. If tracking is refused, the lists are polled. In either case the consumer also
//! claims once a second, because some faults of a link go unnoticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celery_client::aio::{Cmd, Failure, Push, Supervised, Value};
use celery_client::backoff::Backoff;
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::connector::Connector;
use super::layout::Layout;
use crate::monitor::Pulse;

/// The shortest wait between two polls, where tracking is refused.
const POLL_FLOOR: Duration = Duration::from_millis(5);
/// The longest wait between two polls.
const POLL_CAP: Duration = Duration::from_millis(100);
/// How often the link is tried while nothing rings, so that a dead link is noticed.
const CHECK: Duration = Duration::from_secs(15);

/// The consumer's side of the doorbell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    armed: AtomicBool,
    wanted: Notify,
}

impl Bell {
    /// Asks for a ring at the next message. Does nothing if the bell is armed already.
    pub(super) fn arm(&self) {
        if !self.armed.swap(true, Ordering::AcqRel) {
            self.wanted.notify_one();
        }
    }
}

/// Serves the bell until the returned future is dropped. Each time the bell is armed, it calls
/// `ring` once, as soon as there is something to claim.
pub(super) async fn serve(
    broker: Connector,
    bell: Arc<Bell>,
    pulse: Arc<Pulse>,
    ring: impl Fn() + Send + 'static,
) {
    let heard = Arc::new(Notify::new());
    let link = broker
        .link("doorbell")
        .watched({
            let pulse = Arc::clone(&pulse);
            move || pulse.beat()
        })
        .listening({
            let heard = Arc::clone(&heard);
            move |_: Push| heard.notify_one()
        });
    let mut doorbell = Doorbell {
        pulse,
        layout: Arc::clone(&broker.layout),
        link,
        heard,
        tracked: false,
        told: false,
    };
    // Connect at the start, not at the first arming: a worker reports ready when every connection
    // is open.
    doorbell.look().await;
    loop {
        doorbell.pulse.idle(bell.wanted.notified()).await;
        doorbell.wait().await;
        bell.armed.store(false, Ordering::Release);
        ring();
    }
}

struct Doorbell {
    pulse: Arc<Pulse>,
    link: Supervised,
    layout: Arc<Layout>,
    heard: Arc<Notify>,
    /// `true` if the present connection tracks keys.
    tracked: bool,
    /// `true` once the log says that tracking is refused.
    told: bool,
}

impl Doorbell {
    /// Waits until a list has a message.
    async fn wait(&mut self) {
        let mut polls = Backoff::between(POLL_FLOOR, POLL_CAP);
        while !self.look().await {
            if self.tracked {
                // A queue that was added is not tracked yet.
                let (heard, added) = (&self.heard, &self.layout.queues().added);
                let heard = async {
                    tokio::select! {
                        () = heard.notified() => {}
                        () = added.notified() => {}
                    }
                };
                let heard = tokio::time::timeout(CHECK, heard);
                let _ = self.pulse.idle(heard).await;
            } else {
                tokio::time::sleep(polls.pause()).await;
            }
        }
    }

    /// Returns `true` if a list has a message. Otherwise the next message will ring.
    async fn look(&mut self) -> bool {
        loop {
            match self.try_look().await {
                Ok(found) => {
                    self.link.worked();
                    return found;
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn try_look(&mut self) -> Result<bool, Failure> {
        let fresh = !self.link.is_open();
        let connection = self.link.connection().await;
        if fresh {
            self.tracked = false;
            if connection.hears() {
                let mut tracking = Cmd::new();
                tracking.arg("CLIENT").arg("TRACKING").arg("ON");
                match connection.query(&tracking).await {
                    Ok(_) => self.tracked = true,
                    Err(refused @ Failure::Refused(_)) => {
                        if !std::mem::replace(&mut self.told, true) {
                            tracing::warn!(
                                "CLIENT TRACKING is refused ({refused}): the queues are polled instead"
                            );
                        }
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        // Forget earlier rings: the `EXISTS` below sees their messages. Most of them come from our
        // own claims, which empty the lists.
        let _ = self.heard.notified().now_or_never();
        // A key of another type would always exist, so the bell would ring without end: leave it
        // out.
        let consumed = self.layout.consumed();
        let keys = consumed.claim_order(0).map(|(_, key)| key);
        let keys: Vec<&str> = keys.filter(|key| self.layout.is_readable(key)).collect();
        if keys.is_empty() {
            return Ok(false);
        }
        let mut exists = Cmd::new();
        exists.arg("EXISTS").arg(keys);
        match connection.query(&exists).await? {
            Value::Int(n) => Ok(n > 0),
            _ => Err(Failure::Answer("EXISTS")),
        }
    }
}
