//! Helpers for the few commands that the command line sends to Redis itself.

use celery_client::aio::{Cmd, ConnectOptions, Connection, Failure, Value};
use celery_client::redis::RedisEndpoint;

/// Opens a connection for one command of the command line.
pub(crate) async fn connect(endpoint: &RedisEndpoint) -> Result<Connection, Failure> {
    Connection::open(endpoint, &ConnectOptions::new("celery-worker/cli")).await
}

/// Returns a command of these words.
pub(crate) fn command<S: AsRef<str>>(words: &[S]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word.as_ref());
    }
    command
}

/// Returns the text of an answer, or an empty text if it has none. Bytes that are not UTF-8 are
/// replaced.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Returns the bytes of an answer, or none if it has none.
pub(crate) fn raw(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        other => text(&other).into_bytes(),
    }
}

/// Returns the elements of a list, or the keys and values of a map in turn.
pub(crate) fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(key, value)| [key, value])
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns a text as a pattern of Redis that matches only this text.
pub(crate) fn escaped(text: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if special(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
