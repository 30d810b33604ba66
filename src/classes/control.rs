//! `Control`: commands to the workers.
//!
//! Every method builds Celery's request and sends it. With `$reply`, the answers come by node name.

use std::rc::Rc;

use celery_protocol::RawValue;
use celery_protocol::control::Request;
use ext_php_rs::types::Zval;
use serde_json::{Map, Value};

use super::client::state::Client;
use super::interfaces::{DURATION, RESULT_INTERFACE};
use super::remote::{NODES, given, is_true, limit, nodes, optional_text, task_ids, text, time};
use super::{durations, inspect, private};
use crate::client::Config;
use crate::control::{ask, broadcast};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Method, Param, method, optional, required};
use crate::ffi::object::{self, Serializable, state};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};
use crate::values::encode;

const NAME: &str = "Celery\\Control";
pub(super) const TYPE: Type = Type::class(NAME);

/// The state of a control object.
#[derive(Clone, Default)]
pub(crate) struct State {
    client: Option<Rc<Config>>,
}

state!(State, "Celery\\Control");

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let class = Class::closed(NAME)
        .with(questions())
        .with(commands())
        .declare()?;
    object::attach::<State>(class, Serializable::No);
    Ok(())
}

fn text_param(name: &'static str) -> Param {
    required(name).typed(Type::STRING)
}

fn or_null(name: &'static str, of: Type) -> Param {
    optional(name, "null").typed(of.nullable())
}

fn number_of_replies() -> Param {
    or_null("limit", Type::INT)
}

/// Returns the methods whose replies do not depend on `$reply`.
fn questions() -> Vec<Method> {
    vec![
        private::constructor(),
        method(
            "inspect",
            handler!(self::inspect),
            [
                destination(),
                timeout(),
                number_of_replies(),
                or_null("pattern", Type::STRING),
                or_null("matcher", Type::STRING),
            ],
        )
        .returning(Type::class(inspect::NAME)),
        method(
            "ping",
            handler!(ping),
            [destination(), timeout(), number_of_replies()],
        )
        .returning(Type::ARRAY),
        method("shutdown", handler!(shutdown), [destination()]).returning(Type::VOID),
        method("heartbeat", handler!(heartbeat), [destination()]).returning(Type::VOID),
        method(
            "broadcast",
            handler!(self::any),
            [
                text_param("command"),
                optional("arguments", "[]").typed(Type::ARRAY),
                destination(),
                optional("reply", "false").typed(Type::BOOL),
                timeout(),
                number_of_replies(),
                or_null("pattern", Type::STRING),
                or_null("matcher", Type::STRING),
            ],
        )
        .returning(Type::ARRAY),
    ]
}

/// Returns the methods that wait for replies if `$reply` is true.
fn commands() -> Vec<Method> {
    let signal = || optional("signal", "'SIGTERM'").typed(Type::STRING);
    let terminate = || optional("terminate", "false").typed(Type::BOOL);
    let tasks = RESULT_INTERFACE.or(Type::STRING).or(Type::ARRAY);
    let task = || required("task").typed(tasks);
    let count = || optional("n", "1").typed(Type::INT);
    let command = |name, handler, own: Vec<Param>| {
        method(name, handler, with_reply(own)).returning(Type::ARRAY)
    };
    vec![
        command(
            "revoke",
            handler!(revoke),
            vec![task(), terminate(), signal()],
        ),
        command(
            "revokeByStampedHeaders",
            handler!(revoke_by_stamped_headers),
            vec![
                required("headers").typed(Type::ARRAY),
                terminate(),
                signal(),
            ],
        ),
        command(
            "terminate",
            handler!(self::terminate),
            vec![task(), signal()],
        ),
        command(
            "rateLimit",
            handler!(rate_limit),
            vec![
                text_param("task"),
                required("rateLimit").typed(Type::STRING.or(Type::INT).or(Type::FLOAT)),
            ],
        ),
        command(
            "timeLimit",
            handler!(time_limit),
            vec![
                text_param("task"),
                or_null("soft", DURATION),
                or_null("hard", DURATION),
            ],
        ),
        command(
            "addConsumer",
            handler!(add_consumer),
            vec![
                text_param("queue"),
                or_null("exchange", Type::STRING),
                optional("exchangeType", "'direct'").typed(Type::STRING),
                or_null("routingKey", Type::STRING),
                optional("options", "[]").typed(Type::ARRAY),
            ],
        ),
        command(
            "cancelConsumer",
            handler!(cancel_consumer),
            vec![text_param("queue")],
        ),
        command("poolGrow", handler!(pool_grow), vec![count()]),
        command("poolShrink", handler!(pool_shrink), vec![count()]),
        command(
            "autoscale",
            handler!(autoscale),
            vec![
                required("max").typed(Type::INT),
                required("min").typed(Type::INT),
            ],
        ),
        command(
            "poolRestart",
            handler!(pool_restart),
            vec![
                or_null("modules", Type::ARRAY),
                optional("reload", "false").typed(Type::BOOL),
            ],
        ),
        command("enableEvents", handler!(enable_events), vec![]),
        command("disableEvents", handler!(disable_events), vec![]),
    ]
}

