//! The start of the module, the end of a request, and the table of phpinfo.

use celery_client::blocking::{self, Deadline, Unreached};

use crate::classes;
use crate::ffi::class::DeclareError;
use crate::ffi::throw::late_warning;
use crate::{errors, pipeline, registry, replies, settings};

/// Declares the classes.
pub(crate) fn module_start() -> Result<(), DeclareError> {
    classes::declare()
}

/// Ends a request: reads the answers of pipelined posts, and forgets everything of the request
/// except its idle connections.
pub(crate) fn request_end() {
    registry::clear();
    let failures = pipeline::flush_all(Deadline::after(settings::current().post_timeout));
    if let Some(first) = failures.first() {
        late_warning(&format!("{}: {}", errors::summary(&failures), first.cause));
    }
    replies::request_end();
}

/// Returns the rows of phpinfo's table.
pub(crate) fn info() -> Vec<(String, String)> {
    let mut rows = vec![
        ("Celery for PHP".to_owned(), "enabled".to_owned()),
        ("Version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (
            "Brokers".to_owned(),
            "redis, rediss, redis+socket, amqp, amqps".to_owned(),
        ),
        (
            "Result backends".to_owned(),
            "redis, rediss, redis+socket, rpc".to_owned(),
        ),
        ("Task message protocols".to_owned(), "2, 1".to_owned()),
    ];
    rows.extend(circuits());
    rows
}

/// Returns a row for each server that the last call of this process could not reach.
fn circuits() -> Vec<(String, String)> {
    let options = settings::current().circuit(settings::FAILURES_OF_CLIENT);
    let rows = blocking::unreached(options)
        .into_iter()
        .map(|(server, state)| (format!("Circuit of {server}"), circuit(&state)));
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return vec![("Circuits".to_owned(), "all closed".to_owned())];
    }
    rows.sort();
    rows
}

fn circuit(state: &Unreached) -> String {
    let why = errors::not_reached(state.failures, state.since, &state.reason);
    match state.retry_after {
        Some(left) => format!("open for {:.1} s: {why}", left.as_secs_f64()),
        None => format!("closed: {why}"),
    }
}
