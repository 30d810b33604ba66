//! The blocking client of RabbitMQ against a real server.
//!
//! A node takes seconds to start. Tests share one, except for those that harm it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod announce;
mod connect;
mod dead_letters;
mod faults;
mod lists;
mod publish;
mod python;
mod receive;
mod replies;
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::blocking::{Client, ClientOptions, Post};
use celery_client::blocking::{NeverInterrupt, Wait};
use celery_protocol::amqp::Delivery;
use celery_protocol::message::{DecodeOptions, DeliveryInfo, EncodeOptions, Task};
use celery_testkit::{RabbitMq, RabbitMqOptions, VirtualHost};
use serde_json::value::RawValue;

/// Time for a call that should succeed, also on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Returns a virtual host of a node that other tests use, too.
fn shared() -> VirtualHost {
    RabbitMq::shared().unwrap()
}

/// Returns a node that the test may end, freeze or change.
fn node() -> RabbitMq {
    RabbitMq::start(RabbitMqOptions::new()).unwrap()
}

/// Returns a client that has time to connect on a busy machine.
fn client(url: &str) -> Client {
    with_options(url, |_| {})
}

fn with_options(url: &str, change: impl FnOnce(&mut ClientOptions)) -> Client {
    let endpoint = Arc::new(AmqpEndpoint::from_url(url).unwrap());
    let mut options = ClientOptions::default();
    options.connect_timeout = LONG;
    change(&mut options);
    Client::new(endpoint, options)
}

/// Runs a call with a deadline.
fn within<T>(time: Duration, call: impl FnOnce(&mut Wait<'_>) -> T) -> T {
    call(&mut Wait::new(time, &mut NeverInterrupt))
}

fn post(queue: &str, id: &str) -> Post {
    post_with(queue, id, "[2,3]")
}

fn post_with(queue: &str, id: &str, args: &str) -> Post {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new(id, "proj.add", raw(args), raw("{}"));
    let options = EncodeOptions::new(queue, "").origin("test@host");
    Post {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        queue: None,
        task_id: id.to_owned(),
        message: task.encode_amqp(&options).unwrap(),
    }
}

/// Returns the task of a delivery.
fn task(delivery: &Delivery) -> Task {
    let properties = delivery.content.properties().unwrap();
    let body = &delivery.content.body;
    let from = DeliveryInfo::default();
    let options = DecodeOptions::default();
    Task::decode_amqp(&properties, body, &from, delivery.redelivered, &options).unwrap()
}

/// Takes all messages out of a queue and returns the ids of their tasks.
fn drain(client: &mut Client, queue: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(delivery) = within(LONG, |wait| client.get(queue, wait)).unwrap() {
        ids.push(task(&delivery).id);
    }
    ids
}
