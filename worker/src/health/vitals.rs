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

use crate::beat::Status;
use crate::broker::Connectivity;
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
    consumer: Option<View>,
    schedules: Option<Schedules>,
    /// Beats while a thread that runs tasks is free.
    threads: Arc<Pulse>,
    database: Option<Database>,
    slots: Option<Arc<Slots>>,
    shutdown: Shutdown,
}

/// What the pages show of the role that sends the tasks of schedules.
pub(crate) struct Schedules {
    pub(crate) status: Arc<Status>,
    pub(crate) broker: Arc<dyn Connectivity>,
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
    /// Returns the view of a process that has neither tasks nor schedules.
    pub(crate) fn new(monitor: Monitor, shutdown: Shutdown) -> Self {
        Vitals {
            monitor,
            consumer: None,
            schedules: None,
            threads: Arc::default(),
            database: None,
            slots: None,
            shutdown,
        }
    }

    /// Adds the parts that run tasks.
    pub(crate) fn with_tasks(
        mut self,
        consumer: View,
        database: Option<Database>,
        slots: Arc<Slots>,
    ) -> Self {
        self.consumer = Some(consumer);
        self.database = database;
        self.slots = Some(slots);
        self
    }

    /// Adds the role that sends the tasks of schedules.
    pub(crate) fn with_schedules(mut self, schedules: Schedules) -> Self {
        self.schedules = Some(schedules);
        self
    }

    /// Returns the lines that the pages have besides problems.
    pub(super) fn notes(&self) -> String {
        match &self.schedules {
            Some(schedules) => format!("{}\n", schedules.status.known()),
            None => String::new(),
        }
    }

    /// Returns `true` if every connection to a broker is up.
    fn is_connected(&self) -> bool {
        let consumer = self.consumer.as_ref().is_none_or(View::is_connected);
        let schedules = self.schedules.as_ref();
        consumer && schedules.is_none_or(|schedules| schedules.broker.is_up())
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
        if !self.is_connected() {
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
        let consumer = self.consumer.as_ref();
        let schedules = self.schedules.as_ref();
        let reconnects = schedules.map_or(0, |schedules| schedules.broker.reconnects());
        self.monitor.metrics.text(&Now {
            slots: self.slots.as_ref().map_or(0, |slots| slots.count()),
            stuck: self.monitor.stuck(),
            held: consumer.map_or(0, View::held),
            parked: consumer.map_or(0, View::parked),
            waiting: consumer.map_or(0, View::waiting_for_limits),
            broker_up: self.is_connected(),
            reconnects: consumer.map_or(0, View::reconnects) + reconnects,
            database_up: self.database.as_ref().map(Database::is_up),
        })
    }
}
