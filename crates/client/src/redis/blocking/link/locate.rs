//! Asking Sentinels for the address of the master, within the time to connect.

use std::sync::Arc;

use super::auth::{auth, refused};
use super::wire::Wire;
use crate::blocking::Wait;
use crate::blocking::not_open::NotOpen;
use crate::endpoint::Address;
use crate::error::{ClientError, ConfigError};
use crate::redis::RedisEndpoint;
use crate::redis::blocking::reply::Shape;
use crate::redis::sentinel::{Answers, Sentinels, UNKNOWN};

/// The largest answer to accept from a Sentinel: an address, or an error.
const MAX_REPLY: usize = 64 << 10;

/// Returns the endpoint of the server to connect to: the given one, or what its Sentinels name.
///
/// # Errors
/// [`ClientError::Connect`] with what each Sentinel said if none of them names the master.
pub(super) fn locate(
    endpoint: &Arc<RedisEndpoint>,
    wait: &mut Wait<'_>,
) -> Result<Arc<RedisEndpoint>, NotOpen> {
    let Some(sentinels) = endpoint.sentinels() else {
        return Ok(Arc::clone(endpoint));
    };
    let master = sentinels
        .master()
        .ok_or(ConfigError::NoMasterName)
        .map_err(|error| NotOpen::for_good(error.into()))?;
    let mut answers = Answers::default();
    for (asked, place) in sentinels.in_turn().enumerate() {
        let left = sentinels.nodes().len() - asked;
        let share = Sentinels::share(wait.deadline().remaining(), left);
        let node = Arc::new(RedisEndpoint::of_sentinel(sentinels, place));
        match ask(&node, master, &mut wait.within(share)) {
            Ok(Some(address)) => {
                sentinels.answered(place);
                return Ok(Arc::new(endpoint.at(address)));
            }
            Ok(None) => answers.add(node.address(), UNKNOWN),
            Err(not_open) => match not_open.error {
                ClientError::Interrupted | ClientError::Forked => return Err(not_open),
                // The list names the Sentinel already.
                ClientError::Connect { reason, .. } => answers.add(node.address(), reason),
                ClientError::Auth { answer, .. } => answers.add(node.address(), answer),
                error => answers.add(node.address(), error),
            },
        }
    }
    Err(NotOpen::for_now(ClientError::Connect {
        endpoint: endpoint.display_url(),
        reason: answers.reason(master),
    }))
}

/// Asks one Sentinel.
fn ask(
    node: &Arc<RedisEndpoint>,
    master: &str,
    wait: &mut Wait<'_>,
) -> Result<Option<Address>, NotOpen> {
    let mut wire = Wire::open(node, MAX_REPLY, wait)?;
    let auth = auth(node);
    if let Some(auth) = &auth {
        wire.pack(auth);
    }
    wire.pack(&Sentinels::question(master));
    let mut answers = || {
        wire.flush(wait)?;
        if auth.is_some() {
            let answer = wire.answer(Shape::Short, wait, "the answer to AUTH")?;
            answer.map_err(|answer| refused(node, answer))?;
        }
        let answer = wire.answer(Shape::Message, wait, "the answer of a Sentinel")?;
        answer.map_err(|answer| node.refused(answer))
    };
    let answer = answers().map_err(NotOpen::for_now)?;
    Ok(Sentinels::named(&answer))
}
