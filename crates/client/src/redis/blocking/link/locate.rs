//! Asking where the server is, within the time to connect.

use std::sync::Arc;

use redis::Cmd;

use super::auth::{auth, refused};
use super::wire::Wire;
use crate::blocking::not_open::NotOpen;
use crate::blocking::{Wait, resolve};
use crate::error::ClientError;
use crate::redis::RedisEndpoint;
use crate::redis::blocking::reply::Shape;
use crate::redis::inquiry::{Answers, Inquiry, Lead};

/// The largest answer to accept: a cluster in which each of the 16,384 slots is a range of its own,
/// with 1 KiB of names for each.
const MAX_REPLY: usize = 16 << 20;

/// Returns the endpoint of the server to connect to: the given one, or what Sentinels or the nodes
/// of a cluster name, with the node that named it.
///
/// # Errors
/// [`ClientError::Connect`] with what each of them said if none of them names the server. If one of
/// them rejects the login, that is the error: the servers are reachable.
pub(super) fn locate(
    endpoint: &Arc<RedisEndpoint>,
    wait: &mut Wait<'_>,
) -> Result<(Arc<RedisEndpoint>, Option<Lead>), NotOpen> {
    let inquiry = endpoint.inquiry();
    let inquiry = inquiry.map_err(|error| NotOpen::for_good(error.into()))?;
    let Some(inquiry) = inquiry else {
        return Ok((Arc::clone(endpoint), None));
    };
    let mut answers = Answers::default();
    let mut rejected = None;
    let nodes = inquiry.nodes();
    let mut left = nodes.len();
    for node in nodes {
        let node = Arc::new(node);
        let share = Inquiry::share(wait.deadline().remaining(), left);
        left -= 1;
        let asked = ask(&node, &inquiry.question(), &mut wait.within(share));
        match asked.map(|answer| inquiry.named(&node, &answer)) {
            Ok(Ok((named, lead))) => return Ok((Arc::new(named), Some(lead))),
            Ok(Err(reason)) => answers.add(node.address(), reason),
            Err(not_open) => match not_open.error {
                ClientError::Interrupted | ClientError::Forked => return Err(not_open),
                // The list names the node already.
                ClientError::Connect { reason, .. } => answers.add(node.address(), reason),
                ClientError::Auth { answer, .. } => {
                    answers.add(node.address(), &answer);
                    let said = answer.said_by(node.address());
                    rejected.get_or_insert_with(|| endpoint.refused(said));
                }
                ClientError::Server(answer) if answer.is_rejection() => {
                    answers.add(node.address(), &answer);
                    let said = answer.said_by(node.address());
                    rejected.get_or_insert(ClientError::Server(said));
                }
                error => answers.add(node.address(), error),
            },
        }
        inquiry.unanswered(&node);
        resolve::forget_address(node.address());
    }
    if let Some(rejected) = rejected {
        return Err(NotOpen::for_good(rejected));
    }
    Err(NotOpen::for_now(ClientError::Connect {
        endpoint: endpoint.display_url(),
        reason: inquiry.reason(&answers),
    }))
}

/// Asks one node.
fn ask(
    node: &Arc<RedisEndpoint>,
    question: &Cmd,
    wait: &mut Wait<'_>,
) -> Result<redis::Value, NotOpen> {
    let mut wire = Wire::open(node, MAX_REPLY, wait)?;
    let auth = auth(node);
    if let Some(auth) = &auth {
        wire.pack(auth);
    }
    wire.pack(question);
    let mut answers = || {
        wire.flush(wait)?;
        if auth.is_some() {
            let answer = wire.answer(Shape::Short, wait, "the answer to AUTH")?;
            answer.map_err(|answer| refused(node, answer))?;
        }
        let answer = wire.answer(
            Shape::Nodes,
            wait,
            "the answer of a node that knows the server",
        )?;
        answer.map_err(|answer| node.refused(answer))
    };
    answers().map_err(NotOpen::for_now)
}
