//! What `top` knows about the fleet: from events, from the workers' answers, and from Redis.
//!
//! Events tell at once what happens, but a worker may send none. Answers to `stats` and `active`
//! come every few seconds from every worker that answers remote control.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use celery_protocol::events::Received;
use serde_json::Value;

use super::routes::Route;

/// How long a worker may be silent before it counts as lost.
const SILENT: Duration = Duration::from_secs(15);
/// How long a worker that has stopped or is lost stays on the screen.
const FORGOTTEN: Duration = Duration::from_mins(2);
/// The most failures that are kept.
const FAILURES: usize = 200;
/// The most tasks that are known as running, and the most names of tasks. What goes beyond them is
/// not shown.
const MOST: usize = 10_000;

/// The fleet. Every map is sorted by what the screen shows first.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// The workers, by node name.
    pub(super) workers: BTreeMap<String, Worker>,
    /// The running tasks, by id.
    pub(super) running: BTreeMap<String, Running>,
    /// The tasks by name.
    pub(super) tasks: BTreeMap<String, Counts>,
    /// The latest failures, newest first.
    pub(super) failures: VecDeque<FailedTask>,
    /// The queues with the number of messages that wait in each.
    pub(super) queues: Vec<(String, u64)>,
    /// The number of messages that workers hold.
    pub(super) held: u64,
    /// The number of dead letters.
    pub(super) dead: u64,
    /// The newest dead letters.
    pub(super) letters: Vec<DeadLetter>,
    /// The names of received tasks, by id, until their end.
    names: BTreeMap<String, String>,
}

/// A worker of the fleet.
#[derive(Debug)]
pub(super) struct Worker {
    seen: Instant,
    /// `true` if it said that it stops.
    stopped: bool,
    /// The name and version of its software, as its events say.
    pub(super) software: String,
    /// The number of tasks that it can run at once.
    pub(super) slots: Option<u64>,
    /// The number of tasks that it runs.
    pub(super) active: u64,
    /// The number of tasks that it has begun since its start.
    pub(super) processed: u64,
    /// The load average of its machine over a minute.
    pub(super) load: Option<f64>,
    /// The queues that it serves.
    pub(super) queues: Vec<String>,
    /// The route to each of them.
    pub(super) routes: Vec<Route>,
    /// The tasks that it began in each second, on average between its last two answers.
    pub(super) rate: f64,
    counted: Option<(Instant, u64)>,
}

/// A running task.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) worker: String,
    pub(super) arguments: String,
    /// When it began, in Unix seconds.
    pub(super) began: Option<f64>,
}

/// What is known about the tasks of a name since `top` was started.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    pub(super) revoked: u64,
    /// The seconds that the succeeded ones ran, in all.
    pub(super) runtime: f64,
}

/// A task that failed.
#[derive(Clone, Debug)]
pub(super) struct FailedTask {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) worker: String,
    pub(super) exception: String,
    /// When it failed, in Unix seconds.
    pub(super) at: f64,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(super) struct DeadLetter {
    pub(super) place: String,
    pub(super) queue: String,
    pub(super) id: String,
    pub(super) task: String,
    pub(super) cause: String,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was heard a moment ago.
    Up,
    /// It said that it stops.
    Stopped,
    /// It was not heard for [`SILENT`].
    Silent,
}

impl Worker {
    fn new(now: Instant) -> Self {
        Worker {
            seen: now,
            stopped: false,
            software: String::new(),
            slots: None,
            active: 0,
            processed: 0,
            load: None,
            queues: Vec::new(),
            routes: Vec::new(),
            rate: 0.0,
            counted: None,
        }
    }

    /// Returns its state.
    pub(super) fn state(&self, now: Instant) -> State {
        if self.stopped {
            State::Stopped
        } else if now.saturating_duration_since(self.seen) > SILENT {
            State::Silent
        } else {
            State::Up
        }
    }
}

impl Fleet {
    /// Returns the routes to the queues that workers serve.
    pub(super) fn routes(&self) -> Vec<&Route> {
        let workers = self.workers.values();
        workers.flat_map(|worker| &worker.routes).collect()
    }

    /// Takes in an event.
    pub(super) fn hear(&mut self, event: &Received, now: Instant) {
        let id = event.text("uuid").unwrap_or_default();
        match event.kind.as_str() {
            "worker-online" | "worker-heartbeat" => self.heartbeat(event, now),
            "worker-offline" => {
                self.worker(&event.hostname, now).stopped = true;
                self.running.retain(|_, task| task.worker != event.hostname);
            }
            // A client's event: its sender is not a worker.
            "task-sent" => {}
            kind if kind.starts_with("task-") => {
                self.worker(&event.hostname, now);
                match kind {
                    "task-received" => self.received(id, event),
                    "task-started" => self.started(id, event),
                    _ => self.ended(id, event),
                }
            }
            _ => {}
        }
    }

    fn heartbeat(&mut self, event: &Received, now: Instant) {
        let worker = self.worker(&event.hostname, now);
        let software = [event.text("sw_ident"), event.text("sw_ver")];
        worker.software = software.map(Option::unwrap_or_default).join(" ");
        if let Some(processed) = count(event.members.get("processed")) {
            worker.processed = processed;
        }
        if let Some(active) = count(event.members.get("active")) {
            worker.active = active;
        }
        let load = event.members.get("loadavg").and_then(|loads| loads.get(0));
        worker.load = load.and_then(Value::as_f64);
    }

