//! Faults of the network between worker and RabbitMQ.

use celery_client::amqp::QueueType;
use celery_testkit::{Fault, Proxy, RabbitMq, RabbitMqOptions, RedisOptions, Wire};

use crate::busy::{SMALL, at_work};
use crate::network::{disturb, swallow_packets};
use crate::world::{World, by_scale};

on_both! {
    a_silent_link_is_given_up: "half-open link";
    a_resetting_network_is_waited_for: "RST";
}

/// Puts a faulty network between worker and RabbitMQ for a while, and then a healthy one.
fn on_a_faulty_way(mut world: World, fault: Fault, seconds: u64) -> Vec<RabbitMq> {
    let port = world.vhost().port();
    let proxy = Proxy::to_port(port).unwrap();
    let through = world
        .broker
        .replace(&port.to_string(), &proxy.port().to_string());
    world.broker = format!("{through}?heartbeat=2");
    let workers = vec![world.playground(&SMALL)];
    at_work(&mut world);
    disturb(&mut world, &proxy, fault, seconds, true);
    world.finish(1, workers).nodes
}

fn a_silent_link_is_given_up(world: World) -> Vec<RabbitMq> {
    on_a_faulty_way(world, Fault::Silence, by_scale(8, 20, 60))
}

fn a_resetting_network_is_waited_for(world: World) -> Vec<RabbitMq> {
    on_a_faulty_way(world, Fault::Reset, by_scale(2, 20, 60))
}

#[test]
fn swallowed_packets_are_an_outage() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return;
    }
    let wire = Wire::lay().unwrap();
    let near = wire.near();
    let nodes = vec![RabbitMqOptions::new().through(&near).start().unwrap()];
    let results = RedisOptions::new()
        .set("bind", Wire::ADDRESS)
        .set("protected-mode", "no")
        .through(&near);
    let scenario = "RabbitMQ, quorum: swallowed packets";
    let mut world = World::on_nodes(scenario, QueueType::Quorum, nodes, results);
    // The worker sees the servers at the near end of the wire.
    let far = |url: &str| url.replace("127.0.0.1", Wire::ADDRESS);
    world.broker = format!("{}?heartbeat=2", far(&world.broker));
    world.rabbit().results = far(&world.redis.url());
    swallow_packets(world, &wire);
}
