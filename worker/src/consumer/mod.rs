//! Claims messages, hands them to the executor, judges their outcomes, and carries the verdicts
//! out.
//!
//! ```text
//!  broker ═══► fetch ────────► intake ────────► deliveries ──► executor
//!     ▲          ▲  claimed      │ ▲ due                          │
//!     ║          │ acks          │ └─ parked                      │ outcomes
//!     ║        ledger ◄──────────┼────────────── settling ◄───────┘
//!     ╚══════════════════════════╧═══════════════════╝
//!       upkeep: the broker's own roles
//! ```
//!
//! Each `Role` is a task with its own part of the broker, so that a large answer to one does not
//! delay another. No role ends on an error: its part of the broker connects again for as long as it
//! takes. The ledger lists the messages that are held. Its limit bounds every queue between the
//! roles.

mod canvas;
mod fetch;
mod intake;
mod locks;
mod members_first;
mod options;
mod parked;
mod report;
mod routes;
mod rules;
mod settling;
mod transition;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

pub(crate) use canvas::MOST;
pub use options::ConsumerOptions;
pub(crate) use routes::read as read_routes;
pub use routes::{RouteError, Routes};

use self::fetch::Fetch;
use self::intake::{Asked, Intake, Unread};
use self::members_first::MembersFirst;
pub(crate) use self::parked::Waiting;
use self::parked::{Parked, hash};
pub(crate) use self::rules::Rules;
use self::settling::Settling;
pub(crate) use self::verdict::{FAILED, Failure, Verdict};
use crate::broker::admission::Admission;
use crate::broker::control::AnyChannel;
use crate::broker::events::EventChannel;
pub use crate::broker::memory;
pub use crate::broker::{AmqpOptions, ClaimMode, QueueOrder, RedisOptions, Results, Transport};
use crate::broker::{
    Broker, Connectivity, HeldLimit, InHand, Ledger, MAX_HELD, Queues, Revoked, Role, Tag, Upkeep,
    amqp, redis,
};
use crate::delivery::{Delivery, Settler, TaskNames};
use crate::monitor::Pulse;
use crate::{Phase, Shutdown};

/// A running consumer.
///
/// [`close`](Self::close) ends it in order. When it is dropped, it ends at once, and the messages
/// that it holds come back when their leases run out.
pub struct Consumer {
    view: View,
    intake: JoinHandle<()>,
    roles: Vec<AbortHandle>,
    control: OpenControl,
    events: OpenEvents,
    admission: OpenAdmission,
    give_back: GiveBack,
}

/// [`Broker::control`] of the broker in use.
type OpenControl = Box<dyn Fn(&Arc<Pulse>) -> AnyChannel + Send + Sync>;

/// [`Broker::events`] of the broker in use.
type OpenEvents = Box<dyn Fn(&Arc<Pulse>) -> Box<dyn EventChannel> + Send + Sync>;

/// [`Broker::admission`] of the broker in use.
type OpenAdmission = Box<dyn Fn(&Arc<Pulse>) -> Box<dyn Admission> + Send + Sync>;

/// [`Broker::give_back`] of the broker in use.
type GiveBack = Box<dyn Fn(Vec<Tag>) -> BoxFuture<'static, usize> + Send + Sync>;

/// Asks the intake role about the parked messages.
type Ask = mpsc::Sender<Asked>;

/// A view of a running consumer for monitoring.
#[derive(Clone)]
pub(crate) struct View {
    ask: Ask,
    queues: Arc<Queues>,
    broker: Arc<dyn Connectivity>,
    /// The server of the results, if it is not the broker.
    elsewhere: Option<Arc<dyn Connectivity>>,
    ledger: Arc<Ledger>,
}

impl View {
    /// Waits until every connection to the broker is up.
    pub(crate) async fn connected(&self) {
        self.broker.up().await;
    }

    /// Returns `true` if every connection is up, to the broker and to the server of the results.
    pub(crate) fn is_connected(&self) -> bool {
        self.servers().all(Connectivity::is_up)
    }

    pub(crate) fn reconnects(&self) -> u64 {
        self.servers().map(Connectivity::reconnects).sum()
    }

