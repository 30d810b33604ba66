//! `Client`: the settings of a broker and a result backend, and everything that they are needed for.
//!
//! A client holds no connection: those belong to the process. Copies with other settings share
//! them.

mod batch;
pub(crate) mod prepared;
mod queues;
pub(crate) mod sending;
pub(crate) mod settings;
pub(crate) mod state;
mod url;

use std::rc::Rc;

use ext_php_rs::types::Zval;

use self::state::{Client, NAME};
use crate::broker;
use crate::client::Config;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, method, required, variadic};
use crate::ffi::object::{self, Serializable};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;

use super::{
    control, dead_letters, dropin, events, interfaces, options, result, schedules, signature,
    waiting_task,
};

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let class = Class::closed(NAME)
        .implementing("celery\\clientinterface")
        .with([
            method("__construct", handler!(construct), settings::parameters()),
            method("with", handler!(with), settings::parameters_of_copy())
                .returning(Type::SELF)
                .made_kept(),
            method("signature", handler!(signature), signature::parameters())
                .returning(interfaces::SIGNATURE),
            method(
                "sendTask",
                handler!(sending::send_task),
                options::parameters_of_send_task(),
            )
            .returning(interfaces::RESULT),
            method("send", handler!(sending::send), interfaces::send())
                .returning(interfaces::RESULT_INTERFACE),
            method(
                "sendTasks",
                handler!(batch::send_tasks),
                interfaces::send_tasks(),
            )
            .returning(interfaces::RESULT_SET),
            method("result", handler!(result), interfaces::id()).returning(interfaces::RESULT),
            method(
                "results",
                handler!(super::result_set::of_client),
                interfaces::results(),
            )
            .returning(interfaces::RESULT_SET),
            method(
                "groupResult",
                handler!(super::group_result::of_client),
                interfaces::id(),
            )
            .returning(interfaces::GROUP_RESULT.nullable()),
            method(
                "fromCelery",
                handler!(from_celery),
                [required("celery").typed(Type::class("CeleryAbstract"))],
            )
            .made_static()
            .returning(Type::SELF),
            method("parseUrl", handler!(url::parse), url::parameters())
                .made_static()
                .returning(Type::ARRAY),
            method("purge", handler!(queues::purge), queue_names()).returning(Type::INT),
            method("queueLengths", handler!(queues::lengths), queue_names()).returning(Type::ARRAY),
            method("heldTasks", handler!(queues::held), []).returning(Type::INT),
            method(
                "waitingTasks",
                handler!(waiting_task::of_client),
                waiting_task::parameters(),
            )
            .returning(Type::ARRAY),
            method("deadLetters", handler!(dead_letters::of_client), [])
                .returning(dead_letters::TYPE),
            method("flush", handler!(flush), []).returning(Type::VOID),
            method("control", handler!(control::of_client), []).returning(control::TYPE),
            method("events", handler!(events::of_client), events::parameters())
                .returning(events::TYPE),
            method("schedules", handler!(schedules::of_client), []).returning(schedules::TYPE),
            method("__debugInfo", handler!(debug_info), []).returning(Type::ARRAY),
        ])
        .declare()?;
    // The objects hold credentials.
    object::attach::<Client>(class, Serializable::No);
    Ok(())
}

fn queue_names() -> [Param; 1] {
    [variadic("queues").typed(Type::STRING)]
}

/// Returns the settings of the client that is `$this`.
fn config(call: &mut Call<'_>) -> Result<Rc<Config>, Thrown> {
    call.state::<Client>()?.config()
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    if call.state::<Client>()?.config().is_ok() {
        return Err(object::is_constructed());
    }
    let made = Client::new(settings::read(call)?)?;
    *call.state::<Client>()? = made;
    Ok(())
}

/// Implements `fromCelery()`: a client with the connections and the queue of a drop-in client.
fn from_celery(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut celery = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let Some(old) = celery.object_mut() else {
        return Ok(());
    };
    let (broker, backend) = object::state_of::<dropin::family::Client>(old)?.connections()?;
    let queue = broker.queue_of_client()?;
    let config = Config {
        queue,
        ..Config::of(broker, backend)
    };
    give(call, Client::of(config)?)
}

/// Gives a client to PHP.
fn give(call: &mut Call<'_>, client: Client) -> Result<(), Thrown> {
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        *object::state_of::<Client>(object)? = client;
    }
    call.give(made);
    Ok(())
}

/// Implements `with()`.
fn with(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut draft = call.state::<Client>()?.draft()?;
    settings::change(call, &mut draft)?;
    give(call, Client::new(draft)?)
}

/// Implements `signature()`.
fn signature(call: &mut Call<'_>) -> Result<(), Thrown> {
    let made = signature::bound(call)?;
    call.give(made);
    Ok(())
}

/// Implements `result()`, which reads nothing.
fn result(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = config(call)?;
    let id = call.argument(0).and_then(value::bytes).unwrap_or_default();
    let id = String::from_utf8_lossy(id).into_owned();
    if let Err(error) = celery_protocol::names::check_task_id(&id) {
        return Err(call.refuse(0, &format!("cannot be used: {error}")));
    }
    let made = result::make(&config, &id, None, Zval::null())?;
    call.give(made);
    Ok(())
}

/// Implements `flush()`.
fn flush(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = config(call)?;
    broker::flush(&config.broker)
}

/// Implements `__debugInfo()`: addresses without credentials, and settings.
fn debug_info(call: &mut Call<'_>) -> Result<(), Thrown> {
    let Ok(config) = config(call) else {
        call.give(value::list([])?);
        return Ok(());
    };
    let entries = settings::shown(&config)
        .into_iter()
        .map(|(name, value)| (value::string(name.as_bytes()), value));
    call.give(value::map(entries.collect::<Vec<_>>())?);
    Ok(())
}
