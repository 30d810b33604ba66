//! A RabbitMQ of three nodes with quorum queues, of which one is killed again and again while PHP
//! posts and workers of both languages run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use celery_client::amqp::QueueType;
use celery_testkit::{Php, Process, RabbitMqOptions};

use crate::busy::SMALL;
use crate::programs::seconds;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The number of nodes.
const NODES: usize = 3;
/// The tasks that PHP posts while a node is killed and started again.
const POSTS: u32 = 600;
/// The pause between two looks for results.
const LOOK: Duration = Duration::from_millis(50);

/// A PHP that posts tasks.
struct Poster {
    process: Process,
    // PHP reads its settings from there.
    _php: Php,
}

impl Poster {
    /// Returns `None` if the extension was not built.
    fn start(broker: &str, first: u32, count: u32) -> Option<Self> {
        let extension = Php::built_extension().ok()?;
        let php = Php::new().unwrap();
        php.load(&extension).unwrap();
        let program = Php::program().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/poster.php");
        let mut command = Command::new(&program);
        command.arg(script).arg(broker);
        command.args([first.to_string(), count.to_string()]);
        command.env("PHP_INI_SCAN_DIR", php.scan_dir(&program).unwrap());
        let process = Process::spawn("php", &mut command).unwrap();
        Some(Self { process, _php: php })
    }

    /// Waits until all tasks are posted. Returns how many posts failed at first, and the longest time
    /// of a post with its repetitions.
    fn finish(mut self) -> (u32, f64) {
        let line = self.process.wait_for_line(PATIENCE, "posted failed=");
        let line = line.unwrap_or_else(|error| panic!("{error}: {}", self.process.log()));
        let status = self.process.wait(PATIENCE).unwrap();
        assert!(status.success(), "{}", self.process.log());
        let value = |name| {
            let (_, value) = line.split_once(name).unwrap();
            value.split_whitespace().next().unwrap().to_owned()
        };
        let slowest = value("slowest=").parse().unwrap();
        (value("failed=").parse().unwrap(), slowest)
    }
}

#[test]
fn a_killed_node_of_three_loses_nothing() {
    let times = by_scale(2, 10, 100);
    if Php::built_extension().is_err() {
        println!("skipped: the extension is not built");
        return;
    }
    let nodes = RabbitMqOptions::new().start_cluster(NODES).unwrap();
    let scenario = "RabbitMQ, quorum: a node of three killed";
    let mut world = World::on_nodes(scenario, QueueType::Quorum, nodes);
    // Each worker and PHP prefer another node.
    let all: Vec<String> = world.broker.split(';').map(str::to_owned).collect();
    let from = |first: usize| {
        let urls = all.iter().cycle().skip(first).take(NODES);
        urls.cloned().collect::<Vec<_>>().join(";")
    };
    let mut workers = Vec::new();
    for first in 0..2 {
        world.broker = from(first);
        workers.push(world.playground(&SMALL));
    }
    world.broker = from(2);
    let mut python = world.python("play", 3_600);
    let (mut failed, mut slowest) = (0, 0.0_f64);
    for turn in 0..times {
        let (first, count) = world.expect_posts(Kind::Sleep(0.002), POSTS);
        let poster = Poster::start(&from(turn % NODES), first, count).unwrap();
        let moment = Duration::from_millis(world.random.u64(100..1_500));
        world.wait_until_open(0, moment);
        let node = world.random.usize(0..NODES);
        world.rabbit().nodes[node].kill9();
        // The others go on meanwhile.
        let without = Duration::from_millis(world.random.u64(500..4_000));
        world.wait_until_open(0, without);
        let mut killed = world.rabbit().nodes.remove(node);
        let restarting = std::thread::spawn(move || {
            killed.restart().unwrap();
            killed
        });
        while !restarting.is_finished() {
            world.observe();
            std::thread::sleep(LOOK);
        }
        let restarted = restarting.join().unwrap();
        world.rabbit().nodes.insert(node, restarted);
        world.drain(&workers.iter().collect::<Vec<_>>());
        let (again, longest) = poster.finish();
        (failed, slowest) = (failed + again, slowest.max(longest));
    }
    world.note(format!(
        "posts from PHP that failed at first: {failed}, longest post {}",
        seconds(Duration::from_secs_f64(slowest))
    ));
    python.terminate();
    python.wait(PATIENCE).unwrap();
    world.finish(times, workers);
}