    /// Returns the number of messages that are claimed and not yet settled.
    pub(crate) fn held(&self) -> usize {
        self.ledger.busy()
    }

    pub(crate) fn parked(&self) -> usize {
        self.ledger.parked_count()
    }

    /// Returns the number of messages that wait for a limit of their task.
    pub(crate) fn waiting_for_limits(&self) -> usize {
        self.ledger.waiting_count()
    }

    /// Returns the most messages that may be held now.
    pub(crate) fn limit(&self) -> usize {
        self.ledger.limit()
    }

    /// Sets the most messages that may be held.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.ledger.set_limit(limit);
    }

    /// Returns the queues that are consumed. They can change.
    pub(crate) fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Returns the tasks that wait for a slot or run.
    pub(crate) fn in_hand(&self) -> Vec<InHand> {
        self.ledger.in_hand()
    }

    /// Returns the list of the stamps whose tasks must not run.
    pub(crate) fn revoked_stamps(&self) -> &Revoked {
        &self.ledger.revoked_stamps
    }

    /// Returns the list of the tasks that must not run.
    pub(crate) fn revoked(&self) -> &Revoked {
        &self.ledger.revoked
    }

    /// Ends tasks by their ids. Returns the ids of those that wait or run here.
    pub(crate) fn terminate(&self, ids: &[&str], signal: i32) -> Vec<String> {
        self.ledger.terminate(ids, signal)
    }

    /// Returns how many tasks of each name have begun since the start.
    pub(crate) fn begun(&self) -> HashMap<String, u64> {
        self.ledger.begun()
    }

    /// Returns the messages that wait for their ETA: the first thousand or 4 MiB of them.
    pub(crate) async fn waiting(&self) -> Vec<Waiting> {
        let (answer, answered) = oneshot::channel();
        // An error means that the consumer has ended, so no message waits any more.
        if self.ask.send(Asked::List(answer)).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Revokes tasks by their ids. Those that wait for their ETA are settled at once.
    pub(crate) async fn revoke<S: AsRef<str>>(&self, ids: &[S]) {
        self.note_revoked(ids);
        self.settle_revoked(ids).await;
    }

    /// Notes that tasks are revoked: from now on their code does not begin.
    pub(crate) fn note_revoked<S: AsRef<str>>(&self, ids: &[S]) {
        self.ledger.revoked.add(ids, Instant::now());
    }

    /// Settles the revoked tasks that wait for their ETA. Waits for the intake role, which may be
    /// reading a large message.
    pub(crate) async fn settle_revoked<S: AsRef<str>>(&self, ids: &[S]) {
        if ids.is_empty() {
            return;
        }
        let hashed = ids.iter().map(|id| hash(id.as_ref())).collect();
        // An error means that the consumer has ended: nothing waits any more.
        let _ = self.ask.send(Asked::Revoked(hashed)).await;
    }

    fn servers(&self) -> impl Iterator<Item = &dyn Connectivity> {
        std::iter::once(&*self.broker).chain(self.elsewhere.as_deref())
    }
}

