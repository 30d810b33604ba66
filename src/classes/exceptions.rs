//! The exceptions. They are plain PHP exceptions with declared properties for further data.

use ext_php_rs::flags::{DataType, PropertyFlags};
use ext_php_rs::types::Zval;

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, alias, method};
use crate::ffi::throw::{self, Thrown};
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
    let base = Class {
        parent: Some("exception"),
        ..Class::new("CeleryException")
    };
    alias(base.declare()?, "Celery\\CeleryException")?;

    let timeout = Class {
        parent: Some("celeryexception"),
        ..Class::new("CeleryTimeoutException")
    };
    alias(timeout.declare()?, "Celery\\CeleryTimeoutException")?;

    let connection = Class {
        parent: Some("celeryexception"),
        ..Class::new("CeleryConnectionException")
    };
    alias(connection.declare()?, "Celery\\CeleryConnectionException")?;

    let mut unknown = Zval::new();
    unknown.set_bool(false);
    let publish = Class {
        parent: Some("celeryexception"),
        methods: vec![
            method("outcomeUnknown", handler!(outcome_unknown), [])
                .returning(DataType::Bool, false),
            method("taskId", handler!(task_id), []).returning(DataType::String, true),
            method("taskIds", handler!(task_ids), []).returning(DataType::Array, false),
        ],
        properties: vec![
            Property {
                name: OUTCOME_UNKNOWN,
                flags: PropertyFlags::Protected,
                default: unknown,
            },
            Property {
                name: TASK_ID,
                flags: PropertyFlags::Protected,
                default: Zval::null(),
            },
            Property {
                name: TASK_IDS,
                flags: PropertyFlags::Protected,
                default: Zval::null(),
            },
        ],
        ..Class::new(PUBLISH)
    };
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
