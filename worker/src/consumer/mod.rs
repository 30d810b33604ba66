//! Claims messages, hands them to the executor, judges their outcomes, and carries the verdicts
//! out.
//!
//! ```text
//!              bell ─┐
//!                    ▼ rings
//!   Redis ═══► fetch ────────► intake ────────► deliveries ──► executor
//!     ▲          ▲  claimed      │ ▲ due                          │
//!     ║          │ acks          │ └─ parked                      │ outcomes
//!     ║        ledger ◄──────────┼────────────── settling ◄───────┘
//!     ╚══════════════════════════╧═══════════════════╝
//!       renew, sweep
//! ```
//!
//! Each role is a task with a connection of its own, so that a large answer to one does not delay a
//! renewal of another. No role ends on an error: it connects again for as long as it takes. The
//! `ledger` lists the messages that are held. Its limit bounds every queue between the roles.

mod canvas;
mod fetch;
mod intake;
mod leases;
mod members_first;
mod options;
mod pace;
mod parked;
mod peek;
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
use std::time::Duration;

use celery_client::aio::Health;
use celery_client::redis::RedisEndpoint as Endpoint;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

pub use options::ConsumerOptions;
pub(crate) use routes::read as read_routes;
pub use routes::{RouteError, Routes};

use self::fetch::Fetch;
use self::intake::{Intake, Unread};
use self::members_first::MembersFirst;
use self::parked::Parked;
pub(crate) use self::parked::Waiting;
pub(crate) use self::rules::Rules;
use self::settling::Settling;
pub(crate) use self::verdict::{Failure, Verdict};
use crate::broker::redis::control::RedisControl;
use crate::broker::redis::doorbell::{self, Bell};
use crate::broker::redis::{Broker, Layout, RedisSource};
pub use crate::broker::{QueueOrder, Results};
use crate::delivery::{Delivery, InHand, Ledger, Revoked, Settler, TaskNames};
use crate::monitor::Pulse;
use crate::{Phase, Shutdown};

/// A running consumer.
///
/// [`close`](Self::close) ends it in order. When it is dropped, it ends at once, and the messages
/// that it holds come back when their leases run out.
pub struct Consumer {
    broker: Broker,
    results: Option<Broker>,
    ledger: Arc<Ledger>,
    intake: JoinHandle<()>,
    ask: Ask,
    renewing: AbortHandle,
    roles: Vec<AbortHandle>,
}

/// Asks the intake role for a list of the parked messages.
type Ask = mpsc::Sender<oneshot::Sender<Vec<Waiting>>>;

/// A view of a running consumer for monitoring.
#[derive(Clone)]
pub(crate) struct View {
    ask: Ask,
    layout: Arc<Layout>,
    broker: Arc<Health>,
    results: Option<Arc<Health>>,
    ledger: Arc<Ledger>,
}

impl View {
    /// Waits until every connection to the broker is up.
    pub(crate) async fn connected(&self) {
        self.broker.up().await;
    }

    /// Returns `true` if every connection is up, to the broker and to the server of the results.
    pub(crate) fn is_connected(&self) -> bool {
        self.servers().all(Health::is_up)
    }

    pub(crate) fn reconnects(&self) -> u64 {
        self.servers().map(Health::reconnects).sum()
    }

    /// Returns the number of messages that are claimed and not yet settled.
    pub(crate) fn held(&self) -> usize {
        self.ledger.busy()
    }

    pub(crate) fn parked(&self) -> usize {
        self.ledger.parked_count()
    }

    /// Returns the most messages that may be held.
    pub(crate) fn limit(&self) -> usize {
        self.ledger.limit()
    }

    /// Returns the names of the queues that are consumed.
    pub(crate) fn queues(&self) -> Vec<Arc<str>> {
        let queues = self.layout.queues.iter();
        queues.map(|queue| Arc::clone(&queue.name)).collect()
    }

    /// Returns the tasks that wait for a slot or run.
    pub(crate) fn in_hand(&self) -> Vec<InHand> {
        self.ledger.in_hand()
    }

    /// Returns the list of the tasks that must not run.
    pub(crate) fn revoked(&self) -> &Revoked {
        &self.ledger.revoked
    }

