//! Keeps a worker busy when a fault comes, and controls the length of the fault.

use std::time::Duration;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World};

/// A small worker: it holds few messages, so that some are always left in the queue.
pub const SMALL: [&str; 4] = ["-c", "10", "--prefetch-multiplier", "2"];

/// Like [`SMALL`], with a log that has what was received and done.
pub const LOGGING: [&str; 6] = ["-c", "10", "--prefetch-multiplier", "2", "-l", "info"];

/// Like [`SMALL`], with a log that has every failed attempt.
pub const CHATTY: [&str; 6] = ["-c", "10", "--prefetch-multiplier", "2", "-l", "debug"];

/// Starts a worker and gives it some work.
pub fn busy(world: &mut World) -> Vec<Worker> {
    let mut command = world.playground_command(&SMALL);
    let worker = Worker::start(&mut command);
    at_work(world);
    vec![worker]
}

/// Posts more tasks for running workers, and waits until they have done a part of them.
pub fn at_work(world: &mut World) {
    world.post(Kind::Noop, 300);
    world.post(Kind::Sleep(0.02), 200);
    world.work_a_little(Duration::from_millis(300));
}

/// Lets a fault last for this time. The sleep does not wait for an event: it is the length of the
/// fault.
pub fn last(world: &mut World, time: Duration) {
    world.fault = world.fault.max(time);
    std::thread::sleep(time);
}

/// Formats lengths of faults for the report.
pub fn seconds(lengths: &[f64]) -> String {
    let lengths: Vec<String> = lengths.iter().map(f64::to_string).collect();
    format!("{} s", lengths.join(", "))
}

/// Closes the workers' connections.
pub fn kill_clients(world: &mut World) {
    let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

/// Waits until the first worker logs a text after the first `said` bytes of its log.
pub fn says(workers: &mut [Worker], text: &str, said: usize) {
    let process = &mut workers[0].process;
    process.wait_for_line_after(PATIENCE, text, said).unwrap();
}
