//! Posts that replicas confirm: a `WAIT` command after all posts.
//!
//! Redis answers `WAIT` with the number of replicas that have acknowledged. The answer comes once
//! enough of them have, or when the timeout of the command has passed. Redis counts the replicas
//! that have received its stream up to the last command of the connection. That stream already
//! holds everything that any connection wrote before. Therefore a repeated post that was already
//! made is confirmed as well as the first one.

use std::time::Duration;

use redis::{Cmd, Value};

use super::attempt::Publish;
use super::link::{Answer, Link};
use crate::blocking::Wait;
use crate::error::ClientError;

/// The fraction of the time left that is reserved for the answer. Without it, the caller would
/// learn only that no answer came, and not how many replicas confirmed.
const MARGIN: u32 = 10;
/// The shortest time that is reserved for the answer, because Redis checks its clock every 100 ms
/// (`hz`). At most half of the time is reserved.
const LEAST_MARGIN: Duration = Duration::from_millis(200);

/// Returns the `WAIT` command for `wanted` replicas, or `None` if no replica must confirm.
pub(super) fn question(wanted: u32, wait: &mut Wait<'_>, mode: Publish) -> Option<Cmd> {
    if wanted == 0 {
        return None;
    }
    let left = mode.step(wait).deadline().remaining();
    let time = left.saturating_sub((left / MARGIN).max(LEAST_MARGIN).min(left / 2));
    // Redis takes 0 as no limit.
    let millis = time.as_millis().max(1);
    let mut cmd = redis::cmd("WAIT");
    cmd.arg(wanted)
        .arg(u64::try_from(millis).unwrap_or(u64::MAX));
    Some(cmd)
}

/// Returns an error unless enough replicas have confirmed.
pub(super) fn check(link: &mut Link, wanted: u32, answer: Answer) -> Result<(), ClientError> {
    if let Value::Int(count) = answer? {
        match u32::try_from(count) {
            Ok(confirmed) if confirmed < wanted => Err(ClientError::Replicas { wanted, confirmed }),
            _ => Ok(()),
        }
    } else {
        link.wire.give_up();
        Err(ClientError::Protocol(
            "WAIT was answered with something that is not a number".to_owned(),
        ))
    }
}
