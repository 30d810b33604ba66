//! Faults of workers, connections and the server with RabbitMQ as the broker, on classic and on
//! quorum queues.
//!
//! RabbitMQ knows who holds a message, so that no lease has to end: what a dead worker held comes
//! back as soon as its connection is gone.

use std::time::{Duration, Instant};

use celery_client::amqp::QueueType;
use celery_testkit::{Fault, Proxy, wait_for};

use crate::busy::{SMALL, at_work, last, seconds};
use crate::programs::{Worker, seconds as spelled};
use crate::world::{Kind, PATIENCE, World, by_scale};

/// The number of kills after which workers may finish everything.
const EPISODE: usize = 10;

/// The tasks of a round with a database.
const LOAD: [(Kind, u32); 5] = [
    (Kind::Created, 60),
    (Kind::Effect, 40),
    (Kind::Once, 40),
    (Kind::Noop, 100),
    (Kind::Sleep(0.02), 40),
];

/// Makes a test of a scenario on each kind of queue.
macro_rules! on_both {
    ($($name:ident: $scenario:literal;)*) => {
        mod classic {
            $(#[test] fn $name() {
                super::$name(concat!("RabbitMQ, classic: ", $scenario), super::QueueType::Classic);
            })*
        }
        mod quorum {
            $(#[test] fn $name() {
                super::$name(concat!("RabbitMQ, quorum: ", $scenario), super::QueueType::Quorum);
            })*
        }
    };
}

on_both! {
    killed_workers_lose_nothing: "kill -9 under load";
    a_frozen_worker_does_nothing_twice: "SIGSTOP past the heartbeat, SIGCONT";
    closed_connections_lose_nothing: "connections closed";
    a_restart_loses_nothing: "restart";
    a_frozen_server_is_waited_for: "frozen";
    an_alarm_is_waited_for: "alarm, publishers blocked";
    messages_that_wait_too_long_come_again: "consumer_timeout";
    a_deleted_queue_is_created_again: "queue deleted, basic.cancel";
    a_silent_link_is_given_up: "half-open link";
    a_resetting_network_is_waited_for: "RST";
}

/// Starts a world with a database, a worker and a playground.
fn with_database(scenario: &'static str, kind: QueueType) -> (World, Vec<Worker>) {
    let world = World::on_rabbitmq(scenario, kind).with_database(&[]);
    let workers = vec![world.worker(&SMALL), world.playground(&SMALL)];
    (world, workers)
}

/// Starts a world and a playground, which is at work.
fn busy(scenario: &'static str, kind: QueueType) -> (World, Vec<Worker>) {
    let mut world = World::on_rabbitmq(scenario, kind);
    let workers = vec![world.playground(&SMALL)];
    at_work(&mut world);
    (world, workers)
}

/// Sends the tasks of a round, and lets the workers do some of them.
fn load(world: &mut World) {
    for (kind, count) in LOAD {
        world.post(kind, count);
    }
    world.work_a_little(Duration::from_millis(400));
}

fn killed_workers_lose_nothing(scenario: &'static str, kind: QueueType) {
    let kills = by_scale(10, 50, 500);
    let mut world = World::on_rabbitmq(scenario, kind).with_database(&[]);
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
            let workers = [world.worker(&more), world.playground(&more)];
            world.drain(&[&workers[0], &workers[1]]);
            workers.into_iter().for_each(Worker::stop);
        }
    }
    let workers = vec![world.worker(&more), world.playground(&more)];
    world.finish(killed, workers);
}

/// A worker that sleeps past two heartbeats has lost its messages, and wakes with tags that are no
/// longer valid.
fn a_frozen_worker_does_nothing_twice(scenario: &'static str, kind: QueueType) {
    let times = by_scale(1, 5, 20);
    let mut world = World::on_rabbitmq(scenario, kind).with_database(&[]);
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
        let connections = world.node().connections().unwrap();
        workers[0].process.pause();
        wait_for(PATIENCE, "the server to give a worker up", || {
            world.observe();
            world.node().connections().unwrap() < connections
        })
        .unwrap();
        // Half of the times, the other worker does its tasks before it wakes.
        if world.random.bool() {
            world.drain(&[]);
        }
        workers[0].process.resume();
        world.one_more_soon(Kind::Effect);
    }
    world.finish(times, workers);
}

fn closed_connections_lose_nothing(scenario: &'static str, kind: QueueType) {
    let times = by_scale(10, 50, 300);
    let (mut world, workers) = with_database(scenario, kind);
    for _ in 0..times {
        load(&mut world);
        world.node().close_connections().unwrap();
    }
    world.one_more_soon(Kind::Noop);
    world.finish(times, workers);
}

