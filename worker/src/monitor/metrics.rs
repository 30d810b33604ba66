//! Counts events and shows them to Prometheus.
//!
//! Metrics that celery-exporter (danihodovic/celery-exporter) also has carry its names, so that its
//! dashboards and alerts fit. Those that only this worker has are called `celery_worker_…`.
//! docs/reference/metrics.md has the table.
//!
//! Counting is off by default; then nothing is kept and every method returns at once. The number of
//! label values is bounded: they are names of registered tasks, consumed queues and causes from a
//! fixed list. Only the names of exceptions come from the code of tasks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use serde_json::value::RawValue;

use super::observer::{Lost, Observer, Of, Raised, Revocation};

/// The buckets of runtimes in seconds: those of Python's `prometheus_client`, which celery-exporter
/// uses.
const RUNTIMES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The buckets of batch sizes, in calls. The default size of a batch is 500.
const BATCHES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// The counters of a worker. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Option<Arc<Counted>>);

/// A text that many labels share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text(Arc<str>);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        (&*self.0).encode(encoder)
    }
}

/// The labels that celery-exporter gives to every metric of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    name: Text,
    hostname: Text,
    queue_name: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    name: Text,
    hostname: Text,
    queue_name: Text,
    exception: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBatch {
    name: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLetter {
    cause: String,
}

#[derive(Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type ByTask = Family<OfTask, Counter>;

struct Counted {
    hostname: Text,
    registry: std::sync::Mutex<Registry>,
    received: ByTask,
    started: ByTask,
    succeeded: ByTask,
    failed: Family<OfFailure, Counter>,
    retried: ByTask,
    rejected: ByTask,
    revoked: ByTask,
    duplicates: ByTask,
    runtime: Family<OfTask, Histogram, Buckets>,
    running: AtomicI64,
    batches: Family<OfBatch, Histogram, Buckets>,
    claims: Counter,
    claimed: Counter,
    lost: Counter,
    restored: Counter,
    dead: Family<OfLetter, Counter>,
    present: Present,
}

/// The values that are read when a page is asked for, rather than counted.
#[derive(Default)]
struct Present {
    active: Gauge,
    slots: Gauge,
    stuck: Gauge,
    held: Gauge,
    parked: Gauge,
    waiting: Gauge,
    broker_up: Gauge,
    /// A counter that the connections increase themselves.
    reconnects: Counter,
    database_up: Gauge,
}

/// The present values of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) slots: usize,
    pub(crate) stuck: usize,
    pub(crate) held: usize,
    pub(crate) parked: usize,
    /// Messages that wait for a limit of their task.
    pub(crate) waiting: usize,
    pub(crate) broker_up: bool,
    pub(crate) reconnects: u64,
    /// `None` if the worker has no database.
    pub(crate) database_up: Option<bool>,
}

impl Metrics {
    /// Returns the metrics of the node with this name. They count from now on.
    pub(crate) fn on(node: &str) -> Self {
        Metrics(Some(Arc::new(Counted::new(node))))
    }

    /// Registers a metric that another module keeps.
    pub(crate) fn adopt(&self, name: &str, help: &str, metric: impl Metric) {
        if let Some(counted) = &self.0 {
            counted.registry().register(name, help, metric);
        }
    }

    /// Returns all metrics as OpenMetrics text.
    pub(crate) fn text(&self, now: &Now) -> String {
        let mut text = String::new();
        if let Some(counted) = &self.0 {
            counted.present.set(now);
            let active = counted.running.load(Ordering::Relaxed);
            counted.present.active.set(active);
            // Writing to a string does not fail.
            let _ = prometheus_client::encoding::text::encode(&mut text, &counted.registry());
        }
        text
    }

    /// Counts messages that became dead letters.
    fn dead(&self, cause: &str, messages: usize) {
        if let Some(counted) = &self.0 {
            let cause = cause.to_owned();
            let letters = counted.dead.get_or_create(&OfLetter { cause });
            letters.inc_by(messages as u64);
        }
    }

    fn failure(&self, of: Of<'_>, raised: Raised<'_>) {
        if let Some(counted) = &self.0 {
            let OfTask {
                name,
                hostname,
                queue_name,
            } = counted.labels(of);
            let labels = OfFailure {
                name,
                hostname,
                queue_name,
                exception: raised.exception.exc_type.clone(),
            };
            counted.failed.get_or_create(&labels).inc();
        }
    }

    fn count(&self, of: Of<'_>, which: impl FnOnce(&Counted) -> &ByTask) {
        if let Some(counted) = &self.0 {
            which(counted).get_or_create(&counted.labels(of)).inc();
        }
    }
}

impl Observer for Metrics {
    fn received(&self, of: Of<'_>) {
        self.count(of, |counted| &counted.received);
    }

