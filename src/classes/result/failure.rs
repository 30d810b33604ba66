//! Remote failures as exceptions.
//!
//! State, module and type choose one of the extension's own classes. Nothing in a result is ever
//! instantiated by its name.

use celery_protocol::result::{Cause, State};
use ext_php_rs::types::Zval;

use crate::classes::exceptions::{self, Failure};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::value;
use crate::messages::Document;
use crate::values::incoming;

/// Returns the exception of a document whose state is one of an exception.
pub(crate) fn exception(id: &str, document: &Document) -> Result<Thrown, Thrown> {
    let doc = &document.doc;
    let remote = doc.failed_with();
    let mut arguments = Vec::with_capacity(remote.exc_message.len());
    for argument in &remote.exc_message {
        arguments.push(incoming::decode(argument.get())?);
    }
    let failure = Failure {
        task_id: id,
        class: &remote.exc_type,
        module: remote.exc_module.as_deref(),
        arguments: value::list(arguments)?,
        traceback: doc.traceback.as_deref(),
    };
    let module = remote.exc_module.as_deref().unwrap_or_default();
    let kind = kind(&doc.status, module, &remote.exc_type);
    let exception = failure.exception(kind, remote.message());
    Ok(match previous(id, &doc.causes())? {
        Some(previous) => exception.caused_by(previous),
        None => exception,
    })
}

fn kind(state: &State, module: &str, name: &str) -> Kind {
    if *state == State::Revoked {
        return exceptions::TASK_REVOKED;
    }
    match (module, name) {
        ("celery.exceptions", "NotRegistered") => exceptions::NOT_REGISTERED,
        ("celery.exceptions", "MaxRetriesExceededError") => exceptions::MAX_RETRIES_EXCEEDED,
        ("celery.exceptions", "ChordError") => exceptions::CHORD_FAILED,
        // Celery's own module re-exports those of billiard.
        ("billiard.exceptions" | "celery.exceptions", "TimeLimitExceeded") => {
            exceptions::TIME_LIMIT_EXCEEDED
        }
        ("billiard.exceptions" | "celery.exceptions", "SoftTimeLimitExceeded") => {
            exceptions::SOFT_TIME_LIMIT_EXCEEDED
        }
        ("billiard.exceptions" | "celery.exceptions", "WorkerLostError") => exceptions::WORKER_LOST,
        _ => exceptions::TASK_FAILED,
    }
}

/// Returns the closest cause, whose own causes are its previous exceptions.
fn previous(id: &str, causes: &[Cause]) -> Result<Option<Zval>, Thrown> {
    let mut previous: Option<Zval> = None;
    for cause in causes.iter().rev() {
        let failure = Failure {
            task_id: id,
            class: &cause.exc_type,
            module: Some(&cause.exc_module),
            arguments: value::list([])?,
            traceback: Some(&cause.traceback),
        };
        let kind = kind(&State::Failure, &cause.exc_module, &cause.exc_type);
        let mut exception = failure.exception(kind, cause.message.as_str());
        if let Some(earlier) = previous.take() {
            exception = exception.caused_by(earlier);
        }
        previous = Some(exception.into_value()?);
    }
    Ok(previous)
}
