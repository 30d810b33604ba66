//! The worker as a whole: its parts, its start and its end.
//!
//! Start: the worker checks its settings. Then it connects to the database once, which also
//! prepares the statements of SQL tasks. A server that cannot be reached does not prevent the
//! start. The worker logs it once and serves; tasks that need the server wait, still held, until it
//! is back. A server that is reachable but rejects the login, or cannot read a statement, is a
//! mistake in the settings, and prevents the start.
//!
//! Run: there are two runtimes. The code of tasks runs on the runtime that the worker was started
//! on; everything else runs on a small one of the worker's own. A task may block its threads, but
//! leases are still renewed, limits kept, signals heard and probes answered. Short tasks run one
//! after the other on a thread of the first runtime's pool; see `executor/lane.rs`.
//!
//! Stop: see [`Phase`]. The executor ends first, when every delivery has its outcome. Then the
//! consumer ends, when every verdict is carried out and waiting messages have gone back.

mod admission;
mod beat;
mod builder;
mod direct;
mod memory;
mod reports;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use celery_client::Endpoint;
use celery_protocol::result::StoredForm;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};

use self::beat::Scheduling;
use crate::broker::{AmqpOptions, FairQueue, RedisOptions, Transport};
use crate::config::value::ConfigError;
use crate::config::{Config, SETTINGS};
use crate::consumer::{Consumer, ConsumerOptions, Left};
use crate::control::Control;
use crate::database::{Database, Kind};
use crate::delivery::{MAX_HELD_SHORT, PREFETCH_MULTIPLIER, TaskNames, held_limit};
use crate::executor::{self, Ended, Recycling, Slots, Stage};
use crate::health::systemd::Manager;
use crate::health::{Vitals, http};
use crate::lifecycle::ALWAYS;
use crate::monitor::Monitor;
use crate::monitor::metrics::Metrics;
use crate::shutdown::{Phase, Shutdown};
use crate::task::{ArgumentPath, Registry, Shared, States, digest};
use crate::tasks::Statements;

pub(crate) use beat::run_beat;
pub use builder::WorkerBuilder;

/// How long the last verdicts may take at a warm stop: longer than a short outage of the broker.
const WARM_PATIENCE: Duration = Duration::from_secs(30);
/// How long the last verdicts may take at a cold stop, when a person may be pressing Ctrl-C.
const COLD_PATIENCE: Duration = Duration::from_secs(5);

/// Threads of the worker's own runtime: one may be busy with a large claim while the other renews
/// leases.
const THREADS: usize = 2;

/// The reason why a worker could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A task needs a state that the program did not provide.
    #[error("the task {task} needs a State<{state}>, which this worker was not given")]
    State {
        /// The task.
        task: String,
        /// The type of the state.
        state: &'static str,
    },
    /// A task cannot be served.
    #[error("the task {task}: {cause}")]
    Task {
        /// The task.
        task: String,
        /// Why not.
        cause: String,
    },
    /// No task is registered.
    #[error("no task is registered")]
    NoTask,
    /// The process cannot handle signals.
    #[error("cannot listen to signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The process cannot start another thread.
    #[error("cannot start threads: {0}")]
    Threads(#[source] std::io::Error),
    /// The worker cannot listen on the address for metrics: another process has it, or it is not an
    /// address of this machine.
    #[error("cannot listen on {address} for metrics: {cause}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
}

/// The way in which a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Every running task was finished; the other messages went back.
    Warm,
    /// Running tasks were dropped and their messages went back.
    Cold,
    /// Too many tasks are stuck; the supervisor should restart the process.
    Stuck {
        /// The number of stuck tasks.
        tasks: usize,
    },
    /// The process has reached its limit of tasks or memory; the supervisor should start another.
    /// Every running task was finished; the other messages went back.
    Recycled,
}

impl Stopped {
    /// Returns how a stopped worker ended.
    fn of(shutdown: &Shutdown, recycling: &Recycling) -> Self {
        match shutdown.phase() {
            Phase::Cold => Stopped::Cold,
            _ if recycling.is_due(shutdown) => Stopped::Recycled,
            _ => Stopped::Warm,
        }
    }
}

