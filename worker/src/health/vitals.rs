//! Decides whether a worker is healthy, and whether it is ready.
//!
//! A worker is *unhealthy* when a restart would help: tasks are stuck, a loop of the consumer does
//! not turn, or every thread that runs tasks is blocked. A broker or database that is away does not
//! make it unhealthy.
//!
//! A worker is *ready* when it claims messages and reaches what tasks need.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::consumer::View;
use crate::database::Database;
use crate::executor::Slots;
use crate::monitor::metrics::Now;
use crate::monitor::{Monitor, Pulse};
use crate::shutdown::Shutdown;

/// The interval at which the threads that run tasks must show that they are free.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// The age up to which the last answer of the database still counts.
const FRESH: Duration = Duration::from_secs(5);
/// How long a probe waits for the database. Probes themselves have time-outs of seconds.
const ANSWER: Duration = Duration::from_secs(2);

/// A view of every part of a worker.
pub(crate) struct Vitals {
    monitor: Monitor,
    consumer: View,
    /// Beats while a thread that runs tasks is free.
    threads: Arc<Pulse>,
    database: Option<Database>,
    slots: Arc<Slots>,
    shutdown: Shutdown,
}

/// The problems found, one line each. Empty if all is well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaints(Vec<String>);

impl Complaints {
    pub(super) fn none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.none() {
            return writeln!(f, "ok");
        }
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Vitals {
    pub(crate) fn new(
        monitor: Monitor,
        consumer: View,
        database: Option<Database>,
        slots: Arc<Slots>,
        shutdown: Shutdown,
    ) -> Self {
        Vitals {
            monitor,
            consumer,
            threads: Arc::default(),
            database,
            slots,
            shutdown,
        }
    }

    /// Watches the threads of a runtime until the process ends.
    pub(crate) fn watch(&self, tasks: &Handle) {
        let threads = Arc::clone(&self.threads);
        tasks.spawn(async move {
            loop {
                threads.beat();
                tokio::time::sleep(SIGN_OF_LIFE).await;
            }
        });
    }

    pub(super) fn health(&self) -> Complaints {
        let (now, mut complaints) = (Instant::now(), Vec::new());
        if self.monitor.stuck() > 0 {
            complaints.push(format!(
                "{} tasks did not end when told to",
                self.monitor.stuck()
            ));
        }
        for (part, age) in self.monitor.pulses.hanging(now) {
            let age = age.as_secs();
            complaints.push(format!("the consumer's part {part:?} has hung for {age} s"));
        }
        if !self.threads.is_alive(now) {
            let age = self.threads.age(now).as_secs();
            complaints.push(format!(
                "all threads of the tasks have been blocked for {age} s"
            ));
        }
        Complaints(complaints)
    }

    pub(super) async fn readiness(&self) -> Complaints {
        let Complaints(mut complaints) = self.health();
        if !self.shutdown.is_running() {
            complaints.push("the worker no longer claims messages".to_owned());
        }
        if !self.consumer.is_connected() {
            complaints.push("the broker cannot be reached".to_owned());
        }
        if let Some(database) = &self.database {
            // The database is pinged only if its last answer is old. So probes cost a busy worker
            // nothing.
            if database.heard_within(FRESH).is_none() {
                let _ = tokio::time::timeout(ANSWER, database.ping()).await;
            }
            if database.heard_within(FRESH) != Some(true) {
                complaints.push("the database cannot be reached".to_owned());
            }
        }
        Complaints(complaints)
    }

    pub(super) fn metrics(&self) -> String {
        self.monitor.metrics.text(&Now {
            slots: self.slots.count(),
            stuck: self.monitor.stuck(),
            held: self.consumer.held(),
            parked: self.consumer.parked(),
            broker_up: self.consumer.is_connected(),
            reconnects: self.consumer.reconnects(),
            database_up: self.database.as_ref().map(Database::is_up),
        })
    }
}
