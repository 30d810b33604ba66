//! The programs under test: the shipped worker, the example worker, and Python's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celery_testkit::Process;

use crate::world::{PATIENCE, Rabbit, World};

/// A worker, and the number of files that it had open when it was ready.
pub struct Worker {
    pub process: Process,
    files: Option<usize>,
}

/// The default lease of the workers. It is short, so that the messages of a killed worker come back
/// soon. On a slow machine it only makes tasks run twice.
const LEASE: &str = "1s";
/// The most database connections of a worker: the default of `--database-connections`, and the two
/// that cancel statements and look after lost ones.
const DATABASE_CONNECTIONS: usize = 16 + 2;
/// The most connections of a worker to Redis: one for each role, and a second for results
/// elsewhere.
const REDIS_CONNECTIONS: usize = 9;
/// The most files that a worker may open after its start: connections open when they are first
/// needed. More would be a leak.
const FILES: usize = DATABASE_CONNECTIONS + REDIS_CONNECTIONS;

impl World {
    /// Starts `celery-worker` with the table's tasks; it serves the queue `celery`.
    pub fn worker(&self, more: &[&str]) -> Worker {
        Worker::start(&mut self.worker_command(more))
    }

    pub fn worker_command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command.args(["--queues", "celery", "--config"]);
        command.arg(self.settings());
        command.args(["--broker", &self.broker]).args(more);
        self.set_broker_options(&mut command);
        command.env("CELERY_WORKER_EXACTLY_ONCE", self.exactly_once.to_string());
        command
    }

    /// Starts a worker of an older version, as [`worker`](Self::worker) starts one of this version.
    pub fn older_worker(&self, program: &Path, more: &[&str]) -> Worker {
        let mut command = Command::new(program);
        command.args(["--queues", "celery", "--config"]);
        command.arg(self.older_settings());
        command.args(["--broker", &self.broker]).args(more);
        command.env("CELERY_WORKER_LEASE", LEASE);
        Worker::start(&mut command)
    }

    /// Starts the example worker, with tasks that need no table; it serves the queue `play`.
    pub fn playground(&self, more: &[&str]) -> Worker {
        Worker::start(&mut self.playground_command(more))
    }

    pub fn playground_command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(example("playground"));
        command.args(["--queues", "play", "--broker", &self.broker]);
        command.args(more);
        if self.rabbit.is_some() {
            command.arg("--config").arg(self.without_unique_tasks());
        }
        self.set_broker_options(&mut command);
        command
    }

    /// Returns the address of the results.
    fn redis_url(&self) -> String {
        match &self.rabbit {
            None => self.broker.clone(),
            Some(rabbit) => rabbit.results.clone(),
        }
    }

    /// Sets what depends on the kind of the broker.
    fn set_broker_options(&self, command: &mut Command) {
        match &self.rabbit {
            None => command
                .env("CELERY_WORKER_LEASE", LEASE)
                .env("CELERY_WORKER_KEY_PREFIX", self.prefix),
            Some(rabbit) => command
                .env("CELERY_RESULT_BACKEND", self.redis_url())
                .env("CELERY_WORKER_CREATE_QUEUES", rabbit.kind_name()),
        };
    }

    /// Starts a worker of Python Celery 5.7 with the tasks `proj.*`, on these queues. It sweeps
    /// every second, and a message that is held for `visibility_timeout` seconds counts as lost.
    pub fn python(&self, queues: &str, visibility_timeout: u32) -> Process {
        self.python_of("5.7", queues, visibility_timeout)
    }

    /// Like [`python`](Self::python), with another version of Celery.
    pub fn python_of(&self, version: &str, queues: &str, visibility_timeout: u32) -> Process {
        let python = root().join(format!(".venv/celery-{version}/bin/python"));
        assert!(
            python.exists(),
            "{} is not there: make setup",
            python.display()
        );
        let here = root().join("worker/tests/chaos");
        let tasks = root().join("php-tests/interop/python");
        let (broker, master) = without_master(&self.broker);
        let mut command = Command::new(python);
        command
            .args(["-m", "celery", "-A", "python_fleet", "worker", "-l", "info"])
            .args([
                "-P",
                "threads",
                "-c",
                "4",
                "-n",
                &format!("{}@%h", uuid::Uuid::new_v4()),
            ])
            .args(["-Q", queues, "--without-mingle", "--without-gossip"])
            .env(
                "PYTHONPATH",
                format!("{}:{}", here.display(), tasks.display()),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("REDIS_URL", without_master(&self.redis_url()).0)
            .env("BROKER_URL", broker)
            .env("MASTER_NAME", master)
            .env(
                "QUEUE_TYPE",
                self.rabbit.as_ref().map_or("", Rabbit::kind_name),
            )
            .env("KEY_PREFIX", self.prefix)
            .env("VISIBILITY_TIMEOUT", visibility_timeout.to_string());
        let mut process = Process::spawn_group("python worker", &mut command).unwrap();
        process.wait_for_line(PATIENCE, " ready.").unwrap();
        process
    }
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut worker = Self::spawn(command);
        worker.process.wait_for_line(PATIENCE, "ready.").unwrap();
        worker.files = open_files(&worker.process);
        worker
    }

    /// Starts a worker that may never be ready.
    pub fn spawn(command: &mut Command) -> Worker {
        Worker {
            process: Process::spawn("worker", command).unwrap(),
            files: None,
        }
    }

    /// Returns its resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.pid());
        let text = std::fs::read_to_string(status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap();
        kib * 1024
    }

    /// Ends the worker with a warm stop, and asserts that it leaked no files.
    pub fn stop(mut self) {
        if let (Some(before), Some(now)) = (self.files, open_files(&self.process)) {
            assert!(now <= before + FILES, "{before} open files became {now}");
        }
        self.process.terminate();
        let status = self.process.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
    }
}

/// Returns a command that runs `command` by another program, such as `ip netns exec NAME`.
pub fn through(starter: &[&str], command: &Command) -> Command {
    let mut other = Command::new(starter[0]);
    other.args(&starter[1..]).arg(command.get_program());
    other.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

/// Returns how many files a process has open; `None` if it has ended.
pub fn open_files(process: &Process) -> Option<usize> {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).ok()?;
    Some(files.count())
}

fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_celery-worker")).with_file_name("examples");
    let program = program.join(name);
    assert!(
        program.exists(),
        "{} is not there: cargo build -p celery-worker --examples",
        program.display()
    );
    program
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Splits an address into the part that Python reads, and the name of a Sentinel's master, which it
/// takes from its settings.
fn without_master(url: &str) -> (&str, &str) {
    url.split_once("?master_name=").unwrap_or((url, ""))
}

/// Formats a duration for people.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