/// The number of deliveries that a consumer could not finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Deliveries without an outcome that were given back at the end, marked as redelivered.
    pub returned: usize,
    /// Deliveries that could neither be settled nor given back. When their leases run out, other
    /// workers get them.
    pub held: usize,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("ledger", &self.view.ledger)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Starts consuming. Needs a tokio runtime; does not wait for the broker.
    ///
    /// The deliveries end (`None`) once `shutdown` has left [`Phase::Running`] and every claimed
    /// message has been handed out or given back.
    pub fn start(
        options: ConsumerOptions,
        names: Arc<dyn TaskNames>,
        shutdown: &Shutdown,
    ) -> (Consumer, mpsc::Receiver<Delivery>, Settler) {
        let queues = Arc::new(Queues::new(&options.queues));
        let subscription = options.subscription(&queues);
        match &options.transport {
            Transport::Redis(redis) => {
                let server = redis::Server::new(redis.clone(), &subscription);
                Consumer::start_on(server, queues, options, names, shutdown)
            }
            Transport::Amqp(amqp) => {
                let server = amqp::Server::new(amqp.clone(), &subscription);
                Consumer::start_on(server, queues, options, names, shutdown)
            }
            Transport::Memory(server) => {
                let client = memory::Client::new(server, &subscription);
                Consumer::start_on(client, queues, options, names, shutdown)
            }
        }
    }

    fn start_on<B: Broker>(
        broker: B,
        queues: Arc<Queues>,
        options: ConsumerOptions,
        names: Arc<dyn TaskNames>,
        shutdown: &Shutdown,
    ) -> (Consumer, mpsc::Receiver<Delivery>, Settler) {
        let held = options.held.max(1);
        let limit = HeldLimit::between(held, options.held_most);
        let ledger = Arc::new(Ledger::with(limit, options.held_bytes, broker.lease()));
        let pulses = Arc::clone(&options.monitor.pulses);
        let observers = options.monitor.observers();
        let traces = options.monitor.traces.clone();
        let rules = options.rules::<B>(names, traces.clone());
        let rules = Arc::new(rules);
        let (orders, ordered) = mpsc::unbounded_channel();
        let (claims, claimed) = mpsc::unbounded_channel();
        // The channel has room for every message that can be held, so intake never waits for the
        // executor.
        let (deliveries, delivered) = mpsc::channel(held.max(MAX_HELD));
        // One question at a time: remote control waits for each answer.
        let (ask, asked) = mpsc::channel(1);

        let fetch = Role::new("fetch", &pulses, |pulse| {
            let fetch = Fetch {
                inbound: broker.inbound(&ledger, &pulse),
                ledger: Arc::clone(&ledger),
                eta_limit: options.eta_task_limit.unwrap_or(usize::MAX),
                purges: options.purge,
                shutdown: shutdown.clone(),
                pulse,
                observers: observers.clone(),
            };
            fetch.run(claims)
        });
        let intake = Role::new("intake", &pulses, |pulse| {
            let intake = Intake {
                outbound: broker.outbound("intake", &pulse),
                ledger: Arc::clone(&ledger),
                rules: Arc::clone(&rules),
                orders: orders.clone(),
                deliveries,
                shutdown: shutdown.clone(),
                parked: Parked::default(),
                asked,
                unread: Unread::default(),
                accept: options.accept_content,
                redelivery_limit: options.redelivery_limit,
                pulse,
                observers: observers.clone(),
                traces,
            };
            intake.run(claimed)
        });
        let complete = Role::new("complete", &pulses, |pulse| {
            let settling = Settling {
                outbound: broker.outbound("complete", &pulse),
                elsewhere: broker.elsewhere(&pulse),
                ledger: Arc::clone(&ledger),
                rules: Arc::clone(&rules),
                redelivery_limit: options.redelivery_limit,
                pulse,
                observers: observers.clone(),
                noted: HashMap::new(),
                failed_chords: MembersFirst::default(),
            };
            settling.run(ordered)
        });
        let mut roles = vec![fetch, complete];
        roles.extend(broker.upkeep(Upkeep {
            ledger: Arc::clone(&ledger),
            pulses,
            observers,
            shutdown: shutdown.clone(),
        }));

        let broker = Arc::new(broker);
        let [control, events, admission] = std::array::from_fn(|_| Arc::clone(&broker));
        let view = View {
            ask,
            queues,
            broker: broker.health(),
            elsewhere: broker.health_elsewhere(),
            ledger: Arc::clone(&ledger),
        };
        let intake = spawn(intake, shutdown);
        let roles = roles.into_iter();
        let roles = roles.map(|role| spawn(role, shutdown).abort_handle());
        let consumer = Consumer {
            view,
            intake,
            roles: roles.collect(),
            control: Box::new(move |pulse| control.control(pulse)),
            events: Box::new(move |pulse| events.events(pulse)),
            admission: Box::new(move |pulse| admission.admission(pulse)),
            give_back: Box::new(move |tags| broker.give_back(tags)),
        };
        let settler = Settler {
            orders,
            ledger,
            caller: rules,
        };
        (consumer, delivered, settler)
    }

    /// Waits until every connection to the broker is up.
    pub async fn connected(&self) {
        self.view.broker.up().await;
    }

    /// Returns `true` if every connection to the broker is up, as far as known.
    pub fn is_connected(&self) -> bool {
        self.view.broker.is_up()
    }

    pub(crate) fn view(&self) -> View {
        self.view.clone()
    }

    /// Returns the channel of remote control.
    pub(crate) fn control(&self, pulse: &Arc<Pulse>) -> AnyChannel {
        (self.control)(pulse)
    }

    /// Returns the channel of events.
    pub(crate) fn events(&self, pulse: &Arc<Pulse>) -> Box<dyn EventChannel> {
        (self.events)(pulse)
    }

    /// Returns the channel on which calls of limited tasks ask to begin.
    pub(crate) fn admission(&self, pulse: &Arc<Pulse>) -> Box<dyn Admission> {
        (self.admission)(pulse)
    }

    /// Returns the number of deliveries that wait for their ETA.
    pub fn parked(&self) -> usize {
        self.view.ledger.parked_count()
    }

    /// Settles every outcome that was reported so far, and ends the consumer.
    ///
    /// The caller calls it after the shutdown has begun and the last outcome was reported. After
    /// `patience`, deliveries without an outcome are given back, marked as redelivered.
    pub async fn close(self, patience: Duration) -> Left {
        self.close_before(tokio::time::sleep(patience)).await
    }

    /// Like [`close`](Self::close), but waits until `end` is ready.
    pub(crate) async fn close_before(mut self, end: impl Future<Output = ()>) -> Left {
        let (broker, ledger) = (Arc::clone(&self.view.broker), Arc::clone(&self.view.ledger));
        let settled = async {
            // The intake role ends when nothing is claimed any longer, and gives back the parked
            // messages.
            let _ = (&mut self.intake).await;
            ledger.empty().await;
        };
        tokio::select! {
            biased;
            () = settled => return Left::default(),
            // The roles retry until the broker is back. The worker holds nothing, so it need not
            // wait for that.
            () = deserted(&*broker, &ledger) => return Left::default(),
            () = end => {}
        }
        // No role may change the scores of the messages that are given back now.
        self.stop();
        let tags = ledger.leases();
        let held = tags.len();
        let given_back = tokio::time::timeout(LAST_EFFORT, (self.give_back)(tags)).await;
        let returned = given_back.unwrap_or(0);
        Left {
            returned,
            held: held.saturating_sub(returned),
        }
    }

    fn stop(&self) {
        self.intake.abort();
        for role in &self.roles {
            role.abort();
        }
    }
}

