//! The client's errors as PHP exceptions.
//!
//! Each message says what failed, where, why, and what to do about it. Endpoints are displayed
//! without their passwords.

use std::fmt::Display;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use celery_client::error::TlsProblem;
use celery_client::{ClientError, PublishError};
use celery_protocol::time::Timestamp;
use ext_php_rs::types::Zval;

use crate::classes::dropin::exceptions::{OUTCOME_UNKNOWN, TASK_ID, TASK_IDS};
use crate::classes::exceptions::{CIRCUIT_OPEN, RETRY_AFTER};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::value;

/// The server that a call was made to, which is displayed without its password.
pub(crate) trait Server: Display {
    /// Returns `true` for a RabbitMQ.
    fn is_rabbitmq(&self) -> bool;

    /// Returns `true` if it is a RabbitMQ because no connector was given.
    fn is_assumed_rabbitmq(&self) -> bool;
}

impl<S: Server> Server for Rc<S> {
    fn is_rabbitmq(&self) -> bool {
        (**self).is_rabbitmq()
    }

    fn is_assumed_rabbitmq(&self) -> bool {
        (**self).is_assumed_rabbitmq()
    }
}

/// Returns an exception for a task that cannot be sent in this form.
pub(crate) fn not_sent(why: impl Into<String>) -> Thrown {
    Thrown::celery(why).leading("The task was not sent: ")
}

/// Returns the exception for a task that could not be posted.
pub(crate) fn publish(
    failure: Kind,
    task_id: &str,
    server: &dyn Server,
    error: ClientError,
) -> Thrown {
    if throw::is_pending() {
        return Thrown::Pending;
    }
    let (outcome_unknown, cause) = match error {
        ClientError::Publish(publish) => (publish.outcome_unknown, *publish.cause),
        other => (false, other),
    };
    let advice = if outcome_unknown {
        "The task may be in the queue nevertheless; posting it again may run it twice (see celery.publish=once)."
    } else {
        "The task was not queued."
    };
    if !outcome_unknown && is_connection(&cause) {
        return unreachable(server, &cause, advice);
    }
    let why = reason(&cause);
    not_confirmed(
        failure,
        format!("Task {task_id} was not confirmed by the broker {server}: {why}. {advice}"),
        outcome_unknown,
        &[task_id],
    )
}

/// Returns `true` if a post did not reach the broker because of the network, so that it may be
/// repeated.
pub(crate) fn was_not_reached(error: &ClientError) -> bool {
    match error {
        ClientError::Publish(publish) => post_was_not_reached(publish),
        ClientError::Connect { .. }
        | ClientError::Timeout { .. }
        | ClientError::Disconnected { .. } => true,
        _ => false,
    }
}

/// Returns `true` like [`was_not_reached`], of one post among several.
pub(crate) fn post_was_not_reached(post: &PublishError) -> bool {
    !post.outcome_unknown && was_not_reached(&post.cause)
}

/// Returns a `CeleryPublishException`, or one that extends it, that names tasks.
fn not_confirmed(
    failure: Kind,
    message: String,
    outcome_unknown: bool,
    task_ids: &[&str],
) -> Thrown {
    let mut unknown = Zval::new();
    unknown.set_bool(outcome_unknown);
    let first = task_ids.first().copied().unwrap_or_default();
    let ids = value::list(task_ids.iter().map(|id| value::string(id.as_bytes())));
    match ids {
        Ok(ids) => Thrown::new(failure, message)
            .with_property(OUTCOME_UNKNOWN, unknown)
            .with_property(TASK_ID, value::string(first.as_bytes()))
            .with_property(TASK_IDS, ids),
        Err(bailout) => bailout.into(),
    }
}

/// Returns the exception for tasks of a batch that were not confirmed.
pub(crate) fn of_batch(
    failure: Kind,
    server: &dyn Server,
    failures: Vec<PublishError>,
    sent: usize,
) -> Thrown {
    if failures.len() == sent {
        none_confirmed(failure, server, failures)
    } else {
        unconfirmed(failure, server, failures)
    }
}

/// Returns the exception for tasks of which none was confirmed. The broker may have been
/// unreachable.
fn none_confirmed(failure: Kind, server: &dyn Server, failures: Vec<PublishError>) -> Thrown {
    match failures.first() {
        Some(first)
            if is_connection(&first.cause)
                && failures.iter().all(|failure| !failure.outcome_unknown) =>
        {
            unreachable(server, &first.cause, "No task was queued.")
        }
        _ => unconfirmed(failure, server, failures),
    }
}

/// Returns the exception for a broker that could not be reached, so that nothing was posted.
fn unreachable(server: &dyn Server, cause: &ClientError, advice: &str) -> Thrown {
    let (why, hint) = (reason(cause), hint(server, cause));
    let message = format!("Cannot reach the broker {server}: {why}. {advice}{hint}");
    no_connection(message, cause)
}

/// Returns the exception for a server that could not be reached.
fn no_connection(message: String, cause: &ClientError) -> Thrown {
    let ClientError::CircuitOpen { retry_after, .. } = cause else {
        return Thrown::new(Kind::Connection, message);
    };
    let mut seconds = Zval::new();
    seconds.set_double(retry_after.as_secs_f64());
    Thrown::new(CIRCUIT_OPEN, message).with_property(RETRY_AFTER, seconds)
}

