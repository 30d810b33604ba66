//! What the user of Redis may do, by trying what changes nothing.
//!
//! Which commands a script may call is not tried: there is no call of them all that changes nothing. The rule in the
//! worker's documentation has them.

use celery_client::aio::{Connection, Failure, scripts};
use celery_client::redis::DELETE_UNCHANGED;
use celery_protocol::keys::Keys;

use super::check::Finding;
use super::redis::command;

/// The id of a task that nobody posts and nobody waits for.
const NOBODY: &str = "celery-worker-check";

/// What the broker's user may not do.
pub(super) async fn of_broker(
    connection: &mut Connection,
    keys: &Keys,
    queues: &[String],
) -> Vec<Finding> {
    let fixed = [keys.unacked(), keys.unacked_index(), keys.dead()];
    if let Some(refused) = claim_nothing(connection, &fixed, None).await {
        return vec![Finding::error(format!(
            "the user may not call the scripts of the worker, or not with the keys {}: {refused}",
            fixed.join(", ")
        ))];
    }
    let mut findings = Vec::new();
    let lists = queues.iter().flat_map(|queue| keys.queue_lists(queue));
    for key in lists.chain([keys.redelivered(NOBODY), keys.result(NOBODY)]) {
        if let Some(refused) = claim_nothing(connection, &fixed, Some(&key)).await {
            let key = key.escape_debug();
            let text = format!("the user may not touch the key {key}: {refused}");
            findings.push(Finding::error(text));
        }
    }
    findings.extend(tracking(connection).await);
    findings
}

/// What the user may not do where results are stored.
pub(super) async fn of_results(connection: &mut Connection, keys: &Keys) -> Vec<Finding> {
    let key = keys.result(NOBODY);
    let mut findings = Vec::new();
    let mut call = scripts::call(&DELETE_UNCHANGED, 1, 2, 64);
    call.arg(&key).arg("");
    if let Err(Failure::Refused(refused)) = connection.run(&DELETE_UNCHANGED, &call).await {
        let text = format!("the user may not store results such as {key}: {refused}");
        findings.push(Finding::error(text));
    }
    // Nobody listens.
    let publish = command(&["PUBLISH", &key, ""]);
    if let Err(Failure::Refused(refused)) = connection.query(&publish).await {
        findings.push(Finding::error(format!(
            "the user may not publish results on channels such as {key}, so that clients that wait for a result do not \
             learn of it at once: {refused}"
        )));
    }
    findings
}

/// Claims and acknowledges nothing: only the right to the keys is looked at.
async fn claim_nothing(
    connection: &mut Connection,
    fixed: &[String],
    more: Option<&str>,
) -> Option<Failure> {
    let keys = fixed.len() + usize::from(more.is_some());
    let mut call = scripts::call(&scripts::ACK_CLAIM, keys, keys + 5, 256);
    call.arg(fixed).arg(more);
    call.arg(0).arg("").arg("").arg(0).arg(0);
    let answer = connection.run(&scripts::ACK_CLAIM, &call).await;
    answer
        .err()
        .filter(|failure| matches!(failure, Failure::Refused(_)))
}

async fn tracking(connection: &mut Connection) -> Option<Finding> {
    // Off is what it is.
    let off = command(&["CLIENT", "TRACKING", "OFF"]);
    match connection.query(&off).await {
        Err(refused @ Failure::Refused(_)) => Some(Finding::warning(format!(
            "the queues will be polled, because CLIENT TRACKING is refused: {refused}"
        ))),
        _ => None,
    }
}
