//! Finds and returns the messages in the held lists of workers that are gone.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_protocol::redis_keys::Keys;

use super::redis::{command, items, text};
use crate::broker::redis::{Header, header_of, only, return_call};
use crate::config::Config;

/// A held list whose owner is gone.
pub(super) struct Abandoned {
    key: String,
    instance: String,
    /// The last element of the list.
    raw: Vec<u8>,
    /// `None` if it cannot be read: another version has written it.
    header: Option<Header>,
    messages: usize,
    age: u64,
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, key) = (self.messages, self.key.escape_debug());
        match &self.header {
            Some(header) => {
                let (list, age) = (header.list.escape_debug(), self.age);
                let s = if count == 1 { "" } else { "s" };
                write!(f, "{count} message{s} of the list {list} wait in {key}, ")?;
                write!(f, "whose worker is gone since {age} s")
            }
            None => write!(f, "{key} is not a held list that this version can read"),
        }
    }
}

/// Returns the held lists whose owners have not emptied them for `lease`.
pub(super) async fn abandoned(
    connection: &mut Connection,
    keys: &Keys,
    lease: Duration,
) -> Result<Vec<Abandoned>, Failure> {
    let owners = command(&["SMEMBERS", &keys.held_owners()]);
    let owners = items(connection.query(&owners).await?);
    let mut found = Vec::new();
    for instance in owners.iter().map(text) {
        let key = keys.held(&instance);
        // The time is read before the header, so that no list looks older than it is.
        let now = seconds(connection.query(&command(&["TIME"])).await?);
        let Some(raw) = only(connection.query(&header_of(&key)).await?) else {
            continue;
        };
        let header = Header::read(&instance, &raw);
        if header
            .as_ref()
            .is_some_and(|it| !it.is_abandoned(now, lease))
        {
            continue;
        }
        let length = connection.query(&command(&["LLEN", &key])).await?;
        let messages = match length {
            Value::Int(length) => usize::try_from(length).unwrap_or(0).saturating_sub(1),
            _ => 0,
        };
        let since = header.as_ref().map_or(now, |header| header.time);
        found.push(Abandoned {
            key,
            instance,
            raw,
            header,
            messages,
            age: Duration::try_from_secs_f64(now - since)
                .unwrap_or_default()
                .as_secs(),
        });
    }
    Ok(found)
}

/// Puts back the messages of all held lists whose owners are gone, and returns their number.
///
/// A list may have several headers, and a call returns what belongs to one of them. This therefore
/// goes on until it has tried each header.
pub(super) async fn put_back(
    connection: &mut Connection,
    keys: &Keys,
    config: &Config,
) -> Result<usize, Failure> {
    let (mut count, mut tried) = (0, HashSet::new());
    loop {
        let mut found = abandoned(connection, keys, config.lease).await?;
        found.retain(|list| tried.insert((list.instance.clone(), list.raw.clone())));
        if found.is_empty() {
            return Ok(count);
        }
        for list in found {
            count += put_back_one(connection, keys, config, &list).await?;
        }
    }
}

async fn put_back_one(
    connection: &mut Connection,
    keys: &Keys,
    config: &Config,
    found: &Abandoned,
) -> Result<usize, Failure> {
    let Some(header) = &found.header else {
        eprintln!("celery-worker: {found}");
        return Ok(0);
    };
    let (owners, index, dead) = (keys.held_owners(), keys.unacked_index(), keys.dead());
    let call = return_call(
        [&found.key, &owners, &index, &dead],
        &found.instance,
        Some((&found.raw, header)),
        &config.hostname,
    );
    match connection.run(&scripts::RETURN_HELD, &call).await? {
        Value::Int(moved) => Ok(usize::try_from(moved).unwrap_or(0)),
        _ => Err(Failure::Answer("return_held")),
    }
}

fn seconds(time: Value) -> f64 {
    let parts: Vec<f64> = items(time)
        .iter()
        .filter_map(|part| text(part).parse().ok())
        .collect();
    match parts.as_slice() {
        [seconds, micros] => seconds + micros / 1e6,
        _ => 0.0,
    }
}
