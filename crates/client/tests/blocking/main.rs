//! Tests of the blocking driver with real servers, and with scripted ones that break the protocol.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod announce;
mod batch;
mod chords;
mod circuit;
mod cluster;
mod connect;
mod control;
mod dead_letters;
mod deletions;
mod events;
mod faults;
mod hostile;
mod pipeline;
mod publish;
mod queues;
mod replicas;
mod results;
mod schedules;
mod scripted;
mod sentinel;
mod spin;
mod tls;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::blocking::{NeverInterrupt, Wait};
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Post, Publish};
use celery_testkit::{Redis, RedisOptions, wait_for};

/// Far more time than any call here needs.
const PLENTY: Duration = Duration::from_secs(20);
/// A deadline that a call reaches after some tries. A busy machine can make the first try within it.
const SOME_TRIES: Duration = Duration::from_millis(1500);
/// The time by which a call may exceed its deadline on a busy machine before it counts as a hang.
const SLACK: Duration = Duration::from_secs(10);
/// The longest time for a failover on a busy machine.
const FAILOVER: Duration = Duration::from_mins(1);

fn redis() -> Redis {
    Redis::start(RedisOptions::new()).unwrap()
}

/// Starts a server like those before Redis 6, which speaks only RESP2.
fn old_redis() -> Redis {
    RedisOptions::new()
        .without_command("HELLO")
        .start()
        .unwrap()
}

/// Posts until a post succeeds.
fn post_again(client: &mut Client, id: &str) {
    wait_for(FAILOVER, "a post after the failover", || {
        within(PLENTY, |wait| {
            client.publish(&post(id), Publish::Once, wait)
        })
        .is_ok()
    })
    .unwrap();
}

fn client_of(url: &str) -> Client {
    client_with(url, ClientOptions::default())
}

fn client_with(url: &str, options: ClientOptions) -> Client {
    Client::new(Arc::new(RedisEndpoint::from_url(url).unwrap()), options)
}

fn client(redis: &Redis) -> Client {
    client_of(&redis.url())
}

fn post(id: &str) -> Post {
    Post {
        queue: "q".into(),
        priority: 0,
        task_id: id.into(),
        envelope: format!("{{\"{id}\":1}}").into_bytes(),
    }
}

fn posts(count: usize) -> Vec<Post> {
    (0..count).map(|nth| post(&format!("t{nth}"))).collect()
}

/// Makes a call with plenty of time.
fn at_leisure<T>(call: impl FnOnce(&mut Wait<'_>) -> T) -> T {
    call(&mut Wait::new(PLENTY, &mut NeverInterrupt))
}

/// Makes a call and checks that it ends near its deadline at the latest.
fn within<T>(limit: Duration, call: impl FnOnce(&mut Wait<'_>) -> T) -> T {
    let begin = Instant::now();
    let result = call(&mut Wait::new(limit, &mut NeverInterrupt));
    let took = begin.elapsed();
    println!(
        "a deadline of {limit:?} was exceeded by {:?}",
        took.saturating_sub(limit)
    );
    assert!(took < limit + SLACK, "{took:?} for a deadline of {limit:?}");
    result
}

/// Returns the tasks in a list, in the order of posting.
fn queued(redis: &Redis, list: &str) -> Vec<String> {
    let text = redis.cli(&["LRANGE", list, "0", "-1"]).unwrap();
    text.lines()
        .filter(|line| !line.is_empty())
        .rev()
        .map(|line| line.replace(['{', '}', '"'], "").replace(":1", ""))
        .collect()
}

fn cli(redis: &Redis, command: &[&str]) -> String {
    redis.cli(command).unwrap().trim().to_owned()
}

/// Returns how often clients and scripts called a command.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = cli(redis, &["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|rest| rest.split(',').next()?.parse().ok())
        .unwrap_or(0)
}