/// A worker that is ready to run.
pub struct Worker {
    config: Config,
    registry: Arc<Registry>,
    states: States,
    statements: Arc<Statements>,
    shutdown: Shutdown,
}

impl Worker {
    /// Returns a builder with the defaults of `celery-worker`.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::default()
    }

    /// Returns the sorted names of the worker's tasks. As in Celery's list, the built-in tasks are
    /// missing.
    pub(crate) fn task_names(&self) -> Vec<&str> {
        let names = self.registry.iter().map(|task| &*task.name);
        let mut names: Vec<&str> = names.filter(|name| !name.starts_with("celery.")).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until it is stopped by [`WorkerBuilder::shutdown`]'s value or by a signal. Tasks run
    /// on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the worker cannot start threads, handle signals or listen on the address
    /// for metrics, or if a statement can never work. The worker waits for a broker or database
    /// that is away.
    pub async fn run(self) -> Result<Stopped, StartError> {
        memory::keep_freed_blocks();
        let own = OwnRuntime::start().map_err(StartError::Threads)?;
        match own.handle.spawn(self.serve(Handle::current())).await {
            Ok(stopped) => stopped,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime could cancel this task, and the runtime ends after
                // it.
                Err(_) => Ok(Stopped::Cold),
            },
        }
    }

    /// Serves on the worker's own runtime, with the code of tasks on `tasks`.
    async fn serve(self, tasks: Handle) -> Result<Stopped, StartError> {
        let Worker {
            config,
            registry,
            states,
            statements,
            shutdown,
        } = self;
        shutdown
            .listen(config.soft_shutdown_timeout)
            .map_err(StartError::Signals)?;
        let pages = listen(&config).await?;
        let (monitor, last_spans) = reports::start(&config, pages.is_some());
        let options = consumer_options(&config, &registry, &monitor);
        let names: Arc<dyn TaskNames> = Arc::clone(&registry) as _;
        let (consumer, deliveries, settler) = Consumer::start(options, names, &shutdown);

        direct::start(&config);

        let slots = Slots::new(config.concurrency);
        let manager = Manager::from_env();
        if let Some(manager) = manager.clone() {
            let (view, pulses) = (consumer.view(), Arc::clone(&monitor.pulses));
            let ready = async move { view.connected().await };
            tokio::spawn(manager.serve(ready, pulses, shutdown.clone()));
        }
        let database = states.get::<Database>().ok().map(|it| (*it).clone());
        // A mistake in a statement is stored here before it stops the worker.
        let mistake = Arc::new(OnceLock::new());
        if let Some(database) = &database {
            look_after(database, config.inbox_expires);
            prepare(database, statements, &mistake, &shutdown);
        }
        let scheduling = config.redis().filter(|_| config.beat);
        let scheduling =
            scheduling.map(|redis| Scheduling::start(redis, &config, &monitor, &shutdown));
        if let Some(listener) = pages {
            if let Some(database) = &database {
                adopt_counters(&monitor.metrics, database);
            }
            let mut vitals = Vitals::new(monitor.clone(), shutdown.clone()).with_tasks(
                consumer.view(),
                database,
                Arc::clone(&slots),
            );
            if let Some(scheduling) = &scheduling {
                vitals = vitals.with_schedules(scheduling.vital());
            }
            vitals.watch(&tasks);
            tokio::spawn(http::serve(listener, Arc::new(vitals)));
        }

        let control = (!config.without_control)
            .then(|| Control::start(&consumer, &config, &registry, &slots, &shutdown, &monitor));
        let last_events =
            reports::publish_events(&|pulse| consumer.events(pulse), &monitor, &shutdown);
        let shared = Arc::new(Shared {
            states,
            settler,
            registry: Arc::clone(&registry),
            hostname: config.hostname.as_str().into(),
            exactly_once: config.exactly_once,
        });
        let mut stage = Stage::new(shared, shutdown.clone(), slots, tasks, monitor);
        stage.recycling = recycling(&config, &shutdown);
        stage.admission = admission::start(&consumer, &stage, &shutdown);
        let recycling = Arc::clone(&stage.recycling);
        let mut running = std::pin::pin!(executor::run(deliveries, &registry, stage));
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = consumer.connected() => {
                tracing::info!(target: ALWAYS, "{} ready.", config.hostname);
                running.await
            }
        };
        if let Ended::Stuck { tasks } = ended {
            if let Some(manager) = &manager {
                manager.stopping();
            }
            consumer.close(COLD_PATIENCE).await;
            last_events.await;
            last_spans.await;
            return Ok(Stopped::Stuck { tasks });
        }
        // A drained worker has finished everything, but perhaps no stop has been requested yet.
        shutdown.reached(Phase::Warm).await;
        if let Some(manager) = &manager {
            manager.stopping();
        }
        let left = consumer.close_before(patience(&shutdown)).await;
        if let Some(scheduling) = scheduling {
            scheduling.ended().await;
        }
        if let Some(control) = control {
            control.close().await;
        }
        last_events.await;
        last_spans.await;
        report(left);
        if let Some(mistake) = mistake.get() {
            return Err(mistake.clone().into());
        }
        Ok(Stopped::of(&shutdown, &recycling))
    }
}