    fn started(&self, of: Of<'_>) {
        self.count(of, |counted| &counted.started);
    }

    fn running(&self, change: i64) {
        if let Some(counted) = &self.0 {
            counted.running.fetch_add(change, Ordering::Relaxed);
        }
    }

    fn batch(&self, task: &Arc<str>, calls: usize) {
        if let Some(counted) = &self.0 {
            let name = Text(Arc::clone(task));
            let sizes = counted.batches.get_or_create(&OfBatch { name });
            sizes.observe(f64::from(u32::try_from(calls).unwrap_or(u32::MAX)));
        }
    }

    fn succeeded(&self, of: Of<'_>, runtime: Duration, _value: &RawValue) {
        if let Some(counted) = &self.0 {
            let labels = counted.labels(of);
            counted.succeeded.get_or_create(&labels).inc();
            let histogram = counted.runtime.get_or_create(&labels);
            histogram.observe(runtime.as_secs_f64());
        }
    }

    fn failed(&self, of: Of<'_>, raised: Raised<'_>) {
        self.failure(of, raised);
    }

    fn timed_out(&self, of: Of<'_>, _limit: Duration, raised: Raised<'_>) {
        self.failure(of, raised);
    }

    fn retried(&self, of: Of<'_>, _countdown: Duration, _raised: Option<Raised<'_>>) {
        self.count(of, |counted| &counted.retried);
    }

    fn rejected(&self, of: Of<'_>, _reason: &str, _raised: Option<Raised<'_>>) {
        self.count(of, |counted| &counted.rejected);
    }

    fn revoked(&self, of: Of<'_>, revocation: &Revocation) {
        self.count(of, |counted| &counted.revoked);
        if matches!(revocation, Revocation::Duplicate { .. }) {
            self.count(of, |counted| &counted.duplicates);
        }
    }

    fn claimed(&self, messages: usize) {
        if let Some(counted) = &self.0 {
            counted.claims.inc();
            counted.claimed.inc_by(messages as u64);
        }
    }

    fn not_objects(&self, messages: usize) {
        self.dead("not-an-object", messages);
    }

    fn lost(&self, leases: usize, _how: Lost) {
        if let Some(counted) = &self.0 {
            counted.lost.inc_by(leases as u64);
        }
    }

    fn restored(&self, messages: usize) {
        if let Some(counted) = &self.0 {
            counted.restored.inc_by(messages as u64);
        }
    }

    fn unreadable_orphans(&self, messages: usize) {
        self.dead("unreadable-orphan", messages);
    }

    fn dead_letter(&self, cause: &str) {
        self.dead(cause, 1);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Metrics(on)",
            None => "Metrics(off)",
        })
    }
}