/// Implements `Client::control()`.
pub(super) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?.config()?;
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::state_of::<State>(object)?.client = Some(client);
    }
    call.give(made);
    Ok(())
}

fn destination() -> Param {
    optional("destination", "null").typed(NODES)
}

fn timeout() -> Param {
    optional("timeout", "null").typed(DURATION.nullable())
}

/// Adds the parameters that say who answers, and for how long to wait.
fn with_reply(mut own: Vec<Param>) -> Vec<Param> {
    own.extend([
        destination(),
        optional("reply", "false").typed(Type::BOOL),
        timeout(),
    ]);
    own
}

fn config(call: &mut Call<'_>) -> Result<Rc<Config>, Thrown> {
    let client = call.state::<State>()?.client.clone();
    client.ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))
}

/// Sends a command. The parameters of [`with_reply`] begin at `index`.
fn send(call: &mut Call<'_>, request: Request, index: usize) -> Result<(), Thrown> {
    send_to(call, request, index, None)
}

fn send_to(
    call: &mut Call<'_>,
    mut request: Request,
    index: usize,
    limit: Option<usize>,
) -> Result<(), Thrown> {
    request.destination = nodes(call, index)?;
    let wants_reply = is_true(call, index + 1);
    let time = time(call, index + 2)?;
    let config = config(call)?;
    let replies = if wants_reply {
        ask(&config, request, limit, time)?
    } else {
        broadcast(&config, &request)?;
        value::list([])?
    };
    call.give(replies);
    Ok(())
}

/// Sends a command that no worker answers.
fn send_only(call: &mut Call<'_>, mut request: Request) -> Result<(), Thrown> {
    request.destination = nodes(call, 0)?;
    let config = config(call)?;
    broadcast(&config, &request)
}

/// Implements `inspect()`.
fn inspect(call: &mut Call<'_>) -> Result<(), Thrown> {
    let questions = inspect::Questions {
        destination: nodes(call, 0)?,
        timeout: time(call, 1)?,
        limit: limit(call, 2)?,
        pattern: optional_text(call, 3)?,
        matcher: optional_text(call, 4)?,
        client: config(call)?,
    };
    let made = inspect::make(questions)?;
    call.give(made);
    Ok(())
}

fn ping(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut request = Request::new("ping");
    request.destination = nodes(call, 0)?;
    let (time, limit) = (time(call, 1)?, limit(call, 2)?);
    let config = config(call)?;
    let replies = ask(&config, request, limit, time)?;
    call.give(replies);
    Ok(())
}

fn revoke(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ids = task_ids(call, 0)?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let request = Request::revoke(&ids, is_true(call, 1), &text(call, 2, "SIGTERM")?);
    send(call, request, 3)
}

/// Implements `terminate()`.
fn terminate(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ids = task_ids(call, 0)?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let request = Request::revoke(&ids, true, &text(call, 1, "SIGTERM")?);
    send(call, request, 2)
}

fn revoke_by_stamped_headers(call: &mut Call<'_>) -> Result<(), Thrown> {
    let headers = object_argument(call, 0, "headers")?;
    if headers.as_object().is_none_or(Map::is_empty) {
        return Err(call.refuse(0, "must not be empty"));
    }
    let request = Request::new("revoke_by_stamped_headers")
        .argument("headers", headers)
        .argument("terminate", is_true(call, 1))
        .argument("signal", text(call, 2, "SIGTERM")?);
    send(call, request, 3)
}

fn shutdown(call: &mut Call<'_>) -> Result<(), Thrown> {
    send_only(call, Request::new("shutdown"))
}

fn rate_limit(call: &mut Call<'_>) -> Result<(), Thrown> {
    let limit = match call.argument(1) {
        Some(limit) if limit.is_long() => Value::from(limit.long().unwrap_or_default()),
        Some(limit) if limit.is_double() => match limit.double() {
            Some(limit) if limit.is_finite() => Value::from(limit),
            _ => return Err(call.refuse(1, "must be finite")),
        },
        _ => Value::from(text(call, 1, "")?),
    };
    let request = Request::new("rate_limit")
        .argument("task_name", text(call, 0, "")?)
        .argument("rate_limit", limit);
    send(call, request, 2)
}