/// How often a stopping consumer checks whether the broker is away, once it holds nothing.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until nothing is held and the broker is away. A claim whose answer did not arrive may have
/// taken messages: they come back when their leases run out, as after a kill.
async fn deserted(broker: &dyn Connectivity, ledger: &Ledger) {
    loop {
        ledger.deserted().await;
        if !broker.is_up() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Starts a role.
///
/// If a role ended because of a bug, the worker would look alive and never finish the messages that
/// it holds. The worker is therefore stopped, so that its supervisor starts it again.
pub(crate) fn spawn(role: Role, shutdown: &Shutdown) -> JoinHandle<()> {
    let Role { name, run } = role;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        #[cfg(feature = "failpoints")]
        if crate::failpoint::hangs(name) {
            std::future::pending::<()>().await;
        }
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            tracing::error!("The worker's part {name:?} ended by a bug: stopping");
            shutdown.advance(Phase::Cold);
        }
    })
}

/// The limit for giving back messages at the very end. It is short: if the broker is away, the
/// leases of the messages run out within half a minute anyway.
const LAST_EFFORT: Duration = Duration::from_secs(2);

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Pulses;

    #[tokio::test]
    async fn a_role_that_ends_by_a_bug_stops_the_worker() {
        let shutdown = Shutdown::new();
        let bug = async |_| std::panic::panic_any("as the test wants it");
        let role = Role::new("fetch", &Pulses::default(), bug);
        spawn(role, &shutdown).await.unwrap();
        assert_eq!(shutdown.phase(), Phase::Cold);
    }
}