impl Counted {
    fn new(node: &str) -> Self {
        // Like celery-exporter, take the part after the @.
        let hostname = node.split_once('@').map_or(node, |(_, host)| host);
        let counted = Counted {
            hostname: Text(Arc::from(hostname)),
            registry: std::sync::Mutex::new(Registry::default()),
            received: Family::default(),
            started: Family::default(),
            succeeded: Family::default(),
            failed: Family::default(),
            retried: Family::default(),
            rejected: Family::default(),
            revoked: Family::default(),
            duplicates: Family::default(),
            runtime: Family::new_with_constructor(Buckets(&RUNTIMES)),
            running: AtomicI64::default(),
            batches: Family::new_with_constructor(Buckets(&BATCHES)),
            claims: Counter::default(),
            claimed: Counter::default(),
            lost: Counter::default(),
            restored: Counter::default(),
            dead: Family::default(),
            present: Present::default(),
        };
        counted.register();
        counted
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        // The list only grows, so a thread that panicked with the lock left it whole.
        self.registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn labels(&self, of: Of<'_>) -> OfTask {
        OfTask {
            name: Text(Arc::from(of.task.name.as_str())),
            hostname: self.hostname.clone(),
            queue_name: Text(Arc::clone(of.queue)),
        }
    }

    /// Registers every metric under its name. The name of a counter gets `_total` at its end.
    fn register(&self) {
        let mut registry = self.registry();
        let by_task = [
            ("received", "Tasks claimed by this worker", &self.received),
            ("started", "Tasks whose code began to run", &self.started),
            ("succeeded", "Tasks that succeeded", &self.succeeded),
            (
                "retried",
                "Tasks that failed and will be run again",
                &self.retried,
            ),
            (
                "rejected",
                "Tasks that refused their message",
                &self.rejected,
            ),
            (
                "revoked",
                "Tasks that had expired, were revoked or terminated, or were duplicates",
                &self.revoked,
            ),
            (
                "duplicate",
                "Calls of unique tasks that were revoked because another one waits or runs",
                &self.duplicates,
            ),
        ];
        for (state, help, family) in by_task {
            registry.register(format!("celery_task_{state}"), help, family.clone());
        }
        registry.register(
            "celery_task_failed",
            "Tasks that failed",
            self.failed.clone(),
        );
        registry.register(
            "celery_task_runtime",
            "Seconds that successful tasks took",
            self.runtime.clone(),
        );
        registry.register(
            "celery_worker_batch_size",
            "Calls that were run at once",
            self.batches.clone(),
        );
        for (name, help, counter) in [
            ("claims", "Answered claims", &self.claims),
            ("claimed_messages", "Messages claimed", &self.claimed),
            (
                "lost_leases",
                "Messages taken away from this worker while it held them",
                &self.lost,
            ),
            (
                "restored_messages",
                "Messages rescued from workers that are gone",
                &self.restored,
            ),
        ] {
            registry.register(format!("celery_worker_{name}"), help, counter.clone());
        }
        registry.register(
            "celery_worker_dead_letters",
            "Messages moved to the dead letters",
            self.dead.clone(),
        );
        self.present.register(&mut registry, &self.hostname);
    }
}

impl Present {
    fn register(&self, registry: &mut Registry, hostname: &Text) {
        let label = ("hostname".into(), hostname.0.to_string().into());
        let exporters = registry.sub_registry_with_label(label);
        let up = Gauge::<i64>::default();
        up.set(1);
        exporters.register("celery_worker_up", "1 while the worker lives", up);
        exporters.register(
            "celery_worker_tasks_active",
            "Tasks that run now",
            self.active.clone(),
        );
        for (name, help, gauge) in [
            ("slots", "Tasks that may run at once", &self.slots),
            (
                "stuck_tasks",
                "Tasks that did not end when told to",
                &self.stuck,
            ),
            (
                "held_messages",
                "Messages that are held and not yet settled",
                &self.held,
            ),
            (
                "parked_messages",
                "Messages that wait here for their ETA",
                &self.parked,
            ),
            (
                "waiting_messages",
                "Messages that wait here for a limit of their task",
                &self.waiting,
            ),
            (
                "broker_up",
                "1 while every connection to the broker stands",
                &self.broker_up,
            ),
            (
                "database_up",
                "1 while the database is there; 0 also if none is set",
                &self.database_up,
            ),
        ] {
            registry.register(format!("celery_worker_{name}"), help, gauge.clone());
        }
        registry.register(
            "celery_worker_broker_reconnects",
            "Connections to broker and result backend that were lost and came back",
            self.reconnects.clone(),
        );
    }

    fn set(&self, now: &Now) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.slots.set(number(now.slots));
        self.stuck.set(number(now.stuck));
        self.held.set(number(now.held));
        self.parked.set(number(now.parked));
        self.waiting.set(number(now.waiting));
        self.broker_up.set(now.broker_up.into());
        let reconnects = self.reconnects.inner();
        reconnects.store(now.reconnects, Ordering::Relaxed);
        self.database_up
            .set(now.database_up.unwrap_or_default().into());
    }
}

#[cfg(test)]
mod tests {
    use celery_protocol::result::ExceptionDoc;

    use super::*;
    use crate::task::testing;

    #[test]
    fn names_and_labels_are_those_of_celery_exporter() {
        let metrics = Metrics::on("w1@host.example");
        let queue: Arc<str> = "celery".into();
        let task = Arc::new(testing::task("proj.\"add\"\n", "[]"));
        let of = Of {
            task: &task,
            queue: &queue,
            run: None,
        };
        let exception = ExceptionDoc::new("ValueError", "no", None);
        metrics.received(of);
        metrics.succeeded(of, Duration::from_millis(30), RawValue::NULL);
        let raised = Raised {
            exception: &exception,
            traceback: None,
            is_expected: false,
        };
        metrics.failed(of, raised);
        metrics.dead("poison", 2);
        metrics.running(3);
        let text = metrics.text(&Now {
            held: 7,
            ..Now::default()
        });
        let labels = r#"name="proj.\"add\"\n",hostname="host.example",queue_name="celery""#;
        for line in [
            format!("celery_task_received_total{{{labels}}} 1"),
            format!("celery_task_runtime_bucket{{le=\"0.05\",{labels}}} 1"),
            format!("celery_task_failed_total{{{labels},exception=\"ValueError\"}} 1"),
            "celery_worker_dead_letters_total{cause=\"poison\"} 2".to_owned(),
            "celery_worker_held_messages 7".to_owned(),
            "celery_worker_tasks_active{hostname=\"host.example\"} 3".to_owned(),
            "celery_worker_up{hostname=\"host.example\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        metrics.running(-3);
        let text = metrics.text(&Now::default());
        assert!(text.contains("tasks_active{hostname=\"host.example\"} 0"));
        assert_eq!(Metrics::default().text(&Now::default()), "");
    }
}
