//! The workers, and a Python program that asks them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use celery_testkit::{Process, wait_for};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::broker::Broker;

pub const PATIENCE: Duration = Duration::from_mins(2);

/// The node name of the worker here.
pub const OURS: &str = "rust@test";
/// The node name of the Python worker.
pub const PYTHON: &str = "python@test";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns a command of the Python that has Celery 5.7. Prints why there is none.
pub fn python(broker: &impl Broker) -> Option<Command> {
    python_of(broker, "celery-5.7")
}

/// Returns a command of the Python of this environment. Prints why there is none.
pub fn python_of(broker: &impl Broker, environment: &str) -> Option<Command> {
    let program = root().join(format!(".venv/{environment}/bin/python"));
    if !program.exists() {
        println!("skipped: {} is missing (scripts/setup)", program.display());
        return None;
    }
    let mut command = Command::new(std::path::absolute(program).unwrap());
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control"))
        .env("BROKER_URL", broker.address())
        .env("RESULT_URL", broker.results().url())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// Returns the command of the playground, the example worker, with these options.
pub fn playground(broker: &impl Broker, more: &[&str]) -> Command {
    playground_named(broker, OURS, more)
}

/// Returns the command of a playground with this node name.
pub fn playground_named(broker: &impl Broker, name: &str, more: &[&str]) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    let program = folder.unwrap().join("examples/playground");
    let mut command = Command::new(&program);
    broker.serve(&mut command);
    command.args(["-n", name, "-l", "debug"]);
    command.args(more);
    command
}

/// Starts a worker and waits until it hears requests.
pub fn start(command: &mut Command) -> Process {
    let mut worker = Process::spawn("playground", command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker
        .wait_for_line(PATIENCE, "Remote control listens")
        .unwrap();
    worker
}

/// Starts a worker of Celery 5.7 with one process, and waits until it hears requests. On Redis it says
/// "ready" a moment before kombu subscribes to a pattern. Workers listen to events of others, too, so
/// this function counts the listeners.
pub fn start_python(broker: &impl Broker, queue: &str) -> Option<Process> {
    start_python_with(broker, queue, &[])
}

/// Starts a worker of Celery 5.7 like [`start_python`], with these variables.
pub fn start_python_with(
    broker: &impl Broker,
    queue: &str,
    variables: &[(&str, &str)],
) -> Option<Process> {
    let before = broker.listeners();
    let mut command = python(broker)?;
    command.args([
        "-m", "celery", "-A", "proj", "worker", "-c", "1", "-l", "info",
    ]);
    command.args(["-n", PYTHON, "-Q", queue]);
    command.envs(variables.iter().copied());
    let mut worker = Process::spawn("python", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, " ready.").unwrap();
    wait_for(PATIENCE, "the subscription of Python's worker", || {
        broker.listeners() != before
    })
    .unwrap();
    Some(worker)
}

/// Posts a task.
pub fn post(broker: &impl Broker, queue: &str, id: &str, name: &str, args: &str) {
    post_with(broker, queue, id, name, args, |_| {});
}

/// Posts a task after a change to its message.
pub fn post_with(
    broker: &impl Broker,
    queue: &str,
    id: &str,
    name: &str,
    args: &str,
    change: impl FnOnce(&mut Task),
) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let mut task = Task::new(id, name, raw(args), raw("{}"));
    change(&mut task);
    broker.push(queue, &task);
}

/// Returns the time in an hour.
pub fn in_an_hour() -> Timestamp {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let then = now + Duration::from_hours(1);
    Timestamp::from_unix_micros(then.as_micros().try_into().unwrap())
}

/// A Python program that sends requests with Celery's client.
pub struct Asking {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asking {
    pub fn start(broker: &impl Broker) -> Option<Self> {
        let mut command = python(broker)?;
        command
            .arg("proj.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Some(Asking {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    /// Sends a request and returns the answers by node.
    pub fn send(&mut self, request: &Value) -> Map<String, Value> {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Asks one worker and returns its answer.
    pub fn ask(&mut self, node: &str, method: &str, arguments: Value) -> Value {
        let request = json!({"method": method, "arguments": arguments, "destination": [node]});
        let mut answers = self.send(&request);
        answers
            .remove(node)
            .unwrap_or_else(|| panic!("{node} does not answer {method}"))
    }

    /// Asks one worker until its answer is as wanted.
    pub fn wait_for(&mut self, node: &str, method: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut answer = Value::Null;
        let result = wait_for(PATIENCE, &format!("{node}: {method}"), || {
            answer = self.ask(node, method, json!({}));
            wanted(&answer)
        });
        result.unwrap_or_else(|error| panic!("{error}: {answer}"));
        answer
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