/// Returns the exception for tasks of which at least one was not confirmed.
pub(crate) fn unconfirmed(
    failure: Kind,
    server: &dyn Server,
    failures: Vec<PublishError>,
) -> Thrown {
    let cause = failures.first().map(|first| reason(&first.cause));
    let message = format!(
        "{} (broker {server}: {})",
        summary(&failures),
        cause.unwrap_or_default()
    );
    let outcome_unknown = failures.iter().any(|failure| failure.outcome_unknown);
    let ids: Vec<&str> = failures
        .iter()
        .map(|failure| failure.task_id.as_str())
        .collect();
    not_confirmed(failure, message, outcome_unknown, &ids)
}

/// Describes which tasks were not confirmed.
pub(crate) fn summary(failures: &[PublishError]) -> String {
    let ids = |unknown: bool| {
        let failures = failures
            .iter()
            .filter(|failure| failure.outcome_unknown == unknown);
        failures
            .map(|failure| failure.task_id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (refused, unknown) = (ids(false), ids(true));
    match (refused.is_empty(), unknown.is_empty()) {
        (_, true) => format!("These tasks were not queued: {refused}"),
        (true, false) => format!("These tasks may or may not have been queued: {unknown}"),
        (false, false) => {
            format!(
                "These tasks were not queued: {refused}; these may or may not have been: {unknown}"
            )
        }
    }
}

/// Returns the exception for another call that failed.
pub(crate) fn command(what: &str, server: &dyn Server, error: ClientError) -> Thrown {
    if throw::is_pending() {
        return Thrown::Pending;
    }
    let (why, hint) = (reason(&error), hint(server, &error));
    let message = format!("Could not {what} on {server}: {why}.{hint}");
    if is_connection(&error) {
        no_connection(message, &error)
    } else {
        Thrown::celery(message)
    }
}

/// Returns `true` if the server could not be reached, and `false` if it refused.
fn is_connection(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect { .. }
            | ClientError::CircuitOpen { .. }
            | ClientError::Auth { .. }
            | ClientError::Tls { .. }
            | ClientError::Unsupported { .. }
            | ClientError::Timeout { .. }
            | ClientError::Disconnected { .. }
            | ClientError::Blocked { .. }
            | ClientError::Config(_)
    )
}

/// Returns the reason without the endpoint, which the sentence around it names.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Connect { reason, .. } | ClientError::Disconnected { reason, .. } => {
            reason.clone()
        }
        ClientError::CircuitOpen {
            failures,
            since,
            reason,
            retry_after,
            ..
        } => format!(
            "{}, so it is not asked again for {:.1} s",
            not_reached(*failures, *since, reason),
            retry_after.as_secs_f64()
        ),
        ClientError::Auth { answer, .. } => format!("it refused the credentials ({answer})"),
        ClientError::Tls { endpoint, problem } => problem.named_for(endpoint),
        ClientError::Unsupported { kind, .. } => format!("it is {kind}"),
        ClientError::Blocked { reason, .. } => format!("it blocks publishers: {reason}"),
        ClientError::Timeout { what, after } => {
            format!("{what} took longer than {} s", after.as_secs_f64())
        }
        other => other.to_string(),
    }
}

/// Describes a server that could not be reached: how often, since when and why.
pub(crate) fn not_reached(failures: u32, since: SystemTime, reason: &str) -> String {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), 0);
    let times = if failures == 1 {
        "call"
    } else {
        "calls in a row"
    };
    format!("{failures} {times} could not connect since {since} ({reason})")
}

fn hint(server: &dyn Server, error: &ClientError) -> &'static str {
    let is_rabbitmq = server.is_rabbitmq();
    match error {
        ClientError::Auth { .. } => {
            " Check the login and the password; in a URL they must be percent-encoded."
        }
        ClientError::Tls { problem, .. } => match problem {
            TlsProblem::UnknownAuthority(_) => {
                " Without a URL: the key cafile of $ssl_options, or the directive celery.ca_file."
            }
            TlsProblem::Spoken if is_rabbitmq => " Without a URL: the connector 'amqps'.",
            TlsProblem::Spoken => " Without a URL: the connector 'rediss'.",
            TlsProblem::NotSpoken | TlsProblem::Silent if is_rabbitmq => {
                " Without a URL: the connector 'amqp', and no $ssl_options."
            }
            TlsProblem::NotSpoken | TlsProblem::Silent => {
                " Without a URL: the connector 'redis', and no $ssl_options."
            }
            TlsProblem::OtherHost(_) => " Without a URL: the key peer_name of $ssl_options.",
            TlsProblem::ClientCertificate => {
                " Without a URL: the keys local_cert and local_pk of $ssl_options."
            }
            _ => "",
        },
        ClientError::Connect { .. } if server.is_assumed_rabbitmq() => {
            " No connector was given, which means RabbitMQ, as in celery-php; for Redis pass the connector 'redis'."
        }
        ClientError::Connect { .. } if is_rabbitmq => {
            " Check that RabbitMQ runs there, and the host and the port."
        }
        ClientError::Connect { .. } => " Check that Redis runs there, and the host and the port.",
        _ => "",
    }
}
