//! A RabbitMQ of three nodes with quorum queues, of which one is killed again and again while PHP
//! posts and workers of both languages run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use celery_client::amqp::QueueType;
use celery_testkit::{Php, Process, RabbitMqOptions, RedisOptions, wait_for};

use crate::busy::LOGGING;
use crate::fleet::successes;
use crate::poster::{self, Poster};
use crate::programs::seconds;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The number of nodes.
const NODES: usize = 3;
/// The tasks that PHP posts while a node is killed and started again.
const POSTS: u32 = 600;
/// The pause between two looks for results.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until each of these workers has done a task that was posted after the loss of a node.
fn all_go_on(world: &mut World, workers: &[&Process]) {
    let mut waiting: Vec<(&Process, usize)> =
        workers.iter().map(|it| (*it, it.log_len())).collect();
    let mut posted = BTreeSet::new();
    let gone_on = wait_for(PATIENCE, "", || {
        posted.extend(world.post(Kind::Sleep(0.002), 20));
        world.wait_until_open(0, LOOK);
        waiting.retain(|(worker, said)| {
            let log = worker.log().split_off(*said);
            !successes(&[log]).keys().any(|id| posted.contains(id))
        });
        waiting.is_empty()
    });
    let logs: Vec<String> = waiting.iter().map(|(worker, _)| worker.log()).collect();
    assert!(
        gone_on.is_ok(),
        "did not go on without the node:\n{}",
        logs.join("\n")
    );
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
    let mut world = World::on_nodes(scenario, QueueType::Quorum, nodes, RedisOptions::new());
    // Each worker and PHP prefer another node.
    let all: Vec<String> = world.broker.split(';').map(str::to_owned).collect();
    let from = |first: usize| {
        let urls = all.iter().cycle().skip(first).take(NODES);
        urls.cloned().collect::<Vec<_>>().join(";")
    };
    let mut workers = Vec::new();
    for first in 0..2 {
        world.broker = from(first);
        workers.push(world.playground(&LOGGING));
    }
    world.broker = from(2);
    let mut python = world.python("play", 3_600);
    let (mut failed, mut post) = (0, 0.0_f64);
    let [mut without, mut start, mut sync] = [Duration::ZERO; 3];
    for turn in 0..times {
        // A queue with two members of three stops when one of these fails.
        let begun = Instant::now();
        world.rabbit().wait_for_members();
        sync = sync.max(begun.elapsed());
        let (first, count) = world.expect_posts(Kind::Sleep(0.002), POSTS);
        let poster = Poster::start(&from(turn % NODES), first, count, 0, poster::TIMEOUT).unwrap();
        let moment = Duration::from_millis(world.random.u64(100..1_500));
        world.wait_until_open(0, moment);
        let node = world.random.usize(0..NODES);
        world.rabbit().nodes[node].kill9();
        let begun = Instant::now();
        let all = [&python, &workers[0].process, &workers[1].process];
        all_go_on(&mut world, &all);
        without = without.max(begun.elapsed());
        let mut killed = world.rabbit().nodes.remove(node);
        let restarting = std::thread::spawn(move || {
            let begun = Instant::now();
            killed.restart().unwrap();
            (killed, begun.elapsed())
        });
        while !restarting.is_finished() {
            world.observe();
            std::thread::sleep(LOOK);
        }
        let (restarted, took) = restarting.join().unwrap();
        start = start.max(took);
        world.rabbit().nodes.insert(node, restarted);
        let (again, longest) = poster.finish();
        world.drain(&workers.iter().collect::<Vec<_>>());
        (failed, post) = (failed + again, post.max(longest));
        println!(
            "{} of {times} kills: {again} posts failed at first, the node started in {took:?}",
            turn + 1
        );
    }
    world.note(format!(
        "posts from PHP that failed at first: {failed}, longest post {}; each worker went on after {}; \
         slowest start of a node {}, longest wait for its queues {}",
        seconds(Duration::from_secs_f64(post)),
        seconds(without),
        seconds(start),
        seconds(sync)
    ));
    assert_eq!(python.exit_status(), None, "{}", python.log());
    python.terminate();
    python.wait(PATIENCE).unwrap();
    let theirs = successes(&[python.log()]).len();
    let ours: Vec<String> = workers.iter().map(|it| it.process.log()).collect();
    let ours = successes(&ours).len();
    assert!(theirs > 0 && ours > 0, "Python did {theirs}, Rust {ours}");
    world.note(format!("Python did {theirs}, Rust {ours}"));
    world.finish(times, workers);
}
