//! Requests of remote control while workers are killed and Redis restarts.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::control::{ReplyTo, Request};
use celery_testkit::wait_for;
use serde_json::json;

use crate::programs::Worker;
use crate::world::{Kind, PATIENCE, World, by_scale};

/// How many requests are sent at a time.
const AT_ONCE: usize = 12;

/// The node name of each worker, and the queue whose tasks it knows.
const NODES: [(&str, &str); 2] = [("table@chaos", "celery"), ("example@chaos", "play")];

fn start(world: &World, node: usize) -> Worker {
    let options = [
        "-c",
        "10",
        "--prefetch-multiplier",
        "2",
        "-n",
        NODES[node].0,
    ];
    if node == 0 {
        world.worker(&options)
    } else {
        world.playground(&options)
    }
}

#[test]
fn control_requests_during_faults_lose_nothing() {
    let times = by_scale(8, 40, 400);
    let mut world = World::new("control requests, kill -9, restarts").with_database(&[]);
    let mut workers = vec![start(&world, 0), start(&world, 1)];
    let mut heard = 0;
    for turn in 0..times {
        for (kind, count) in [
            (Kind::Created, 40),
            (Kind::Effect, 30),
            (Kind::Once, 30),
            (Kind::Noop, 60),
            (Kind::Sleep(0.02), 30),
        ] {
            world.post(kind, count);
            heard += disturb(&mut world);
        }
        world.work_a_little(Duration::from_millis(200));
        heard += disturb(&mut world);
        if turn % 4 == 3 {
            world.redis.kill9();
            world.restart_redis();
        } else {
            let node = turn % NODES.len();
            workers[node].process.kill9();
            workers[node] = start(&world, node);
        }
        heard += disturb(&mut world);
    }
    // The workers consume all queues again. A worker may lose a request, so it is sent until the
    // worker agrees.
    for (node, queue) in NODES {
        let add = Request::new("add_consumer")
            .argument("queue", queue)
            .to([node]);
        wait_for(PATIENCE, "a worker to consume its queue again", || {
            agrees(&mut world, &add)
        })
        .unwrap();
    }
    world.note(format!("{heard} requests heard"));
    world.finish(times, workers);
}

/// Sends requests that must not change what becomes of a task. Returns how many were heard.
fn disturb(world: &mut World) -> usize {
    let mut heard = 0;
    for _ in 0..AT_ONCE {
        let request = any_request(world);
        // No client listens there: the workers make the answer, and drop it.
        let request = request.reply_to(ReplyTo::new("no-client"), "ticket");
        heard += publish(world, &request);
    }
    heard
}

/// Sends a request to one worker. Returns `true` if the worker answers `ok` soon.
fn agrees(world: &mut World, request: &Request) -> bool {
    let keys = world.keys();
    let address = ReplyTo::new(format!("chaos-{}", world.random.u64(..)));
    let exchange = keys.binding(&address.exchange);
    world.ask::<u8>(&["SADD", &exchange, &address.binding_member(&keys)]);
    let request = request.clone().reply_to(address.clone(), "ticket");
    publish(world, &request);
    let answer: Option<(String, String)> = world.ask(&["BRPOP", &address.list(&keys), "2"]);
    world.ask::<u8>(&["SREM", &exchange, &address.binding_member(&keys)]);
    let Some((_, message)) = answer else {
        return false;
    };
    let envelope: serde_json::Value = serde_json::from_str(&message).unwrap();
    let body = STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
    String::from_utf8_lossy(&body).contains("\"ok\"")
}

fn any_request(world: &mut World) -> Request {
    let unused = format!("unused-{}", world.random.u32(..));
    let (node, queue) = NODES[world.random.usize(0..2)];
    let request = Request::new;
    match world.random.u8(0..16) {
        0 => request("active"),
        1 => request("reserved"),
        2 => request("scheduled"),
        3 => request("stats"),
        4 => request("query_task").argument("ids", json!([unused, "a1"])),
        5 => Request::revoke(&[&unused], false, "SIGTERM"),
        6 => Request::revoke(&[&unused, "unused"], true, "SIGKILL"),
        7 => request("revoke_by_stamped_headers").argument("headers", json!({"unused": [unused]})),
        8 => request("pool_grow").argument("n", 2),
        9 => request("pool_shrink").argument("n", 2),
        10 => request("cancel_consumer")
            .argument("queue", queue)
            .to([node]),
        11 | 12 => request("add_consumer").argument("queue", queue).to([node]),
        13 => request("rate_limit")
            .argument("task_name", "noop")
            .argument("rate_limit", ["200/s", "0"][world.random.usize(0..2)]),
        14 => request(["enable_events", "disable_events"][world.random.usize(0..2)]),
        _ => request("hello")
            .argument("from_node", "python@chaos")
            .argument("revoked", json!([unused])),
    }
}

/// Publishes a request. Returns how many workers hear it; none while Redis is away.
fn publish(world: &mut World, request: &Request) -> usize {
    let message = request.encode_redis("delivery-tag");
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("/0.celery.pidbox").arg(message);
    world.try_ask(&publish).unwrap_or(0)
}