    /// Ends tasks by their ids. Returns the ids that are in hand.
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
        // An error means that the consumer has ended: nothing waits any more.
        if self.ask.send(answer).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    fn servers(&self) -> impl Iterator<Item = &Health> {
        std::iter::once(&*self.broker).chain(self.results.as_deref())
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
            .field("ledger", &self.ledger)
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
        let renewal = options.renewal();
        let held = options.held.max(1);
        let broker = broker(&options);
        let results = results(&options, &broker);
        let elsewhere = results.clone();
        let ledger = Arc::new(Ledger::new(held, options.held_bytes, options.lease));
        let (monitor, observers) = (&options.monitor, options.monitor.observers());
        let role = |name: &'static str| {
            let pulse = monitor.pulses.watch(name);
            (watched(&broker, name, &pulse), pulse)
        };
        let rules = Arc::new(Rules {
            results: options.results != Results::Disabled,
            default_queue: Arc::from(options.default_queue.as_str()),
            routes: options.routes.clone(),
            origin: options.node.clone(),
            reply_to: uuid::Uuid::new_v4().to_string(),
            most: canvas::MOST,
            names,
        });
        let (orders, ordered) = mpsc::unbounded_channel();
        let (claims, claimed) = mpsc::unbounded_channel();
        // The channel has room for every message that can be held, so intake never waits for the
        // executor.
        let (deliveries, delivered) = mpsc::channel(held);
        // One question at a time: remote control waits for each answer.
        let (ask, asked) = mpsc::channel(1);
        let (bell, rung) = (Arc::new(Bell::default()), Arc::new(Notify::new()));

        let (source, pulse) = role("fetch");
        let fetch = Fetch {
            source,
            ledger: Arc::clone(&ledger),
            bell: Arc::clone(&bell),
            rung: Arc::clone(&rung),
            eta_limit: options.eta_task_limit.unwrap_or(usize::MAX),
            safety: options.safety_claim,
            shutdown: shutdown.clone(),
            pulse,
            observers: observers.clone(),
        };
        let (source, pulse) = role("intake");
        let intake = Intake {
            source,
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
        };
        let (source, pulse) = role("complete");
        let settling = Settling {
            source,
            results: results.map(|results| watched(&results, "results", &pulse)),
            ledger: Arc::clone(&ledger),
            rules,
            redelivery_limit: options.redelivery_limit,
            pulse,
            observers: observers.clone(),
            failed_chords: MembersFirst::default(),
        };
        let (source, pulse) = role("sweep");
        let sweeping = leases::sweep(
            source,
            Arc::clone(&ledger),
            options.lease,
            options.visibility_timeout,
            pulse,
            observers.clone(),
        );
        let (source, pulse) = role("lease");
        let renewing = leases::renew(source, Arc::clone(&ledger), renewal, pulse, observers);
        let pulse = monitor.pulses.watch("doorbell");
        let ringing = doorbell::serve(broker.clone(), bell, pulse, move || rung.notify_one());

