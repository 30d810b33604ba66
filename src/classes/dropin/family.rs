//! `CeleryAbstract`, `Celery`, `CeleryAdvanced` and their counterparts under `Celery\`.
//!
//! A constructor does not connect; the first post does. An object of a subclass that never called
//! its parent's constructor is valid, but its methods throw an exception that says so.

mod build;
mod client;
mod many;

use ext_php_rs::types::Zval;

use crate::ffi::bailout;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, alias, method, optional, required};
use crate::ffi::object::{self, Blank, Serializable};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;

pub(crate) use self::client::Client;
use crate::classes::dropin::api::{
    Api, held_argument, optional_text, required_text, text_argument,
};
use crate::classes::dropin::async_result::{self, AsyncResult};
use crate::replies::Wanted;
use crate::results::{self, Reading};
use crate::{broker, messages, post};

/// Declares the classes.
pub(crate) fn declare() -> Result<(), DeclareError> {
    let base = Class::new("CeleryAbstract").made_abstract().with([
        method(
            "BuildConnection",
            handler!(build::build_connection),
            [
                required("connection_details").sensitive(),
                optional("is_backend", "false").sensitive(),
            ],
        ),
        method(
            "InitializeAMQPConnection",
            handler!(build::initialize_amqp_connection),
            [required("details").sensitive()],
        )
        .made_static(),
        method(
            "PostTask",
            handler!(post_task),
            post_parameters("task_args"),
        ),
        method(
            "PostTasks",
            handler!(many::post_tasks),
            [
                required("tasks"),
                optional("async_result", "true"),
                optional("routing_key", "'celery'"),
                optional("task_args", "[]"),
            ],
        ),
        method("flush", handler!(flush), []).returning(Type::VOID),
        method(
            "getAsyncResultMessage",
            handler!(result_message),
            [
                required("taskName"),
                required("taskId"),
                optional("args", "null"),
                optional("removeMessageFromQueue", "true"),
            ],
        ),
    ]);
    let class = base.declare()?;
    alias(class, "Celery\\CeleryAbstract")?;
    // The object holds credentials.
    object::attach::<Client>(class, Serializable::No);

    Class::new("Celery")
        .extending("celeryabstract")
        .with([method(
            "__construct",
            handler!(build::construct),
            build::connection_parameters(true),
        )])
        .declare()?;
    Class::new("CeleryAdvanced")
        .extending("celeryabstract")
        .with([method(
            "__construct",
            handler!(build::construct_advanced),
            advanced_parameters(),
        )])
        .declare()?;

    Class::new("Celery\\Celery")
        .extending("celeryabstract")
        .with([
            method(
                "__construct",
                handler!(build::construct_namespaced),
                build::connection_parameters(false),
            ),
            method("PostTask", handler!(post_task), post_parameters("options")),
        ])
        .declare()?;
    Class::new("Celery\\CeleryAdvanced")
        .extending("celeryadvanced")
        .with([
            method(
                "__construct",
                handler!(build::construct_advanced_namespaced),
                advanced_parameters(),
            ),
            method("PostTask", handler!(post_task), post_parameters("options")),
        ])
        .declare()?;
    Ok(())
}

fn advanced_parameters() -> Vec<Param> {
    vec![
        required("broker_connection").sensitive(),
        optional("backend_connection", "false").sensitive(),
    ]
}

fn post_parameters(last: &'static str) -> Vec<Param> {
    vec![
        required("task"),
        required("args"),
        optional("async_result", "true"),
        optional("routing_key", "'celery'"),
        optional(last, "[]"),
    ]
}

/// Implements `PostTask($task, $args, $async_result = true, $routing_key = 'celery', $task_args =
/// [])`.
fn post_task(call: &mut Call<'_>) -> Result<(), Thrown> {
    // The state is copied out of the object first. Encoding the arguments runs PHP code, which may
    // change the object.
    let client = call.state::<Client>()?;
    let (api, broker, backend) = (client.api, client.broker()?, client.backend()?);

    let name = held_argument(call, 0, "task name")?;
    let name = required_text(&name, "task name")?;
    let args = call
        .argument(1)
        .ok_or_else(|| Thrown::celery("PostTask() needs arguments."))?;
    let wants_result = call.argument(2).is_none_or(Zval::coerce_to_bool);
    let routing_key = optional_text(call, 3, "routing key")?;
    let wants_reply = wants_result && backend.is_rabbitmq();
    let message = post::prepare(
        &name,
        args,
        [call.argument(4), None],
        routing_key.as_deref(),
        &broker,
        wants_reply,
    )?;

    if !wants_result {
        broker::publish(&broker, &message, &Wanted::default())?;
        call.give_bool(true);
        return Ok(());
    }
    // The result object is created before anything is sent, because PHP ends the script if it has
    // no memory for it.
    let mut result = bailout::catch(Blank::<AsyncResult>::new)?;
    let wanted = if wants_reply {
        Wanted::of(vec![message.task_id().to_owned()])?
    } else {
        Wanted::default()
    };
    broker::publish(&broker, &message, &wanted)?;
    call.give(result.value());
    result.fill(AsyncResult::posted(api, message, broker, backend));
    Ok(())
}

/// Implements `flush()`: waits for the answers of pipelined posts to this client's broker.
fn flush(call: &mut Call<'_>) -> Result<(), Thrown> {
    let broker = call.state::<Client>()?.broker()?;
    broker::flush(&broker)
}

/// Implements `getAsyncResultMessage($taskName, $taskId, $args = null, $removeMessageFromQueue =
/// true)`.
fn result_message(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?;
    let (api, backend) = (client.api, client.backend()?);
    let id = text_argument(call, 1, "task id")?;
    let reading = match call.argument(3) {
        Some(remove) if !remove.coerce_to_bool() => Reading::Keep,
        // Under `Celery\` results stay, except if the caller asks for the removal.
        Some(_) if api == Api::Namespaced => Reading::Consume,
        _ => async_result::reading(api),
    };
    let message = results::read(&backend, &id, reading, |document| {
        messages::result_message(&document)
    })?;
    match message {
        Some(message) => call.give(message),
        None => call.give_bool(false),
    }
    Ok(())
}
