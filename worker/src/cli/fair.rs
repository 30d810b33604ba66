//! `celery-worker fair list|return`: shows the lists of fair queues, and moves the messages of groups
//! back to the lists of their queues, for workers that know no groups.

use std::process::ExitCode;

use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_client::mask::mask_misplaced;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::waiting::{lists_arguments, read_lists};
use celery_protocol::redis_keys::{Keys, MOST_FAIR_GROUPS};

use super::ended::ended;
use super::options::Fair;
use super::redis::{connect, items};
use crate::config::Config;
use crate::printable::one_line;

/// The most messages that one call moves. Redis does nothing else meanwhile: that takes a few
/// milliseconds.
const BATCH: u64 = 1000;

/// Runs the subcommand. Returns exit code 1 if Redis could not be reached or messages stayed in
/// groups.
pub(super) async fn run(config: &Config, redis: &RedisEndpoint, command: Fair) -> ExitCode {
    ended(config, obey(redis, command).await)
}

async fn obey(redis: &RedisEndpoint, command: Fair) -> Result<bool, Failure> {
    let (mut connection, keys) = (connect(redis).await?, redis.keys());
    let mut good = true;
    match command {
        Fair::List { queues } => {
            for queue in &queues {
                list(&mut connection, &keys, queue).await?;
            }
        }
        Fair::Return { queues } => {
            for queue in &queues {
                good &= put_back(&mut connection, &keys, queue).await?;
            }
        }
    }
    Ok(good)
}

/// Prints the lists of a queue that have messages, each after its length.
async fn list(connection: &mut Connection, keys: &Keys, queue: &str) -> Result<(), Failure> {
    let lists = keys.queue_lists(queue);
    let mut call = scripts::call(&scripts::QUEUE_LISTS, lists.len(), 3 * lists.len(), 256);
    call.arg(&lists).arg(lists_arguments(keys, queue));
    let answer = connection.run(&scripts::QUEUE_LISTS, &call).await?;
    for (list, length) in read_lists(&answer).ok_or(Failure::Answer("queue_lists"))? {
        println!("{length:>8}  {}", one_line(&String::from_utf8_lossy(&list)));
    }
    Ok(())
}

/// Moves the messages of all groups back. Returns `false` if a worker goes on to sort them.
async fn put_back(connection: &mut Connection, keys: &Keys, queue: &str) -> Result<bool, Failure> {
    let lists = keys.queue_lists(queue);
    let mut call = scripts::call(
        &scripts::FAIR_RETURN,
        1 + lists.len(),
        4 + 2 * lists.len(),
        256,
    );
    call.arg(keys.fair(queue)).arg(&lists);
    call.arg(keys.fair_lists(queue)).arg(MOST_FAIR_GROUPS);
    call.arg(BATCH).arg(keys.step_suffixes());
    let (mut all, mut bound) = (0, None);
    let left = loop {
        let answer = items(connection.run(&scripts::FAIR_RETURN, &call).await?);
        let [Value::Int(moved), Value::Int(left)] = *answer else {
            return Err(Failure::Answer("fair_return"));
        };
        let (moved, left) = (moved.unsigned_abs(), left.unsigned_abs());
        all += moved;
        // A worker that sorts would move them again without end.
        if left == 0 || moved == 0 || all >= *bound.get_or_insert(moved + left) {
            break left;
        }
    };
    let name = mask_misplaced(queue);
    let name = one_line(&name);
    println!("{name}: {all} put back");
    if left > 0 {
        eprintln!(
            "celery-worker: {left} messages of {name} are in groups again, because a worker sorts \
             them: remove the queue from --fair-queues of all workers, and call this again"
        );
    }
    Ok(left == 0)
}