        let intake = spawn("intake", shutdown, intake.run(claimed));
        let roles = vec![
            spawn("fetch", shutdown, fetch.run(claims)).abort_handle(),
            spawn("complete", shutdown, settling.run(ordered)).abort_handle(),
            spawn("sweep", shutdown, sweeping).abort_handle(),
            spawn("doorbell", shutdown, ringing).abort_handle(),
        ];
        let renewing = spawn("lease", shutdown, renewing).abort_handle();
        (
            Consumer {
                broker,
                results: elsewhere,
                ledger: Arc::clone(&ledger),
                intake,
                ask,
                renewing,
                roles,
            },
            delivered,
            Settler { orders, ledger },
        )
    }

    /// Waits until every connection to the broker is up.
    pub async fn connected(&self) {
        self.broker.health.up().await;
    }

    /// Returns `true` if every connection to the broker is up, as far as known.
    pub fn is_connected(&self) -> bool {
        self.broker.health.is_up()
    }

    pub(crate) fn view(&self) -> View {
        View {
            ask: self.ask.clone(),
            layout: Arc::clone(&self.broker.layout),
            broker: Arc::clone(&self.broker.health),
            results: self
                .results
                .as_ref()
                .map(|results| Arc::clone(&results.health)),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Returns the channel of remote control.
    pub(crate) fn control(&self, pulse: &Arc<Pulse>) -> RedisControl {
        let pulse = Arc::clone(pulse);
        self.broker
            .control(self.results.as_ref(), move || pulse.beat())
    }

    /// Returns the number of deliveries that wait for their ETA.
    pub fn parked(&self) -> usize {
        self.ledger.parked_count()
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
        let settled = async {
            // The intake role ends when nothing is claimed any longer, and gives back the parked
            // messages.
            let _ = (&mut self.intake).await;
            self.ledger.empty().await;
        };
        tokio::select! {
            biased;
            () = settled => return Left::default(),
            // The roles retry until the broker is back. The worker holds nothing, so it need not
            // wait for that.
            () = deserted(&self.broker.health, &self.ledger) => return Left::default(),
            () = end => {}
        }
        // No role may change the scores of the messages that are given back now.
        self.stop();
        let tags = self.ledger.leases();
        let mut source = self.broker.role("close");
        let abandoned = tokio::time::timeout(LAST_EFFORT, source.abandon(&tags)).await;
        let returned = match abandoned {
            Ok(Ok(swept)) => swept.restored + swept.dead,
            _ => 0,
        };
        Left {
            returned,
            held: tags.len().saturating_sub(returned),
        }
    }

    fn stop(&self) {
        self.intake.abort();
        self.renewing.abort();
        for role in &self.roles {
            role.abort();
        }
    }
}

/// How often a stopping consumer checks whether the broker is away, once it holds nothing.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until nothing is held and the broker is away. A claim whose answer did not arrive may have
/// taken messages: they come back when their leases run out, as after a kill.
async fn deserted(health: &Health, ledger: &Ledger) {
    loop {
        ledger.deserted().await;
        if !health.is_up() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Starts a role.
///
/// A role that ended by a bug would leave a worker that looks alive and never finishes what it
/// holds. The worker is therefore stopped, so that its supervisor starts it again.
pub(crate) fn spawn(
    name: &'static str,
    shutdown: &Shutdown,
    role: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        #[cfg(feature = "failpoints")]
        if crate::failpoint::hangs(name) {
            std::future::pending::<()>().await;
        }
        if AssertUnwindSafe(role).catch_unwind().await.is_err() {
            tracing::error!("The worker's part {name:?} ended by a bug: stopping");
            shutdown.advance(Phase::Cold);
        }
    })
}

/// How long giving back at the very end may take. It is short: if the broker is away, the leases of
/// the messages run out within half a minute anyway.
const LAST_EFFORT: Duration = Duration::from_secs(2);

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the source of a role, whose pulse beats whenever its server answers or fails to.
fn watched(broker: &Broker, name: &str, pulse: &Arc<Pulse>) -> RedisSource {
    let pulse = Arc::clone(pulse);
    broker.role(name).watched(move || pulse.beat())
}

fn broker(options: &ConsumerOptions) -> Broker {
    let keys = match &options.results {
        Results::Server(server) => options.broker.keys_with_results(server.key_prefix()),
        Results::Broker | Results::Disabled => options.broker.keys(),
    };
    // A claim that named a list twice would take its messages twice.
    let mut queues: Vec<Arc<str>> = Vec::with_capacity(options.queues.len());
    for queue in &options.queues {
        if !queues.iter().any(|known| **known == **queue) {
            queues.push(Arc::from(queue.as_str()));
        }
    }
    let instance = uuid::Uuid::new_v4().simple().to_string();
    // Redis counts in whole seconds. Rounding down to 0 would keep results without limit.
    let ttl = options.result_expires.as_millis().div_ceil(1000);
    let ttl = u64::try_from(ttl).unwrap_or(u64::MAX);
    let layout = Layout::new(
        keys,
        &queues,
        &options.queue_order,
        &instance,
        &options.node,
        ttl,
    );
    connect_to(&options.broker, Arc::new(layout))
}

fn results(options: &ConsumerOptions, broker: &Broker) -> Option<Broker> {
    match &options.results {
        Results::Server(server) => Some(connect_to(server, Arc::clone(&broker.layout))),
        Results::Broker | Results::Disabled => None,
    }
}

fn connect_to(endpoint: &Endpoint, layout: Arc<Layout>) -> Broker {
    Broker {
        endpoint: Arc::new(endpoint.clone()),
        layout,
        health: Arc::new(Health::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_role_that_ends_by_a_bug_stops_the_worker() {
        let shutdown = Shutdown::new();
        let bug = async { std::panic::panic_any("as the test wants it") };
        spawn("fetch", &shutdown, bug).await.unwrap();
        assert_eq!(shutdown.phase(), Phase::Cold);
    }
}