    fn received(&mut self, id: &str, event: &Received) {
        let name = event.text("name").unwrap_or_default();
        if self.names.len() < MOST {
            self.names.insert(id.to_owned(), name.to_owned());
        }
        self.count(name, |counts| counts.received += 1);
    }

    fn started(&mut self, id: &str, event: &Received) {
        if self.running.len() >= MOST {
            return;
        }
        let began = Running {
            name: self.names.get(id).cloned().unwrap_or_default(),
            worker: event.hostname.clone(),
            arguments: String::new(),
            began: event.number("timestamp"),
        };
        self.running.insert(id.to_owned(), began);
    }

    fn ended(&mut self, id: &str, event: &Received) {
        let running = self.running.remove(id);
        let name = self.names.remove(id).or(running.map(|task| task.name));
        let name = name.unwrap_or_default();
        let runtime = event.number("runtime").unwrap_or(0.0);
        self.count(&name, |counts| match event.kind.as_str() {
            "task-succeeded" => {
                counts.succeeded += 1;
                counts.runtime += runtime;
            }
            "task-failed" => counts.failed += 1,
            "task-retried" => counts.retried += 1,
            "task-revoked" => counts.revoked += 1,
            _ => {}
        });
        if event.kind == "task-failed" {
            self.failures.truncate(FAILURES - 1);
            self.failures.push_front(FailedTask {
                id: id.to_owned(),
                name,
                worker: event.hostname.clone(),
                exception: event.text("exception").unwrap_or_default().to_owned(),
                at: event.number("timestamp").unwrap_or(0.0),
            });
        }
    }

    /// Takes in a worker's answer to a command.
    pub(super) fn answered(&mut self, node: &str, command: &str, answer: &Value, now: Instant) {
        if answer.get("error").is_some() {
            return;
        }
        match command {
            "stats" => self.stats(node, answer, now),
            "active" => self.active(node, answer, now),
            "active_queues" => {
                let queues = answer.as_array().into_iter().flatten();
                let routes: Vec<Route> = queues.filter_map(Route::read).collect();
                let worker = self.worker(node, now);
                worker.queues = routes.iter().map(|route| route.queue.clone()).collect();
                worker.routes = routes;
            }
            _ => {}
        }
    }

    fn stats(&mut self, node: &str, answer: &Value, now: Instant) {
        let totals = answer.get("total").and_then(Value::as_object);
        let total: u64 = totals.map_or(0, |totals| totals.values().filter_map(Value::as_u64).sum());
        let slots = answer
            .get("pool")
            .and_then(|pool| count(pool.get("max-concurrency")));
        let worker = self.worker(node, now);
        worker.slots = slots;
        if let Some((then, before)) = worker.counted {
            let passed = now.saturating_duration_since(then).as_secs_f64();
            // After a restart the total is smaller.
            let begun = u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX);
            if passed > 0.0 {
                worker.rate = f64::from(begun) / passed;
            }
        }
        worker.counted = Some((now, total));
        worker.processed = total;
    }

    fn active(&mut self, node: &str, answer: &Value, now: Instant) {
        let Some(tasks) = answer.as_array() else {
            return;
        };
        self.worker(node, now).active = tasks.len() as u64;
        self.running.retain(|_, task| task.worker != node);
        for task in tasks {
            let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = text("id");
            if id.is_empty() || self.running.len() >= MOST {
                continue;
            }
            let arguments = ["args", "kwargs"].map(|name| shown(task.get(name)));
            let running = Running {
                name: text("name").to_owned(),
                worker: node.to_owned(),
                arguments: arguments.join(" ").trim().to_owned(),
                began: task.get("time_start").and_then(Value::as_f64),
            };
            self.running.insert(id.to_owned(), running);
        }
    }

    /// Forgets what is too old to be shown.
    pub(super) fn forget(&mut self, now: Instant) {
        self.workers
            .retain(|_, worker| now.saturating_duration_since(worker.seen) < FORGOTTEN);
        let workers = &self.workers;
        self.running.retain(|_, task| {
            workers
                .get(&task.worker)
                .is_some_and(|it| it.state(now) == State::Up)
        });
    }

    /// Returns the tasks that the whole fleet began in a second.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let up = self
            .workers
            .values()
            .filter(|it| it.state(now) == State::Up);
        up.map(|worker| worker.rate).sum()
    }

    /// Returns the worker of this name, which was just heard.
    fn worker(&mut self, node: &str, now: Instant) -> &mut Worker {
        let worker = self
            .workers
            .entry(node.to_owned())
            .or_insert_with(|| Worker::new(now));
        (worker.seen, worker.stopped) = (now, false);
        worker
    }

    fn count(&mut self, name: &str, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.tasks.get_mut(name) {
            change(counts);
        } else if self.tasks.len() < MOST {
            change(self.tasks.entry(name.to_owned()).or_default());
        }
    }
}

/// Returns a number that Python writes as an integer.
fn count(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64)
}

/// Returns arguments as one text: as they are if they are a text, otherwise as JSON.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
