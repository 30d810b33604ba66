//! The client's errors as PHP exceptions.
//!
//! Each message says what did not happen, where, why, and what to do about it. Endpoints are shown without their
//! passwords.

use celery_client::{ClientError, Endpoint};
use ext_php_rs::types::Zval;

use crate::classes::exceptions::{OUTCOME_UNKNOWN, TASK_ID};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::value;

/// A task could not be posted.
pub(crate) fn publish(task_id: &str, endpoint: &Endpoint, error: ClientError) -> Thrown {
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
    let why = reason(&cause);
    if !outcome_unknown && is_connection(&cause) {
        let hint = hint(&cause);
        return Thrown::new(
            Kind::Connection,
            format!("Cannot reach the broker {endpoint}: {why}. {advice}{hint}"),
        );
    }
    let mut unknown = Zval::new();
    unknown.set_bool(outcome_unknown);
    Thrown::new(
        Kind::Publish,
        format!("Task {task_id} was not confirmed by the broker {endpoint}: {why}. {advice}"),
    )
    .with_property(OUTCOME_UNKNOWN, unknown)
    .with_property(TASK_ID, value::string(task_id.as_bytes()))
}

/// Something else could not be done.
pub(crate) fn command(what: &str, endpoint: &Endpoint, error: ClientError) -> Thrown {
    if throw::is_pending() {
        return Thrown::Pending;
    }
    let why = reason(&error);
    let kind = if is_connection(&error) {
        Kind::Connection
    } else {
        Kind::Celery
    };
    Thrown::new(
        kind,
        format!("Could not {what} on {endpoint}: {why}.{}", hint(&error)),
    )
}

/// Whether an error means that the server could not be talked to, rather than that it refused.
fn is_connection(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect { .. }
            | ClientError::Auth { .. }
            | ClientError::Timeout { .. }
            | ClientError::Disconnected { .. }
            | ClientError::Config(_)
    )
}

/// The error without the endpoint, which the sentence around it names.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Connect { reason, .. } | ClientError::Disconnected { reason, .. } => {
            reason.clone()
        }
        ClientError::Auth { answer, .. } => format!("it refused the credentials ({answer})"),
        ClientError::Timeout { what, after } => {
            format!("no end of {what} within {} s", after.as_secs_f64())
        }
        other => other.to_string(),
    }
}

fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Auth { .. } => " Check the login and the password.",
        ClientError::Connect { .. } => " Check that Redis runs there, and the host and the port.",
        _ => "",
    }
}
