//! Posts that replicas confirm: one `WAIT` behind everything that was written.
//!
//! Redis answers it once enough replicas have acknowledged, or when its own time is over, with their number. It counts
//! from the last command of the same connection, and by then Redis's stream to the replicas holds everything that any
//! connection wrote before: so a repeated post that finds itself posted already is confirmed as well as the first.

use std::time::Duration;

use redis::{Cmd, Value};

use super::Wait;
use super::link::{Answer, Link};
use crate::error::ClientError;

/// What is kept for the answer of the time that is left, so that the caller learns how many replicas there were, and not
/// only that there was no answer: one part in so many, and
const MARGIN: u32 = 10;
/// at least this much, since Redis looks at its clock every 100 ms (`hz`); but never more than half.
const LEAST_MARGIN: Duration = Duration::from_millis(200);

/// The question whether `wanted` replicas have everything; `None` if none has to.
pub(super) fn question(wanted: u32, wait: &Wait<'_>) -> Option<Cmd> {
    if wanted == 0 {
        return None;
    }
    let left = wait.deadline().remaining();
    let time = left.saturating_sub((left / MARGIN).max(LEAST_MARGIN).min(left / 2));
    // 0 would be for ever.
    let millis = time.as_millis().max(1);
    let mut cmd = redis::cmd("WAIT");
    cmd.arg(wanted)
        .arg(u64::try_from(millis).unwrap_or(u64::MAX));
    Some(cmd)
}

/// An error, if the answer is not that enough of them have.
pub(super) fn check(link: &mut Link, wanted: u32, answer: Answer) -> Result<(), ClientError> {
    if let Value::Int(count) = answer? {
        match u32::try_from(count) {
            Ok(confirmed) if confirmed < wanted => Err(ClientError::Replicas { wanted, confirmed }),
            _ => Ok(()),
        }
    } else {
        link.give_up();
        Err(ClientError::Protocol(
            "WAIT was answered with something that is no number".to_owned(),
        ))
    }
}
