//! A worker in the midst of its work, in which a fault comes, and the fault's length.

use std::time::Duration;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World};

/// What is held is little, so that there is always something left in the queue.
pub const SMALL: [&str; 4] = ["-c", "10", "--prefetch-multiplier", "2"];

/// The same, with a log that has every failed try.
pub const CHATTY: [&str; 6] = ["-c", "10", "--prefetch-multiplier", "2", "-l", "debug"];

/// A worker with a little to do.
pub fn busy(world: &mut World) -> Vec<Worker> {
    let mut command = world.playground_command(&SMALL);
    let worker = Worker::start(&mut command);
    at_work(world);
    vec![worker]
}

/// More for workers that run, of which they have done a part.
pub fn at_work(world: &mut World) {
    world.post(Kind::Noop, 300);
    world.post(Kind::Sleep(0.02), 200);
    world.work_a_little(Duration::from_millis(300));
}

/// Lets a fault last. Nothing is waited for: this is its length.
pub fn last(world: &mut World, time: Duration) {
    world.fault = world.fault.max(time);
    std::thread::sleep(time);
}

/// Such lengths, for the report.
pub fn seconds(lengths: &[f64]) -> String {
    let lengths: Vec<String> = lengths.iter().map(f64::to_string).collect();
    format!("{} s", lengths.join(", "))
}

/// Closes the workers' connections.
pub fn kill_clients(world: &mut World) {
    let _killed: u64 = world.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

/// Waits until a worker says so, later than the first `said` bytes of its log.
pub fn says(workers: &mut [Worker], text: &str, said: usize) {
    let process = &mut workers[0].process;
    process.wait_for_line_after(PATIENCE, text, said).unwrap();
}
