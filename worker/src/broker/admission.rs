//! The broker's side of limits that hold across all workers of a task.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::tag::Tag;
use crate::monitor::Pulse;

/// The calls that share a limit: all calls of a task, or those with one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) task: Arc<str>,
    /// The digest of the key.
    pub(crate) key: Option<Arc<str>>,
}

/// A call that asks to begin.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) tag: Tag,
    pub(crate) group: Group,
    /// The most calls of the group that may run at once.
    pub(crate) most: Option<u32>,
    /// The time between the beginnings of two calls of the group.
    pub(crate) interval: Option<Duration>,
}

/// The answer to a call that asks to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may begin. Its place is taken for as long as its message is held.
    Begins,
    /// As many calls run as may run at once.
    Full,
    /// The rate lets it begin after this time.
    Early(Duration),
    /// Its message is no longer held.
    Lost,
}

/// A message, and the group in which it has taken a place.
pub(crate) type Place = (Tag, Group);

/// The channel on which a worker asks whether calls may begin.
pub(crate) trait Admission: Send + 'static {
    /// Asks for calls. Waits for the broker, however long that takes. Returns one answer for each.
    fn ask<'a>(&'a mut self, calls: &'a [Ask]) -> BoxFuture<'a, Vec<Answer>>;

    /// Removes the places of messages that are no longer held, and keeps the others from expiring.
    /// It is tried only once: a place of a message that is not held is free in any case.
    fn tend<'a>(&'a mut self, ended: &'a [Place], held: &'a [Place]) -> BoxFuture<'a, ()>;
}

/// A request to the role that asks the broker.
#[derive(Debug)]
pub(crate) enum Request {
    Ask(Vec<Ask>, oneshot::Sender<Vec<Answer>>),
    Tend { ended: Vec<Place>, held: Vec<Place> },
}

/// Passes requests to the broker, one after the other. Ends when no more can come.
pub(crate) async fn serve(
    mut channel: Box<dyn Admission>,
    mut requests: mpsc::Receiver<Request>,
    pulse: Arc<Pulse>,
) {
    while let Some(request) = pulse.idle(requests.recv()).await {
        match request {
            Request::Ask(calls, answer) => {
                // An error means that the worker stops: the calls go back.
                let _ = answer.send(channel.ask(&calls).await);
            }
            Request::Tend { ended, held } => channel.tend(&ended, &held).await,
        }
    }
}

/// The channel of a broker with a single worker, on which limits are not kept.
pub(crate) struct Unlimited;

impl Admission for Unlimited {
    fn ask<'a>(&'a mut self, calls: &'a [Ask]) -> BoxFuture<'a, Vec<Answer>> {
        std::future::ready(vec![Answer::Begins; calls.len()]).boxed()
    }

    fn tend<'a>(&'a mut self, _ended: &'a [Place], _held: &'a [Place]) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
