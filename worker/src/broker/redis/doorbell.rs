//! Notices that there is something to claim, without polling.
//!
//! With `CLIENT TRACKING`, Redis tells a connection when a key changes that this connection has
//! read. A claim therefore ends with one `EXISTS` over all lists, in the same write. It *arms* the
//! bell: either it finds a message, or Redis reports the next one, and the bell rings. The bell
//! rings once for each arming. A busy worker does not arm it, so it causes no traffic.
//!
//! The connection that claims also listens, so that a ring is followed by a claim and by nothing
//! else. Two options keep its own calls from ringing:
//!
//! * `OPTIN`: Redis tracks the keys of the `EXISTS` alone, not those of scripts.
//! * `NOLOOP`: Redis does not report what this connection changes. A claim that takes messages thus
//!   uses up the arming of their lists without a ring. So the bell counts as armed only until the
//!   next claim, which arms it again or is followed by another one (see `pace`).
//!
//! If tracking is refused, the lists are polled. In either case the consumer also claims once a
//! second, because some faults of a link go unnoticed.

use std::sync::Arc;

use celery_client::aio::{Cmd, Connection, Failure, Pipeline, Push, Supervised, Tracking, Value};
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::consumed::Consumed;
use super::layout::Layout;
use super::session::Session;

/// The state of the bell after a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bell {
    /// The call did not arm the bell: the next message may not ring.
    #[default]
    Unarmed,
    /// A list has a message.
    Found,
    /// All lists are empty, and the next message rings.
    Armed,
    /// Nothing rings, because Redis does not track keys for this connection.
    Mute,
}

/// The bell of the connection that claims.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    /// Notified when the bell rings, or when the connection is lost.
    pub(super) heard: Arc<Notify>,
    /// `true` once the log says that tracking is refused.
    told: bool,
}

impl Doorbell {
    /// Returns a connection that hears this bell.
    pub(super) fn heard_by(&self, link: Supervised) -> Supervised {
        let heard = Arc::clone(&self.heard);
        link.listening(move |_: Push| heard.notify_one())
    }

    /// Adds the commands that arm the bell to a call. Returns their number: 0 if the connection
    /// cannot hear.
    pub(super) fn arm(
        &self,
        connection: &Connection,
        layout: &Layout,
        consumed: &Consumed,
        call: &mut Pipeline,
    ) -> usize {
        if !connection.hears() || connection.tracking == Tracking::Refused {
            return 0;
        }
        let before = call.len();
        if connection.tracking == Tracking::Untried {
            let options = ["TRACKING", "ON", "OPTIN", "NOLOOP"];
            call.cmd("CLIENT").arg(&options);
        }
        if let Some(exists) = exists(layout, consumed) {
            call.cmd("CLIENT").arg("CACHING").arg("YES");
            call.add_command(exists);
        }
        // Forget earlier rings: the `EXISTS` sees their messages.
        let _ = self.heard.notified().now_or_never();
        call.len() - before
    }

    /// Reads the answers to the commands of [`arm`](Self::arm).
    pub(super) fn armed(
        &mut self,
        connection: &mut Connection,
        answers: impl Iterator<Item = Result<Value, Failure>>,
    ) -> Bell {
        let mut bell = Bell::Armed;
        for answer in answers {
            match answer {
                Ok(Value::Int(found)) if found > 0 => bell = Bell::Found,
                Ok(_) => {}
                Err(refused) => {
                    connection.tracking = Tracking::Refused;
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::warn!(
                            "CLIENT TRACKING is refused ({refused}): the queues are polled instead"
                        );
                    }
                    return Bell::Mute;
                }
            }
        }
        connection.tracking = Tracking::On;
        bell
    }
}

/// Returns the command that tells whether a list has a message, if there is a list.
///
/// A key of another type would always exist, so the bell would ring without end: it is left out.
fn exists(layout: &Layout, consumed: &Consumed) -> Option<Cmd> {
    let keys = consumed.claim_order(0).map(|(_, key)| key);
    let mut keys = keys.filter(|key| layout.is_readable(key)).peekable();
    keys.peek()?;
    let mut exists = Cmd::new();
    exists.arg("EXISTS");
    for key in keys {
        exists.arg(key);
    }
    Some(exists)
}

impl Session {
    /// Makes the session hear when there is something to claim.
    pub(super) fn listening(mut self) -> Self {
        self.link = self.doorbell.heard_by(self.link);
        self
    }

    /// Arms the bell without a claim. If the bell is mute, this only looks for messages.
    pub(super) async fn listen(&mut self) -> Bell {
        loop {
            match self.try_listen().await {
                Ok(bell) => {
                    self.link.worked();
                    return bell;
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    async fn try_listen(&mut self) -> Result<Bell, Failure> {
        let consumed = self.layout.consumed();
        let connection = self.link.connection().await;
        let mut call = Pipeline::new();
        let commands = self
            .doorbell
            .arm(connection, &self.layout, &consumed, &mut call);
        if commands > 0 {
            let answers = connection.each(&call).await?;
            return Ok(self.doorbell.armed(connection, answers.into_iter()));
        }
        let Some(exists) = exists(&self.layout, &consumed) else {
            return Ok(Bell::Mute);
        };
        match connection.query(&exists).await {
            Ok(Value::Int(0)) => Ok(Bell::Mute),
            // If the user may not look, the claim tells.
            Ok(_) | Err(Failure::Refused(_)) => Ok(Bell::Found),
            Err(failure) => Err(failure),
        }
    }
}