/// Logs the messages that could not be settled.
fn report(left: Left) {
    if left.held > 0 {
        tracing::warn!(
            "{} messages could not be settled; they return to their queues after the lease",
            left.held
        );
    }
}

/// Returns the limits at which the process must be replaced, and starts to watch its memory.
fn recycling(config: &Config, shutdown: &Shutdown) -> Arc<Recycling> {
    let limits = Recycling::new(config.max_tasks_per_child, config.max_memory_per_child);
    let recycling = Arc::new(limits);
    let (watched, shutdown) = (Arc::clone(&recycling), shutdown.clone());
    tokio::spawn(async move { watched.watch_memory(&shutdown).await });
    recycling
}

/// Keeps the database's connections alive and its inbox small.
fn look_after(database: &Database, inbox_expires: Duration) {
    tokio::spawn(database.clone().look_after());
    if !inbox_expires.is_zero() {
        tokio::spawn(database.clone().keep_inbox_small(inbox_expires));
    }
}

/// Prepares the statements as soon as the database is reached. A mistake in one stops the worker.
fn prepare(
    database: &Database,
    statements: Arc<Statements>,
    mistake: &Arc<OnceLock<ConfigError>>,
    shutdown: &Shutdown,
) {
    let (database, mistake, shutdown) = (database.clone(), Arc::clone(mistake), shutdown.clone());
    tokio::spawn(async move {
        if let Err(error) = statements.prepare_when_reached(&database).await {
            tracing::error!("{error}");
            let _first = mistake.set(error);
            shutdown.advance(Phase::Warm);
        }
    });
}

/// Returns the broker with its own options.
fn transport(config: &Config) -> Transport {
    match &config.broker {
        Endpoint::Redis(endpoint) => {
            let mut redis = RedisOptions::new(Arc::clone(endpoint));
            redis.lease = config.lease;
            redis.visibility_timeout = config.visibility_timeout;
            redis.claim = config.claim;
            redis.into()
        }
        Endpoint::Amqp(endpoint) => {
            let mut rabbitmq = AmqpOptions::new(Arc::clone(endpoint));
            rabbitmq.create_missing = config.create_queues.0;
            rabbitmq.slots = config.concurrency;
            rabbitmq.into()
        }
    }
}

