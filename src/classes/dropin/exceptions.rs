//! The exceptions of the drop-in. They are plain PHP exceptions with declared properties for further data.

use ext_php_rs::flags::PropertyFlags;
use ext_php_rs::types::Zval;

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, alias, method};
use crate::ffi::throw::{self, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;

/// The property behind `CeleryPublishException::outcomeUnknown()`.
pub(crate) const OUTCOME_UNKNOWN: &str = "outcomeUnknown";
/// The property behind `CeleryPublishException::taskId()`.
pub(crate) const TASK_ID: &str = "taskId";

/// The property behind `CeleryPublishException::taskIds()`.
pub(crate) const TASK_IDS: &str = "taskIds";

const PUBLISH: &str = "CeleryPublishException";

/// Declares the exceptions and their names under `Celery\`.
pub(crate) fn declare() -> Result<(), DeclareError> {
    let base = Class::new("CeleryException").extending("exception");
    alias(base.declare()?, "Celery\\CeleryException")?;

    let timeout = Class::new("CeleryTimeoutException").extending("celeryexception");
    alias(timeout.declare()?, "Celery\\CeleryTimeoutException")?;

    let connection = Class::new("CeleryConnectionException").extending("celeryexception");
    alias(connection.declare()?, "Celery\\CeleryConnectionException")?;

    let mut unknown = Zval::new();
    unknown.set_bool(false);
    let protected = |name, default| Property::untyped(name, PropertyFlags::Protected, default);
    let publish = Class::new(PUBLISH)
        .extending("celeryexception")
        .with([
            method("outcomeUnknown", handler!(outcome_unknown), []).returning(Type::BOOL),
            method("taskId", handler!(task_id), []).returning(Type::STRING.nullable()),
            method("taskIds", handler!(task_ids), []).returning(Type::ARRAY),
        ])
        .having([
            protected(OUTCOME_UNKNOWN, unknown),
            protected(TASK_ID, Zval::null()),
            protected(TASK_IDS, Zval::null()),
        ]);
    alias(publish.declare()?, "Celery\\CeleryPublishException")
}

fn outcome_unknown(call: &mut Call<'_>) -> Result<(), Thrown> {
    let value = throw::read_property(PUBLISH, call.object()?, OUTCOME_UNKNOWN);
    call.give_bool(value.coerce_to_bool());
    Ok(())
}

fn task_id(call: &mut Call<'_>) -> Result<(), Thrown> {
    let value = throw::read_property(PUBLISH, call.object()?, TASK_ID);
    if value.is_string() {
        call.give(value);
    }
    Ok(())
}

fn task_ids(call: &mut Call<'_>) -> Result<(), Thrown> {
    let value = throw::read_property(PUBLISH, call.object()?, TASK_IDS);
    call.give(if value.is_array() {
        value
    } else {
        value::list([])?
    });
    Ok(())
}
