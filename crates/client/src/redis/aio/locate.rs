//! Asking Sentinels for the address of the master, within the time to connect.

use std::borrow::Cow;

use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Failure};
use crate::endpoint::Address;
use crate::error::ConfigError;
use crate::redis::RedisEndpoint;
use crate::redis::sentinel::{Answers, Sentinels, UNKNOWN};

/// Returns the endpoint of the server to connect to: the given one, or what its Sentinels name.
///
/// # Errors
/// [`Failure::Connect`] with what each Sentinel said if none of them names the master.
pub(super) async fn locate(
    endpoint: &RedisEndpoint,
    deadline: Instant,
) -> Result<Cow<'_, RedisEndpoint>, Failure> {
    let Some(sentinels) = endpoint.sentinels() else {
        return Ok(Cow::Borrowed(endpoint));
    };
    let master = sentinels
        .master()
        .ok_or_else(|| Failure::Denied(ConfigError::NoMasterName.to_string()))?;
    let mut answers = Answers::default();
    for (asked, place) in sentinels.in_turn().enumerate() {
        let left = sentinels.nodes().len() - asked;
        let now = Instant::now();
        let share = Sentinels::share(deadline.saturating_duration_since(now), left);
        let node = RedisEndpoint::of_sentinel(sentinels, place);
        let asking = ask(&node, master, now + share);
        match timeout_at(now + share, asking).await {
            Ok(Ok(Some(address))) => {
                sentinels.answered(place);
                return Ok(Cow::Owned(endpoint.at(address)));
            }
            Ok(Ok(None)) => answers.add(node.address(), UNKNOWN),
            Ok(Err(failure)) => answers.add(node.address(), failure),
            Err(_) => answers.add(node.address(), format_args!("no answer within {share:?}")),
        }
    }
    Err(Failure::Connect(answers.reason(master)))
}

/// Asks one Sentinel.
async fn ask(
    node: &RedisEndpoint,
    master: &str,
    deadline: Instant,
) -> Result<Option<Address>, Failure> {
    let mut connection = Connection::to_sentinel(node, deadline).await?;
    let answer = connection.query(&Sentinels::question(master)).await?;
    Ok(Sentinels::named(&answer))
}
