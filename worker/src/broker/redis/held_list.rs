//! The held list of a worker: the list that messages are in while they are claimed by native
//! commands.
//!
//! The first element that comes into the list, and so the last one of the list, is its [`Header`].
//! The set of owners has an instance exactly while its held list exists. Nothing in a held list has
//! been started, so a worker that finds one that was left behind returns its messages unchanged.

use std::time::Duration;

use celery_client::aio::{Cmd, Failure, Pipeline, Value, scripts};

use super::answer::{bytes, number};
use super::layout::{Layout, TAG_PREFIX};
use super::session::{DEAD_LETTERS, Session};
use crate::failpoint::failpoint;

/// The most held lists that one sweep looks at: more than a fleet has workers. Later sweeps take
/// those that are left.
const MOST_OWNERS: usize = 1_000;

/// What a held list says about the claim that made it.
#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    /// Redis's time just before the claim, in Unix seconds.
    pub(crate) time: f64,
    /// The list from which the messages came.
    pub(crate) list: String,
}

impl Header {
    /// Returns the text of a header. Its beginning cannot be part of a message by chance or by
    /// intent, because the instance is random.
    pub(super) fn text(layout: &Layout, call: u64, time: &str, list: &str) -> String {
        format!("{}{time}:{list}", layout.base(call))
    }

    /// Reads the header of this instance.
    pub(crate) fn read(instance: &str, raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        let rest = text.strip_prefix(&beginning(instance))?;
        let mut parts = rest.splitn(3, ':');
        let _call: u64 = parts.next()?.parse().ok()?;
        let time = parts.next()?.parse().ok()?;
        let list = parts.next()?.to_owned();
        Some(Header { time, list })
    }

    /// Returns `true` if the owner of this header counts as gone at Redis's time `now`.
    pub(crate) fn is_abandoned(&self, now: f64, lease: Duration) -> bool {
        self.time <= now - lease.as_secs_f64()
    }
}

/// Returns the text with which each header of an instance begins.
fn beginning(instance: &str) -> String {
    format!("{TAG_PREFIX}{instance}:")
}

/// Returns the command that reads the header of a held list.
pub(crate) fn header_of(held: &str) -> Cmd {
    let mut range = Cmd::new();
    range.arg("LRANGE").arg(held).arg(-1).arg(-1);
    range
}

/// Returns the only element of an answer to [`header_of`]. `None`: the list does not exist.
pub(crate) fn only(answer: Value) -> Option<Vec<u8>> {
    match answer {
        Value::Array(items) => bytes(items.into_iter().next()?),
        _ => None,
    }
}

/// Returns the call that puts the messages of a held list back, or forgets an owner without a held
/// list. `keys` are the first four keys of the script; `node` is the name of the calling worker.
pub(crate) fn return_call(
    keys: [&str; 4],
    instance: &str,
    found: Option<(&[u8], &Header)>,
    node: &str,
) -> Cmd {
    let (raw, list) = match found {
        Some((raw, header)) => (raw, header.list.as_str()),
        // The script does not touch the destination.
        None => (&b""[..], keys[0]),
    };
    let mut call = scripts::call(&scripts::RETURN_HELD, 5, 10, 512);
    call.arg(&keys).arg(list);
    call.arg(instance)
        .arg(raw)
        .arg(beginning(instance))
        .arg(node)
        .arg(DEAD_LETTERS);
    call
}

impl Session {
    /// Returns all messages in this worker's own held list to their lists, and their number. Tries
    /// only once.
    pub(super) async fn try_return_own(&mut self) -> Result<usize, Failure> {
        let layout = std::sync::Arc::clone(&self.layout);
        let mut returned = 0;
        loop {
            let connection = self.link.connection().await;
            let answer = connection.query(&header_of(&layout.held)).await?;
            let Some(raw) = only(answer) else {
                return Ok(returned);
            };
            let header = Header::read(layout.instance(), &raw);
            let header = header.ok_or(Failure::Answer("LRANGE"))?;
            returned += self
                .return_held(layout.instance(), &layout.held, Some((&raw, &header)))
                .await?;
        }
    }

