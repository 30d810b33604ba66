//! Reads the answers of scripts and commands.

use celery_client::aio::{Failure, Value};

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

/// Returns the answers of commands that read; `None` for a key that cannot be read, such as a list.
///
/// # Errors
///
/// A refusal that passes by itself, such as that of a server which is busy or loads its data. It says
/// nothing about the key.
pub(super) fn readable(
    answers: Vec<Result<Value, Failure>>,
) -> Result<Vec<Option<Value>>, Failure> {
    let answers = answers.into_iter().map(|answer| match answer {
        Err(failure) if !failure.is_lasting() => Err(failure),
        answer => Ok(answer.ok()),
    });
    answers.collect()
}
