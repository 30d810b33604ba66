//! Reads the answers of scripts and commands.

use celery_client::aio::Value;

/// Converts positions as Lua counts them, from 1, to positions from 0.
pub(super) fn positions(value: Value) -> Option<Vec<usize>> {
    let Value::Array(items) = value else {
        return None;
    };
    items
        .iter()
        .map(|item| number(item)?.checked_sub(1))
        .collect()
}

pub(super) fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