fn a_restart_loses_nothing(scenario: &'static str, kind: QueueType) {
    let times = by_scale(2, 10, 50);
    let (mut world, workers) = with_database(scenario, kind);
    let mut slowest = Duration::ZERO;
    for turn in 0..times {
        load(&mut world);
        // The first end is orderly. RabbitMQ 3.10 may never start a quorum queue again if its node is
        // killed a moment after the declaration.
        if turn % 2 == 0 {
            world.node().stop();
        } else {
            world.node().kill9();
        }
        let begun = Instant::now();
        world.node().restart().unwrap();
        slowest = slowest.max(begun.elapsed());
        world.one_more_soon(Kind::Noop);
    }
    world.fault = slowest;
    world.note(format!("slowest start of the server {}", spelled(slowest)));
    world.finish(times, workers);
}

fn a_frozen_server_is_waited_for(scenario: &'static str, kind: QueueType) {
    let lengths = by_scale(
        &[6.0][..],
        &[1.0, 5.0, 15.0],
        &[0.5, 1.0, 3.0, 10.0, 30.0, 60.0],
    );
    let mut world = World::on_rabbitmq(scenario, kind);
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
    world.finish(lengths.len(), workers);
}

/// While the alarm lasts, the server reads nothing from connections that publish. Tasks without
/// follow-ups still end, because they are acknowledged on another connection.
fn an_alarm_is_waited_for(scenario: &'static str, kind: QueueType) {
    let times = by_scale(1, 5, 20);
    let (mut world, workers) = busy(scenario, kind);
    for _ in 0..times {
        at_work(&mut world);
        // Each retry is a message that follows, and the alarm comes between two of them.
        world.post(Kind::Retrying, 20);
        world.node().alarm(true).unwrap();
        last(&mut world, Duration::from_secs(by_scale(2, 5, 10)));
        world.node().alarm(false).unwrap();
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers);
}

/// The server closes a channel on which a message was not acknowledged in time, although it only
/// waits in the worker.
fn messages_that_wait_too_long_come_again(scenario: &'static str, kind: QueueType) {
    let tasks = by_scale(12, 24, 60);
    let mut world = World::on_rabbitmq(scenario, kind);
    world
        .node()
        .eval(
            "application:set_env(rabbit, consumer_timeout, 2000), \
             application:set_env(rabbit, channel_tick_interval, 500)",
        )
        .unwrap();
    let workers = vec![world.playground(&["-c", "1", "--prefetch-multiplier", "50"])];
    world.post(Kind::Sleep(0.5), tasks);
    world.drain(&workers.iter().collect::<Vec<_>>());
    let log = world.node().log();
    let closed = log.matches("delivery acknowledgement on channel").count();
    assert!(closed > 0, "the server never closed a channel");
    world.one_more_soon(Kind::Noop);
    world.finish(closed, workers);
}

/// What is in a queue goes with it, so that it is deleted empty. The worker creates it again.
///
/// If another program creates a quorum queue within some milliseconds, RabbitMQ 3.10 sends no
/// `basic.cancel` in about one of three cases, and the consumer gets nothing from the new queue.
fn a_deleted_queue_is_created_again(scenario: &'static str, kind: QueueType) {
    let times = by_scale(3, 10, 50);
    let (mut world, workers) = busy(scenario, kind);
    for _ in 0..times {
        at_work(&mut world);
        world.drain(&workers.iter().collect::<Vec<_>>());
        world.rabbit().delete("play");
        wait_for(PATIENCE, "the worker to create the queue", || {
            let ready = world.node().ready_messages("/", "play");
            ready.is_ok_and(|ready| ready.is_some())
        })
        .unwrap();
        world.one_more_soon(Kind::Noop);
    }
    world.finish(times, workers);
}

/// Puts a faulty network between worker and RabbitMQ for a while, and then a healthy one.
fn on_a_faulty_way(scenario: &'static str, kind: QueueType, fault: Fault, seconds: u64) {
    let mut world = World::on_rabbitmq(scenario, kind);
    let port = world.node().port();
    let proxy = Proxy::to_port(port).unwrap();
    let through = world
        .broker
        .replace(&port.to_string(), &proxy.port().to_string());
    world.broker = format!("{through}?heartbeat=2");
    let workers = vec![world.playground(&SMALL)];
    at_work(&mut world);
    proxy.set(fault);
    if fault == Fault::Reset {
        proxy.reset_all();
    }
    world.post(Kind::Noop, 50);
    let connections = proxy.accepted();
    world.fault = Duration::from_secs(seconds);
    world.wait_until_open(0, world.fault);
    wait_for(PATIENCE, "a connection to be given up", || {
        proxy.accepted() > connections
    })
    .unwrap();
    proxy.set(Fault::None);
    world.one_more_soon(Kind::Noop);
    world.finish(1, workers);
}

fn a_silent_link_is_given_up(scenario: &'static str, kind: QueueType) {
    on_a_faulty_way(scenario, kind, Fault::Silence, by_scale(8, 20, 60));
}

fn a_resetting_network_is_waited_for(scenario: &'static str, kind: QueueType) {
    on_a_faulty_way(scenario, kind, Fault::Reset, by_scale(2, 20, 60));
}