fn time_limit(call: &mut Call<'_>) -> Result<(), Thrown> {
    let seconds = |index| -> Result<Value, Thrown> {
        let given = durations::duration(call, index)?;
        Ok(given.map_or(Value::Null, |time| Value::from(time.as_secs_f64())))
    };
    let request = Request::new("time_limit")
        .argument("task_name", text(call, 0, "")?)
        .argument("soft", seconds(1)?)
        .argument("hard", seconds(2)?);
    send(call, request, 3)
}

fn add_consumer(call: &mut Call<'_>) -> Result<(), Thrown> {
    let or_null = |index| -> Result<Value, Thrown> {
        Ok(optional_text(call, index)?.map_or(Value::Null, Value::from))
    };
    let mut request = Request::new("add_consumer")
        .argument("queue", text(call, 0, "")?)
        .argument("exchange", or_null(1)?)
        .argument("exchange_type", text(call, 2, "direct")?)
        .argument("routing_key", or_null(3)?);
    if let Value::Object(options) = object_argument(call, 4, "options")? {
        for (name, value) in options {
            request = request.argument(&name, value);
        }
    }
    send(call, request, 5)
}

fn cancel_consumer(call: &mut Call<'_>) -> Result<(), Thrown> {
    let request = Request::new("cancel_consumer").argument("queue", text(call, 0, "")?);
    send(call, request, 1)
}

/// Returns a number of processes, which is at least 1.
fn count(call: &Call<'_>) -> Result<i64, Thrown> {
    match call.argument(0).and_then(Zval::long).unwrap_or(1) {
        count if count >= 1 => Ok(count),
        _ => Err(call.refuse(0, "must be greater than 0")),
    }
}

fn pool_grow(call: &mut Call<'_>) -> Result<(), Thrown> {
    let request = Request::new("pool_grow").argument("n", count(call)?);
    send(call, request, 1)
}

fn pool_shrink(call: &mut Call<'_>) -> Result<(), Thrown> {
    let request = Request::new("pool_shrink").argument("n", count(call)?);
    send(call, request, 1)
}

fn autoscale(call: &mut Call<'_>) -> Result<(), Thrown> {
    let number = |index| call.argument(index).and_then(Zval::long).unwrap_or(0);
    let (max, min) = (number(0), number(1));
    if min < 0 || max < min {
        return Err(call.refuse(0, "must not be less than $min, which must not be negative"));
    }
    let request = Request::new("autoscale")
        .argument("max", max)
        .argument("min", min);
    send(call, request, 2)
}

fn pool_restart(call: &mut Call<'_>) -> Result<(), Thrown> {
    let modules = match given(call, 0) {
        None => Value::Null,
        Some(modules) => {
            let modules = json(modules, "modules")?;
            let is_list = modules
                .as_array()
                .is_some_and(|all| all.iter().all(Value::is_string));
            if !is_list {
                return Err(call.refuse(0, "must be a list of names"));
            }
            modules
        }
    };
    let request = Request::new("pool_restart")
        .argument("modules", modules)
        .argument("reload", is_true(call, 1))
        .argument("reloader", Value::Null);
    send(call, request, 2)
}

fn enable_events(call: &mut Call<'_>) -> Result<(), Thrown> {
    send(call, Request::new("enable_events"), 0)
}

fn disable_events(call: &mut Call<'_>) -> Result<(), Thrown> {
    send(call, Request::new("disable_events"), 0)
}

fn heartbeat(call: &mut Call<'_>) -> Result<(), Thrown> {
    send_only(call, Request::new("heartbeat"))
}

/// Implements `broadcast()`.
fn any(call: &mut Call<'_>) -> Result<(), Thrown> {
    let name = text(call, 0, "")?;
    if name.is_empty() {
        return Err(call.refuse(0, "must not be empty"));
    }
    let mut request = Request::new(name);
    request.arguments = object_argument(call, 1, "arguments")?;
    request.pattern = optional_text(call, 6)?;
    request.matcher = optional_text(call, 7)?;
    let limit = limit(call, 5)?;
    send_to(call, request, 2, limit)
}

/// Returns an array argument with names as JSON. An empty array is an empty object.
fn object_argument(call: &Call<'_>, index: usize, root: &str) -> Result<Value, Thrown> {
    let Some(array) = call.argument(index) else {
        return Ok(Value::Object(Map::new()));
    };
    let has_index =
        value::find_in_array(array, |key, _| matches!(key, Key::Index(_)).then_some(()));
    if has_index.is_some() {
        return Err(call.refuse(index, "must have names as keys"));
    }
    parsed(&encode::encode_names(&array.shallow_clone(), root)?)
}

fn json(value: &Zval, root: &str) -> Result<Value, Thrown> {
    // PHP code that runs meanwhile may replace the value.
    parsed(&encode::encode(&value.shallow_clone(), root)?)
}

fn parsed(text: &RawValue) -> Result<Value, Thrown> {
    serde_json::from_str(text.get())
        .map_err(|error| Thrown::celery(format!("The command was not sent: {error}.")))
}