    async fn return_held(
        &mut self,
        instance: &str,
        held: &str,
        found: Option<(&[u8], &Header)>,
    ) -> Result<usize, Failure> {
        let layout = &*self.layout;
        let keys = [held, &layout.owners, &layout.index, &layout.dead];
        let call = return_call(keys, instance, found, &layout.node);
        failpoint!("return");
        let connection = self.link.connection().await;
        let answer = connection.run(&scripts::RETURN_HELD, &call).await?;
        failpoint!("returned");
        number(&answer).ok_or(Failure::Answer("return_held"))
    }

    /// Returns the messages of held lists that were not emptied for `lease` at Redis's time `now`,
    /// and their number. Like [`sweep`](Self::sweep), it is not repeated if it fails.
    pub(super) async fn sweep_held(&mut self, now: f64, lease: Duration) -> Result<usize, Failure> {
        let swept = self.try_sweep_held(now, lease).await;
        self.noted(swept)
    }

    async fn try_sweep_held(&mut self, now: f64, lease: Duration) -> Result<usize, Failure> {
        let mut members = Cmd::new();
        members.arg("SMEMBERS").arg(&self.layout.owners);
        let owners = match self.link.connection().await.query(&members).await {
            Ok(Value::Array(items) | Value::Set(items)) => items,
            // The key is not a set, or the user may not read it: nothing can be found.
            Err(refused) if refused.is_lasting() => return Ok(0),
            Ok(_) => return Err(Failure::Answer("SMEMBERS")),
            Err(failure) => return Err(failure),
        };
        let owners = owners.into_iter().filter_map(bytes);
        let owners = owners.filter_map(|it| String::from_utf8(it).ok());
        let owners: Vec<String> = owners.take(MOST_OWNERS).collect();
        if owners.is_empty() {
            return Ok(0);
        }
        let mut headers = Pipeline::new();
        for owner in &owners {
            headers.add_command(header_of(&self.layout.keys.held(owner)));
        }
        let headers = self.link.connection().await.each(&headers).await?;
        let mut returned = 0;
        for (owner, header) in owners.iter().zip(headers) {
            // A key that is not a list is left alone.
            let Ok(header) = header else { continue };
            let raw = only(header);
            let header = raw.as_deref().map(|raw| Header::read(owner, raw));
            let found = match (&raw, &header) {
                (Some(raw), Some(Some(header))) if header.is_abandoned(now, lease) => {
                    Some((&**raw, header))
                }
                // An unreadable header is left alone: `celery-worker check` reports it.
                (Some(_), _) => continue,
                (None, _) => None,
            };
            let held = self.layout.keys.held(owner);
            match self.return_held(owner, &held, found).await {
                Ok(count) => returned += count,
                // A worker of that queue has the rights that this one lacks.
                Err(refused) if refused.is_lasting() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_its_list_whatever_that_contains() {
        let read = |text: &str| Header::read("abc", text.as_bytes());
        let header = |time, list: &str| {
            let list = list.to_owned();
            Some(Header { time, list })
        };
        assert_eq!(read("rs:abc:7:1700.25:q"), header(1700.25, "q"));
        assert_eq!(read("rs:abc:7:1:p:q:9"), header(1.0, "p:q:9"));
        assert_eq!(
            read("rs:abc:7:1:q\u{6}\u{16}3"),
            header(1.0, "q\u{6}\u{16}3")
        );
        for other in [
            "",
            "{}",
            "rs:abd:7:1:q",
            "rs:abc:x:1:q",
            "rs:abc:7:q",
            "rs:abc:7:1",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(Header::read("abc", b"rs:abc:7:1:\xff"), None);
    }
}
