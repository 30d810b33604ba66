//! The lists in which the tasks of a queue wait: its own, and those of the groups of a fair queue.
//!
//! The arguments and answers of the scripts that count and delete these tasks, for both drivers.

use celery_protocol::redis_keys::{Keys, MOST_FAIR_GROUPS};
use redis::Value;

/// Returns the arguments of [`QUEUE_LISTS`](super::script::QUEUE_LISTS) after the queue's own lists.
pub fn lists_arguments(keys: &Keys, queue: &str) -> Vec<String> {
    let mut arguments = vec![keys.fair(queue), keys.fair_lists(queue)];
    arguments.extend(keys.step_suffixes());
    arguments
}

/// Returns the arguments of [`PURGE`](super::script::PURGE) after the queue's own lists.
pub fn purge_arguments(keys: &Keys, queue: &str) -> Vec<String> {
    let mut arguments = lists_arguments(keys, queue);
    arguments.insert(2, MOST_FAIR_GROUPS.to_string());
    arguments
}

/// Reads the answer of [`QUEUE_LISTS`](super::script::QUEUE_LISTS): the lists that have messages, and
/// their lengths.
pub fn read_lists(answer: &Value) -> Option<Vec<(Vec<u8>, u64)>> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let lists = parts.chunks(2).map(|part| match part {
        [Value::BulkString(list), Value::Int(length)] => {
            Some((list.clone(), u64::try_from(*length).ok()?))
        }
        _ => None,
    });
    lists.collect()
}
