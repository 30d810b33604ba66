//! Faults of workers, connections and the server with RabbitMQ as the broker, on classic and on
//! quorum queues.
//!
//! RabbitMQ knows who holds a message, so that no lease has to end: what a dead worker held comes
//! back as soon as its connection is gone.

use std::time::{Duration, Instant};

use celery_client::amqp::QueueType;
use celery_testkit::{Process, RabbitMq, RabbitMqOptions, RedisOptions, wait_for};

use crate::busy::{SMALL, at_work, last, seconds};
use crate::kills::kill_until_suspect;
use crate::process::stopped_under_load;
use crate::programs::{Worker, seconds as spelled};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// Makes a test of each scenario, which runs it on classic and then on quorum queues of one node. With
/// `alone`, no other test uses the node.
macro_rules! on_both {
    ($($name:ident: $scenario:literal $($alone:ident)?;)*) => {
        mod on_both {
            $(#[test] fn $name() {
                $crate::rabbitmq::on_both(
                    concat!("RabbitMQ, classic: ", $scenario),
                    concat!("RabbitMQ, quorum: ", $scenario),
                    super::$name,
                    vec![$($crate::rabbitmq::$alone())?],
                );
            })*
        }
    };
}

mod cluster;
mod eta;
mod fleet;
mod network;
#[cfg(feature = "failpoints")]
mod steps;

/// The number of kills after which workers may finish everything.
const EPISODE: usize = 10;

/// The tasks of a round with a database.
const LOAD: [(Kind, u32); 6] = [
    (Kind::Retrying, 10),
    (Kind::Created, 60),
    (Kind::Effect, 40),
    (Kind::Once, 40),
    (Kind::Noop, 100),
    (Kind::Sleep(0.02), 40),
];

on_both! {
    killed_workers_lose_nothing: "kill -9 under load";
    poison_messages_become_dead_letters: "kill -9 until suspect";
    a_warm_stop_gives_everything_back: "warm stop under load";
    a_cold_stop_gives_everything_back: "cold stop under load";
    a_frozen_worker_does_nothing_twice: "SIGSTOP past the heartbeat, SIGCONT";
    closed_connections_lose_nothing: "connections closed";
    a_restart_loses_nothing: "restart" alone;
    a_frozen_server_is_waited_for: "frozen" alone;
    an_alarm_is_waited_for: "alarm, publishers blocked" alone;
    messages_that_wait_too_long_come_again: "consumer_timeout" alone;
    a_deleted_queue_is_created_again: "queue deleted, basic.cancel";
}

/// Starts a node.
fn alone() -> RabbitMq {
    RabbitMqOptions::new().start().unwrap()
}

/// Runs a scenario in two worlds, which have virtual hosts of their own on one node. It returns the
/// nodes of its world.
fn on_both(
    classic: &'static str,
    quorum: &'static str,
    scenario: fn(World) -> Vec<RabbitMq>,
    mut nodes: Vec<RabbitMq>,
) {
    for (name, kind) in [(classic, QueueType::Classic), (quorum, QueueType::Quorum)] {
        let world = World::on_nodes(name, kind, nodes, RedisOptions::new());
        nodes = scenario(world);
    }
}

/// Adds a database, and starts a worker and a playground.
fn with_database(world: World) -> (World, Vec<Worker>) {
    let world = world.with_database(&[]);
    let workers = vec![world.worker(&SMALL), world.playground(&SMALL)];
    (world, workers)
}

/// Sends the tasks of a round, and lets the workers do some of them.
fn load(world: &mut World) {
    for (kind, count) in LOAD {
        world.post(kind, count);
    }
    world.work_a_little(Duration::from_millis(400));
}

