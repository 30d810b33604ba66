//! Runs schedules: beside a worker (`--beat`), or in a process without tasks (`celery-worker beat`).

use std::sync::Arc;

use celery_client::redis::RedisEndpoint;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{OwnRuntime, StartError, listen, reports};
use crate::beat::{Beat, Sender, Status};
use crate::broker::redis::events_of_schedules;
use crate::broker::{Connectivity, schedules};
use crate::config::Config;
use crate::events::Events;
use crate::health::systemd::Manager;
use crate::health::{Schedules, Vitals, http};
use crate::lifecycle::ALWAYS;
use crate::monitor::Monitor;
use crate::monitor::metrics::Metrics;
use crate::shutdown::{Phase, Shutdown};

/// The role that sends due tasks, and what it shows.
pub(super) struct Scheduling {
    status: Arc<Status>,
    broker: Arc<dyn Connectivity>,
    role: JoinHandle<()>,
}

impl Scheduling {
    /// Starts the role. It ends when the process begins to stop, so that another one can lead.
    pub(super) fn start(
        redis: &Arc<RedisEndpoint>,
        config: &Config,
        monitor: &Monitor,
        shutdown: &Shutdown,
    ) -> Self {
        let status = Arc::new(Status::default());
        status.adopted_by(&monitor.metrics);
        let pulse = monitor.pulses.watch("beat");
        let (store, broker) = schedules::open(redis, &config.hostname, &pulse);
        let sender = Sender {
            origin: config.hostname.clone(),
            reply_to: uuid::Uuid::new_v4().to_string(),
            routes: config.routes.clone(),
            default_queue: config.default_queue.clone(),
            default_priority: config.default_priority,
            traces: monitor.traces.clone(),
            events: monitor.events.clone(),
        };
        let beat = Beat::new(store, sender, Arc::clone(&status), pulse);
        let (file, shutdown) = (config.schedules.clone(), shutdown.clone());
        let role = tokio::spawn(async move {
            beat.serve(file, shutdown.reached(Phase::Draining)).await;
        });
        Scheduling {
            status,
            broker,
            role,
        }
    }

    /// Returns what the pages show of it.
    pub(super) fn vital(&self) -> Schedules {
        Schedules {
            status: Arc::clone(&self.status),
            broker: Arc::clone(&self.broker),
        }
    }

    /// Waits until the role has ended, which takes a second at most.
    pub(super) async fn ended(self) {
        // An error is a panic, which the process's panic hook has logged.
        let _ = self.role.await;
    }
}

/// Runs schedules without tasks until a signal ends it.
pub(crate) async fn run_beat(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let own = OwnRuntime::start().map_err(StartError::Threads)?;
    match own.handle.spawn(serve(config, shutdown)).await {
        Ok(ended) => ended,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime could cancel this task.
            Err(_) => Ok(()),
        },
    }
}

async fn serve(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    shutdown
        .listen(config.soft_shutdown_timeout)
        .map_err(StartError::Signals)?;
    let pages = listen(&config).await?;
    let metrics = match pages {
        Some(_) => Metrics::on(&config.hostname),
        None => Metrics::default(),
    };
    let mut monitor = Monitor::new(metrics, Events::of(&config.hostname));
    let redis = config.redis_for("beat")?;
    let last_spans = reports::export_spans(&config, &mut monitor);
    if config.send_sent_event {
        monitor.events.enable_sent();
    }
    let last_events = reports::publish_events(
        &|pulse| events_of_schedules(redis, &config.hostname, pulse),
        &monitor,
        &shutdown,
    );
    let scheduling = Scheduling::start(redis, &config, &monitor, &shutdown);
    let manager = Manager::from_env();
    if let Some(manager) = manager.clone() {
        let broker = Arc::clone(&scheduling.broker);
        let (pulses, shutdown) = (Arc::clone(&monitor.pulses), shutdown.clone());
        tokio::spawn(manager.serve(async move { broker.up().await }, pulses, shutdown));
    }
    if let Some(listener) = pages {
        let vitals = Vitals::new(monitor.clone(), shutdown.clone());
        let vitals = vitals.with_schedules(scheduling.vital());
        vitals.watch(&Handle::current());
        tokio::spawn(http::serve(listener, Arc::new(vitals)));
    }
    let ready = async {
        scheduling.broker.up().await;
        tracing::info!(target: ALWAYS, "{} ready.", config.hostname);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = shutdown.reached(Phase::Draining) => {}
        () = ready => {}
    }
    if let Some(manager) = &manager {
        manager.stopping();
    }
    scheduling.ended().await;
    last_events.await;
    last_spans.await;
    Ok(())
}
