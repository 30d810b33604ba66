//! `ClientInterface` and `ResultInterface`, and the parameters that their methods share with the
//! classes that implement them.

use crate::ffi::class::{Class, DeclareError, Param, abstract_method, optional, required};
use crate::ffi::types::Type;

/// Seconds or a `DateInterval`.
pub(crate) const DURATION: Type = Type::class("DateInterval").or(Type::FLOAT);
pub(crate) const RESULT: Type = Type::class("Celery\\Result");
pub(crate) const RESULT_INTERFACE: Type = Type::class("Celery\\ResultInterface");
pub(crate) const RESULT_SET: Type = Type::class("Celery\\ResultSet");
pub(crate) const GROUP_RESULT: Type = Type::class("Celery\\GroupResult");
pub(crate) const CANVAS: Type = Type::class("Celery\\Canvas");
pub(crate) const SIGNATURE: Type = Type::class("Celery\\Signature");

/// Declares the interfaces.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::interface("Celery\\ClientInterface")
        .with([
            abstract_method("signature", task()).returning(SIGNATURE),
            abstract_method("sendTask", task()).returning(RESULT),
            abstract_method("send", send()).returning(RESULT_INTERFACE),
            abstract_method("sendTasks", send_tasks()).returning(RESULT_SET),
            abstract_method("result", id()).returning(RESULT),
            abstract_method("results", results()).returning(RESULT_SET),
            abstract_method("groupResult", id()).returning(GROUP_RESULT.nullable()),
            abstract_method("flush", []).returning(Type::VOID),
        ])
        .declare()?;
    Class::interface("Celery\\ResultInterface")
        .implementing("jsonserializable")
        .with([
            abstract_method("get", get()).returning(Type::MIXED),
            abstract_method("ready", []).returning(Type::BOOL),
            abstract_method("successful", []).returning(Type::BOOL),
            abstract_method("failed", []).returning(Type::BOOL),
            abstract_method("forget", []).returning(Type::VOID),
            abstract_method("revoke", revoke()).returning(Type::VOID),
        ])
        .declare()?;
    Ok(())
}

/// Returns the parameters that name a task and its arguments.
pub(crate) fn task() -> Vec<Param> {
    vec![
        required("task").typed(Type::STRING),
        optional("args", "[]").typed(Type::ARRAY),
        optional("kwargs", "[]").typed(Type::ARRAY),
    ]
}

/// Returns the parameters of `send()`.
pub(crate) fn send() -> Vec<Param> {
    [required("canvas").typed(CANVAS)]
        .into_iter()
        .chain(post())
        .collect()
}

/// Returns the parameters of `sendTasks()`.
pub(crate) fn send_tasks() -> Vec<Param> {
    [required("tasks").typed(Type::ITERABLE)]
        .into_iter()
        .chain(post())
        .collect()
}

/// Returns the parameters of everything that posts.
pub(crate) fn post() -> [Param; 3] {
    let retry = Type::class("Celery\\RetryPolicy").or(Type::BOOL);
    let publish = Type::class("Celery\\PublishMode").or(Type::STRING);
    [
        optional("timeout", "null").typed(DURATION.nullable()),
        optional("retry", "null").typed(retry.nullable()),
        optional("publish", "null").typed(publish.nullable()),
    ]
}

/// Returns the parameters of what is found by its id.
pub(crate) fn id() -> Vec<Param> {
    vec![required("id").typed(Type::STRING)]
}

/// Returns the parameters of `results()`.
pub(crate) fn results() -> Vec<Param> {
    vec![required("ids").typed(Type::ITERABLE)]
}

/// Returns the parameters of `get()` of results.
pub(crate) fn get() -> Vec<Param> {
    vec![
        optional("timeout", "null").typed(DURATION.nullable()),
        optional("propagate", "true").typed(Type::BOOL),
        optional("onMessage", "null").typed(Type::CALLABLE.nullable()),
        optional("interval", "0.5").typed(Type::FLOAT),
    ]
}

/// Returns the parameters of `revoke()` of results.
pub(crate) fn revoke() -> Vec<Param> {
    vec![
        optional("terminate", "false").typed(Type::BOOL),
        optional("signal", "'SIGTERM'").typed(Type::STRING),
    ]
}