fn killed_workers_lose_nothing(world: World) -> Vec<RabbitMq> {
    let kills = by_scale(10, 50, 500);
    let mut world = world.with_database(&[]);
    let more = ["-c", "4", "--prefetch-multiplier", "10"];
    let mut killed = 0;
    while killed < kills {
        world.exactly_once = (killed / EPISODE) % 2 == 1;
        // One worker in eight may be killed before it is ready.
        let start = |command: &mut _, early| {
            if early {
                Worker::spawn(command)
            } else {
                Worker::start(command)
            }
        };
        let early = world.random.u8(0..8) == 0;
        let mut pair = [
            start(&mut world.worker_command(&more), early),
            start(&mut world.playground_command(&more), early),
        ];
        world.random.shuffle(&mut pair);
        load(&mut world);
        for worker in &mut pair {
            let moment = Duration::from_millis(world.random.u64(0..200));
            world.wait_until_open(0, moment);
            worker.process.kill9();
            killed += 1;
        }
        world.invariant(&format!("after {killed} kills"));
        if killed % EPISODE == 0 && killed < kills {
            world.finish_episode(&more);
        }
    }
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.finish(killed, workers).nodes
}

/// Messages whose tasks kill their workers become dead letters, and those that only wait beside them do
/// not. Few of these may be counted, which were published anew for their start and then waited.
fn poison_messages_become_dead_letters(mut world: World) -> Vec<RabbitMq> {
    let times = by_scale(1, 3, 10);
    let more = ["-c", "5", "-l", "debug"];
    let (mut kills, mut waited, mut counted) = (0, 0, 0);
    for _ in 0..times {
        let ids = world.post(Kind::Sleep(5.0), 5);
        let others = world.post(Kind::Noop, 20);
        kills += kill_until_suspect(&mut world, &ids, &more);
        let worker = world.playground(&more);
        world.drain(&[&worker]);
        assert!(ids.iter().all(|id| world.was_replayed(id)), "{ids:?}");
        waited += others.len();
        counted += others.iter().filter(|id| world.was_replayed(id)).count();
        worker.stop();
    }
    assert!(counted * 10 <= waited, "{counted} of {waited} were counted");
    world.note(format!(
        "{counted} of {waited} that waited beside them, too"
    ));
    world.finish(kills, vec![]).nodes
}

fn a_warm_stop_gives_everything_back(world: World) -> Vec<RabbitMq> {
    stopped_under_load(world, Process::terminate, 0).nodes
}

fn a_cold_stop_gives_everything_back(world: World) -> Vec<RabbitMq> {
    stopped_under_load(world, Process::quit, 1).nodes
}

/// A worker that sleeps past two heartbeats has lost its messages, and wakes with tags that are no
/// longer valid.
fn a_frozen_worker_does_nothing_twice(world: World) -> Vec<RabbitMq> {
    let times = by_scale(1, 5, 20);
    let mut world = world.with_database(&[]);
    // The server gives a silent client up after two intervals.
    world.broker = format!("{}?heartbeat=1", world.broker);
    world.fault = Duration::from_secs(5);
    let workers = vec![
        world.worker(&SMALL),
        world.worker(&SMALL),
        world.playground(&SMALL),
    ];
    for _ in 0..times {
        load(&mut world);
        let connections = world.vhost().connections().unwrap();
        workers[0].process.pause();
        wait_for(PATIENCE, "the server to give a worker up", || {
            world.observe();
            world.vhost().connections().unwrap() < connections
        })
        .unwrap();
        // Half of the times, the other worker does its tasks before it wakes.
        if world.random.bool() {
            world.drain(&[]);
        }
        workers[0].process.resume();
        world.one_more_soon(Kind::Effect);
    }
    world.finish(times, workers).nodes
}

fn closed_connections_lose_nothing(world: World) -> Vec<RabbitMq> {
    let times = by_scale(10, 50, 300);
    let (mut world, workers) = with_database(world);
    for _ in 0..times {
        load(&mut world);
        world.vhost().close_connections().unwrap();
    }
    world.one_more_soon(Kind::Noop);
    world.finish(times, workers).nodes
}

