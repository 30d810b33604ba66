//! Checks the rights of the Redis user by trying calls that change nothing.
//!
//! It does not check which commands a script may call, because calling all of them would change
//! something. The ACL rule in the worker's documentation lists them.

use celery_client::aio::{ConnectOptions, Connection, Failure, scripts};
use celery_client::redis::{DELETE_UNCHANGED, RedisEndpoint};
use celery_protocol::control::ReplyTo;
use celery_protocol::names::CONTROL_REPLY_EXCHANGE;
use celery_protocol::redis_keys::Keys;

use super::finding::Finding;
use super::redis::command;

/// An id that does not belong to any task.
const UNUSED_ID: &str = "celery-worker-check";

/// Returns a finding for each right that the broker's user lacks.
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
    for key in lists.chain([keys.redelivered(UNUSED_ID), keys.result(UNUSED_ID)]) {
        if let Some(refused) = claim_nothing(connection, &fixed, Some(&key)).await {
            let key = key.escape_debug();
            let text = format!("the user may not touch the key {key}: {refused}");
            findings.push(Finding::error(text));
        }
    }
    let limits = [
        keys.places(UNUSED_ID, None),
        keys.rate(UNUSED_ID, None),
        keys.unique(UNUSED_ID, UNUSED_ID),
    ];
    for key in limits {
        if let Some(refused) = claim_nothing(connection, &fixed, Some(&key)).await {
            let text = format!(
                "limits across all workers and unique tasks do not work: the user may not touch \
                 the key {key}: {refused}"
            );
            findings.push(Finding::warning(text));
        }
    }
    findings.extend(tracking(connection).await);
    findings
}

/// Returns a finding for each right that remote control and events lack. Tasks run without them.
pub(super) async fn of_control(endpoint: &RedisEndpoint, keys: &Keys) -> Vec<Finding> {
    let options = ConnectOptions::new("celery-worker/cli");
    // Only a connection that listens can go on after it has subscribed.
    let Ok(mut connection) = Connection::open_listening(endpoint, &options, |_| {}).await else {
        return Vec::new();
    };
    let db = endpoint.database();
    let (pidbox, events) = (keys.pidbox_channel(db), keys.event_channel(db, UNUSED_ID));
    let replies = keys.queue(&ReplyTo::new(UNUSED_ID).queue(), 0);
    let mut tries = vec![(
        // Monitors pass over an empty message.
        vec!["PUBLISH", &events, ""],
        format!("the user may not publish events on channels such as {events}"),
    )];
    let (revoked, stamps) = (keys.revoked(), keys.revoked_stamps());
    let bindings = keys.binding(CONTROL_REPLY_EXCHANGE);
    for key in [&revoked, &stamps, &replies, &bindings] {
        let text = format!("remote control: the user may not touch the key {key}");
        tries.push((vec!["EXISTS", key], text));
    }
    if connection.hears() {
        let text = format!("no remote control: the user may not subscribe to {pidbox}");
        tries.push((vec!["SUBSCRIBE", &pidbox], text));
    }
    let mut findings = Vec::new();
    for (words, text) in tries {
        let answer = connection.query(&command(&words)).await;
        if let Err(refused @ Failure::Refused(_)) = answer {
            findings.push(Finding::warning(format!("{text}: {refused}")));
        }
    }
    findings
}

/// Returns a finding if the user may not use the commands of claims without a script.
pub(super) async fn of_native_claims(connection: &mut Connection, keys: &Keys) -> Option<Finding> {
    let (held, owners) = (keys.held(UNUSED_ID), keys.held_owners());
    // No list has this name, so nothing is moved.
    let commands = [
        command(&["LMOVE", &held, &held, "RIGHT", "LEFT"]),
        command(&["EVAL", "return 0", "2", &held, &owners]),
        command(&["SCARD", &owners]),
    ];
    let refused = connection.transaction(commands).await.err()?;
    matches!(refused, Failure::Refused(_)).then(|| {
        Finding::warning(format!(
            "large messages will be claimed by script, which takes more of Redis's time: {refused}"
        ))
    })
}

/// Returns a finding if the user lacks rights for schedules.
pub(super) async fn of_schedules(connection: &mut Connection, keys: &Keys) -> Option<Finding> {
    // No process leads under this token, so nothing is done.
    let mut fire = scripts::call(&scripts::BEAT_FIRE, 4, 9, 256);
    fire.arg(keys.beat_leader())
        .arg(keys.beat_due())
        .arg(keys.beat())
        .arg(keys.beat_runs());
    fire.arg(UNUSED_ID).arg("").arg(0).arg("").arg("");
    let unused = keys.redelivered(UNUSED_ID);
    let fired = connection.run(&scripts::BEAT_FIRE, &fire).await;
    let mut refused = fired.err();
    for words in [
        ["PTTL", &keys.beat_leader()],
        ["EXISTS", &keys.beat_fence()],
        ["HGETALL", &unused],
    ] {
        let answer = connection.query(&command(&words)).await;
        refused = refused.or(answer.err());
    }
    let refused = refused.filter(|failure| matches!(failure, Failure::Refused(_)))?;
    Some(Finding::error(format!(
        "the user lacks rights for schedules (--beat): {refused}"
    )))
}

/// Returns a finding for each right that the user lacks where results are stored.
pub(super) async fn of_results(connection: &mut Connection, keys: &Keys) -> Vec<Finding> {
    let key = keys.result(UNUSED_ID);
    let mut findings = Vec::new();
    let mut call = scripts::call(&DELETE_UNCHANGED, 1, 2, 64);
    call.arg(&key).arg("");
    if let Err(Failure::Refused(refused)) = connection.run(&DELETE_UNCHANGED, &call).await {
        let text = format!("the user may not store results such as {key}: {refused}");
        findings.push(Finding::error(text));
    }
    // Clients do not listen on this channel.
    let publish = command(&["PUBLISH", &key, ""]);
    if let Err(Failure::Refused(refused)) = connection.query(&publish).await {
        findings.push(Finding::error(format!(
            "the user may not publish results on channels such as {key}; clients that wait for a \
             result find it only when they look again: {refused}"
        )));
    }
    findings
}

/// Claims and acknowledges nothing, only to see whether the user may access the keys.
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
    // Tracking is off on this connection anyway. The second command therefore always fails, but
    // only a user without the right gets `NOPERM`.
    for (words, code) in [
        (["TRACKING", "OFF"], None),
        (["CACHING", "YES"], Some("NOPERM")),
    ] {
        let call = command(&["CLIENT", words[0], words[1]]);
        if let Err(refused @ Failure::Refused(_)) = connection.query(&call).await
            && code.is_none_or(|code| refused.is_refusal(code))
        {
            return Some(Finding::warning(format!(
                "the queues will be polled, because CLIENT {} is refused: {refused}",
                words[0]
            )));
        }
    }
    None
}
