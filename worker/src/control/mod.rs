//! Remote control: answers what `celery inspect` and `celery control` ask, in Python's shape.
//!
//! One role hears the requests of the whole fleet, runs those that address this worker one after
//! the other, and answers them. A command is a function of the [`Node`] in a file of its own, below
//! `commands`. A command without a meaning here is answered with an error that says so.
//!
//! No request can end the role: a request that cannot be read is logged, and a command that fails,
//! panics or takes too long is answered with an error. Requests and replies may be lost while the
//! broker is away, as in Celery.

mod answer;
mod arguments;
mod commands;
mod matching;
mod mingle;
mod node;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::control::{Reply, Request};
use celery_protocol::message::DecodeOptions;
use celery_protocol::serializer::Serializer;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::answer::{Answer, error, limited};
use self::arguments::Arguments;
use self::node::Node;
use crate::Shutdown;
use crate::broker::Role;
use crate::broker::control::{ControlChannel, Heard, Named, RawRequest};
use crate::config::Config;
use crate::consumer::{Consumer, spawn};
use crate::executor::Slots;
use crate::monitor::{Monitor, Pulse};
use crate::printable::one_line;
use crate::task::Registry;

/// How long a command may take. Clients wait for a second by default, and no command waits for more
/// than two answers of the broker.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the role may take to sign off from the broker.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The running role. Dropping it ends the role without signing off.
pub(crate) struct Control {
    end: oneshot::Sender<()>,
    role: JoinHandle<()>,
}

impl Control {
    /// Starts the role beside a consumer.
    pub(crate) fn start(
        consumer: &Consumer,
        config: &Config,
        registry: &Arc<Registry>,
        slots: &Arc<Slots>,
        shutdown: &Shutdown,
        monitor: &Monitor,
    ) -> Self {
        let node = Node {
            config: config.clone(),
            registry: Arc::clone(registry),
            slots: Arc::clone(slots),
            view: consumer.view(),
            shutdown: shutdown.clone(),
            clock: monitor.events.clock(),
            events: monitor.events.clone(),
            started: Instant::now(),
        };
        node.view.revoked().begin_loading();
        let (end, ended) = oneshot::channel();
        let role = Role::new("control", &monitor.pulses, |pulse| {
            serve(consumer.control(&pulse), node, pulse, ended)
        });
        Control {
            end,
            role: spawn(role, shutdown),
        }
    }

    /// Ends the role, and signs off from the broker if it can be reached at once.
    pub(crate) async fn close(self) {
        drop(self.end);
        // A role that does not end in time ends with the process.
        let _ = tokio::time::timeout(LAST_WORDS, self.role).await;
    }
}

/// Serves requests until `end` is dropped.
async fn serve(
    mut channel: impl ControlChannel,
    node: Node,
    pulse: Arc<Pulse>,
    mut end: oneshot::Receiver<()>,
) {
    // When the replies of the other workers are to be read.
    let mut mingled = None;
    loop {
        let heard = tokio::select! {
            biased;
            _ = &mut end => return channel.close().await,
            () = mingle::due(mingled) => {
                mingled = None;
                mingle::end(&node, &mut channel).await;
                if !channel.keeps_revocations() {
                    node.view.revoked().end_loading();
                }
                continue;
            }
            heard = pulse.idle(channel.next()) => heard,
        };
        match heard {
            Heard::Open => {
                // Revocations may have been missed while the channel was closed.
                let ids = channel.revoked(Named::Ids).await;
                let stamps = channel.revoked(Named::Stamps).await;
                let known = ids.is_some() && stamps.is_some();
                let now = Instant::now();
                node.view.revoke(&ids.unwrap_or_default()).await;
                let stamps = stamps.unwrap_or_default();
                node.view.revoked_stamps().add(stamps, now);
                mingled = mingle::begin(&node, &mut channel).await;
                // After a failed read the channel opens again. Until then the first tasks wait, for
                // a few seconds at most. If only other workers know revocations, the tasks wait for
                // their replies.
                if known && (channel.keeps_revocations() || mingled.is_none()) {
                    node.view.revoked().end_loading();
                }
                tracing::debug!("Remote control listens");
            }
            Heard::Refused => node.view.revoked().end_loading(),
            Heard::Request(raw) => {
                let handled = AssertUnwindSafe(node.handle(&raw, &mut channel)).catch_unwind();
                if handled.await.is_err() {
                    tracing::error!("A control request was dropped because of a bug");
                }
            }
        }
    }
}

impl Node {
    async fn handle(&self, raw: &RawRequest, channel: &mut impl ControlChannel) {
        // Most clients do not keep a logical clock, so every request advances the worker's own
        // clock by one.
        self.clock.forward();
        let mut accept = self.config.accept_content.clone();
        // PHP clients send JSON, whatever the tasks of the app are written in.
        accept.push(Serializer::Json);
        let request = match raw.decode(&DecodeOptions::default().accept(&accept)) {
            Ok(request) => request,
            Err(error) => {
                let error = error.to_string();
                return tracing::error!("Cannot decode a control request: {}", one_line(&error));
            }
        };
        self.clock.adjust(request.clock);
        let name = &self.config.hostname;
        let addressed = request.addresses(name, |pattern, matcher| {
            matching::matches(name, pattern, matcher).unwrap_or_else(|error| {
                tracing::error!("Control command error: {}", one_line(&error));
                false
            })
        });
        if !addressed {
            return;
        }
        tracing::debug!("Received control command {}", one_line(&request.method));
        let Some(answer) = self.run(&request, channel).await else {
            return;
        };
        let answer = answer.unwrap_or_else(|why| {
            tracing::error!(
                "Control command {} failed: {}",
                one_line(&request.method),
                one_line(&why)
            );
            error(&why)
        });
        if let Some(address) = &request.reply_to {
            let reply = Reply::new(
                name,
                limited(answer),
                request.ticket.clone(),
                self.clock.forward(),
            );
            channel.reply(&reply, address).await;
        }
    }

    /// Runs the command of a request. Returns `None` if the command is never answered.
    async fn run(&self, request: &Request, channel: &mut impl ControlChannel) -> Option<Answer> {
        let arguments = match Arguments::new(&request.method, &request.arguments) {
            Ok(arguments) => arguments,
            Err(error) => return Some(Err(error)),
        };
        let command = AssertUnwindSafe(commands::run(self, arguments, channel)).catch_unwind();
        match tokio::time::timeout(DEADLINE, command).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Some(Err("RuntimeError('the command failed by a bug')".to_owned())),
            Err(_) => Some(Err("TimeoutError('the broker does not answer')".to_owned())),
        }
    }
}
