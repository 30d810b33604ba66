//! Asking where the server is, within the time to connect.

use std::borrow::Cow;

use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Failure};
use crate::redis::RedisEndpoint;
use crate::redis::inquiry::{Answers, Inquiry, Lead};

/// Returns the endpoint of the server to connect to: the given one, or what Sentinels or the nodes
/// of a cluster name, with the node that named it.
///
/// # Errors
/// [`Failure::Connect`] with what each of them said if none of them names the server, or
/// [`Failure::Denied`] if one of them rejects the login.
pub(super) async fn locate(
    endpoint: &RedisEndpoint,
    deadline: Instant,
) -> Result<(Cow<'_, RedisEndpoint>, Option<Lead>), Failure> {
    let inquiry = endpoint.inquiry();
    let inquiry = inquiry.map_err(|error| Failure::Denied(error.to_string()))?;
    let Some(inquiry) = inquiry else {
        return Ok((Cow::Borrowed(endpoint), None));
    };
    let mut answers = Answers::default();
    let mut is_denied = false;
    let nodes = inquiry.nodes();
    let mut left = nodes.len();
    for node in nodes {
        let now = Instant::now();
        let share = Inquiry::share(deadline.saturating_duration_since(now), left);
        left -= 1;
        let asking = ask(&node, &inquiry, now + share);
        match timeout_at(now + share, asking).await {
            Ok(Ok(answer)) => match inquiry.named(&node, &answer) {
                Ok((named, lead)) => return Ok((Cow::Owned(named), Some(lead))),
                Err(reason) => answers.add(node.address(), reason),
            },
            Ok(Err(failure)) => {
                is_denied |= match &failure {
                    Failure::Denied(_) => true,
                    Failure::Refused(answer) => answer.is_rejection(),
                    _ => false,
                };
                answers.add(node.address(), failure);
            }
            Err(_) => answers.add(node.address(), format_args!("no answer within {share:?}")),
        }
        inquiry.unanswered(&node);
    }
    let reason = inquiry.reason(&answers);
    Err(if is_denied {
        Failure::Denied(reason)
    } else {
        Failure::Connect(reason)
    })
}

/// Asks one node.
async fn ask(
    node: &RedisEndpoint,
    inquiry: &Inquiry<'_>,
    deadline: Instant,
) -> Result<Value, Failure> {
    let mut connection = Connection::to_ask(node, deadline).await?;
    connection.query(&inquiry.question()).await
}