/// Makes the consumer's options from the worker's settings.
fn consumer_options(config: &Config, registry: &Registry, monitor: &Monitor) -> ConsumerOptions {
    let mut options = ConsumerOptions::new(transport(config), &config.hostname);
    options.monitor = monitor.clone();
    options.queues.clone_from(&config.queues);
    options.queue_order = config.queue_order();
    options.fair = fair_queues(config);
    options.default_queue.clone_from(&config.default_queue);
    options.routes = config.routes.clone();
    options.accept_content.clone_from(&config.accept_content);
    options.held = held_limit(
        config.concurrency,
        config.prefetch_multiplier.unwrap_or(PREFETCH_MULTIPLIER),
        registry.largest_batch(),
    );
    options.held_most = match config.prefetch_multiplier {
        Some(_) => 0,
        None => MAX_HELD_SHORT,
    };
    options.eta_task_limit = config.eta_task_limit;
    options.results = config.result_backend.clone();
    options.result_expires = config.result_expires;
    let failures = config.result_failure_expires;
    options.failure_expires = failures.unwrap_or(config.result_expires);
    let chords = config.result_chord_expires;
    options.chord_expires = chords.unwrap_or(config.result_expires);
    options.result_extended = config.result_extended;
    options.result_form = StoredForm {
        serializer: config.result_serializer,
        compression: config.result_compression,
    };
    options.inherit_parent_priority = config.inherit_parent_priority;
    options.default_priority = config.default_priority;
    options.errbacks_on_headers = config.allow_error_cb_on_chord_header;
    options.purge = config.purge;
    options.deduplicate_successful_tasks = config.deduplicate_successful_tasks;
    options
}

/// Returns the fair queues, each with the function that tells its keys apart.
fn fair_queues(config: &Config) -> Vec<FairQueue> {
    let queues = config.fair_queues.iter().flatten();
    let queues = queues.map(|(queue, key)| {
        let argument = ArgumentPath::parse(key);
        FairQueue::new(queue, move |task| digest(&argument.value(task)))
    });
    queues.collect()
}

/// Adds the database's counters to the page of metrics.
fn adopt_counters(metrics: &Metrics, database: &Database) {
    metrics.adopt(
        "celery_worker_database_retries",
        "Transactions run again after a deadlock or a lock wait",
        database.retries(),
    );
    metrics.adopt(
        "celery_worker_inbox_hits",
        "Calls that were skipped because they had been applied before",
        database.known(),
    );
}

/// Listens on the address for the pages, if there is one. The log names the real port, because port
/// 0 means any free port.
async fn listen(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.metrics_addr else {
        return Ok(None);
    };
    let (listener, address) = http::listen(address)
        .await
        .map_err(|cause| StartError::Metrics { address, cause })?;
    tracing::info!(target: ALWAYS, "/healthz, /readyz and /metrics on http://{address}");
    Ok(Some(listener))
}

/// The runtime for everything except tasks.
struct OwnRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("celery-worker")
            .enable_all()
            .build()?;
        Ok(OwnRuntime {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Do not wait: this thread belongs to another runtime and must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for the longest time that the last verdicts may take. A cold stop during a warm one
/// shortens the wait.
async fn patience(shutdown: &Shutdown) {
    let cold = async {
        shutdown.reached(Phase::Cold).await;
        tokio::time::sleep(COLD_PATIENCE).await;
    };
    tokio::select! {
        () = cold => {}
        () = tokio::time::sleep(WARM_PATIENCE) => {}
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({})", self.config.hostname)
    }
}

impl Worker {
    /// Asks the database once. A rejected login is an error, and so is a needed table that is
    /// missing, or a statement that the database cannot read. A database that is away is not an
    /// error.
    pub(crate) async fn check_database(&self) -> Result<(), ConfigError> {
        let Ok(database) = self.states.get::<Database>() else {
            return Ok(());
        };
        match database.ping().await {
            Err(error) if error.kind() == Kind::Refused => {
                let cause = format!("{}: {error}", database.display_url());
                Err(ConfigError::new(&SETTINGS.database, cause))
            }
            // The database itself logs that it is away.
            Err(_) => Ok(()),
            Ok(()) => {
                self.check_inbox(&database).await?;
                self.statements.prepare_once(&database).await
            }
        }
    }

    async fn check_inbox(&self, database: &Database) -> Result<(), ConfigError> {
        if !self.config.inbox() {
            return Ok(());
        }
        match database.probe_inbox().await {
            Err(error) if error.kind() == Kind::Schema => {
                let cause = format!(
                    "the table celery_inbox cannot be used: {error}. Create it with: {}",
                    database.inbox_ddl()
                );
                let setting = format!("{}, or the option once of a task", SETTINGS.exactly_once);
                Err(ConfigError::new(setting, cause))
            }
            _ => Ok(()),
        }
    }
}