fn a_restart_loses_nothing(world: World) -> Vec<RabbitMq> {
    let times = by_scale(2, 10, 100);
    let (mut world, workers) = with_database(world);
    let (mut end, mut start) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..times {
        load(&mut world);
        let begun = Instant::now();
        // The first end is orderly. RabbitMQ 3.10 may never start a quorum queue again if its node is
        // killed a moment after the declaration.
        if turn % 2 == 0 {
            world.node().stop();
        } else {
            world.node().kill9();
        }
        end = end.max(begun.elapsed());
        let begun = Instant::now();
        world.node().restart().unwrap();
        start = start.max(begun.elapsed());
        world.one_more_soon(Kind::Noop);
    }
    world.fault = end + start;
    world.note(format!(
        "slowest end of the server {}, slowest start {}",
        spelled(end),
        spelled(start)
    ));
    world.finish(times, workers).nodes
}

fn a_frozen_server_is_waited_for(mut world: World) -> Vec<RabbitMq> {
    let lengths = by_scale(
        &[6.0][..],
        &[1.0, 5.0, 15.0],
        &[0.5, 1.0, 3.0, 10.0, 30.0, 60.0],
    );
    world.broker = format!("{}?heartbeat=2", world.broker);
    let workers = vec![world.playground(&SMALL)];
    for seconds in lengths {
        at_work(&mut world);
        world.node().pause();
        last(&mut world, Duration::from_secs_f64(*seconds));
        world.node().resume();
        world.one_more_soon(Kind::Noop);
    }
    world.note(format!("away {}", seconds(lengths)));
    world.finish(lengths.len(), workers).nodes
}

/// While an alarm of memory or of the disk lasts, the server reads nothing from connections that
/// publish. A worker that must publish a retry then waits, and ends nothing else meanwhile.
fn an_alarm_is_waited_for(mut world: World) -> Vec<RabbitMq> {
    let times = by_scale(2, 6, 20);
    let workers = vec![world.playground(&SMALL)];
    at_work(&mut world);
    for turn in 0..times {
        at_work(&mut world);
        // A retry is a message that follows. The tasks before it take longer than the start of the alarm.
        world.post(Kind::Sleep(0.1), 100);
        world.post(Kind::Retrying, 20);
        let alarm = if turn % 2 == 0 {
            RabbitMq::alarm
        } else {
            RabbitMq::disk_alarm
        };
        alarm(world.node(), true).unwrap();
        wait_for(PATIENCE, "the server to block a publisher", || {
            world.observe();
            world.vhost().blocked_connections().is_ok_and(|it| it > 0)
        })
        .unwrap();
        last(&mut world, Duration::from_secs(by_scale(2, 5, 10)));
        alarm(world.node(), false).unwrap();
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers).nodes
}

/// The server closes a channel on which a message was not acknowledged in time, although it only
/// waits in the worker.
fn messages_that_wait_too_long_come_again(mut world: World) -> Vec<RabbitMq> {
    let tasks = by_scale(12, 24, 60);
    world
        .node()
        .eval(
            "application:set_env(rabbit, consumer_timeout, 2000), \
             application:set_env(rabbit, channel_tick_interval, 500)",
        )
        .unwrap();
    let said = world.node().log().len();
    let workers = vec![world.playground(&["-c", "1", "--prefetch-multiplier", "50"])];
    world.post(Kind::Sleep(0.5), tasks);
    world.drain(&workers.iter().collect::<Vec<_>>());
    let log = world.node().log().split_off(said);
    let closed = log.matches("delivery acknowledgement on channel").count();
    assert!(closed > 0, "the server never closed a channel");
    world.one_more_soon(Kind::Noop);
    world.finish(closed, workers).nodes
}

/// What is in a queue goes with it, so that it is deleted empty. The worker creates it again.
///
/// If another program creates a quorum queue within some milliseconds, RabbitMQ 3.10 sends no
/// `basic.cancel` in about one of three cases, and the consumer gets nothing from the new queue.
fn a_deleted_queue_is_created_again(mut world: World) -> Vec<RabbitMq> {
    let times = by_scale(3, 10, 50);
    let workers = vec![world.playground(&SMALL)];
    at_work(&mut world);
    for _ in 0..times {
        at_work(&mut world);
        world.drain(&workers.iter().collect::<Vec<_>>());
        world.rabbit().delete("play");
        wait_for(PATIENCE, "the worker to create the queue", || {
            world.rabbit().has_queue("play")
        })
        .unwrap();
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers).nodes
}
