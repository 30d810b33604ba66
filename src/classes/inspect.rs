//! `Inspect`: questions to the workers.

use std::rc::Rc;
use std::time::Duration;

use celery_protocol::control::Request;
use ext_php_rs::types::Zval;
use serde_json::Value;

use super::interfaces::RESULT;
use super::private;
use super::remote::id_of_result;
use crate::client::Config;
use crate::control::ask;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, method, optional, variadic};
use crate::ffi::object::{self, Serializable, state};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;

pub(crate) const NAME: &str = "Celery\\Inspect";

/// Who is asked, and how long.
#[derive(Clone)]
pub(crate) struct Questions {
    pub(crate) client: Rc<Config>,
    pub(crate) destination: Option<Vec<String>>,
    pub(crate) timeout: Duration,
    pub(crate) limit: Option<usize>,
    pub(crate) pattern: Option<String>,
    pub(crate) matcher: Option<String>,
}

/// The state of an inspect object.
#[derive(Clone, Default)]
pub(crate) struct State {
    questions: Option<Rc<Questions>>,
}

state!(State, "Celery\\Inspect");

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let question = |name, handler| method(name, handler, []).returning(Type::ARRAY);
    let id = RESULT.or(Type::STRING);
    let class = Class::closed(NAME)
        .with([
            private::constructor(),
            question("active", handler!(active)),
            question("reserved", handler!(reserved)),
            question("scheduled", handler!(scheduled)),
            question("revoked", handler!(revoked)),
            method(
                "registered",
                handler!(registered),
                [variadic("taskInfoItems").typed(Type::STRING)],
            )
            .returning(Type::ARRAY),
            question("stats", handler!(stats)),
            method(
                "conf",
                handler!(conf),
                [optional("withDefaults", "false").typed(Type::BOOL)],
            )
            .returning(Type::ARRAY),
            question("activeQueues", handler!(active_queues)),
            method(
                "queryTask",
                handler!(query_task),
                [variadic("ids").typed(id)],
            )
            .returning(Type::ARRAY),
            question("ping", handler!(ping)),
            question("report", handler!(report)),
            question("clock", handler!(clock)),
        ])
        .declare()?;
    object::attach::<State>(class, Serializable::No);
    Ok(())
}

/// Creates the object that asks these questions.
pub(super) fn make(questions: Questions) -> Result<Zval, Thrown> {
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::state_of::<State>(object)?.questions = Some(Rc::new(questions));
    }
    Ok(made)
}

/// Asks the workers, and returns their answers to PHP.
fn question(call: &mut Call<'_>, mut request: Request) -> Result<(), Thrown> {
    let questions = call.state::<State>()?.questions.clone();
    let questions = questions
        .ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))?;
    request.destination.clone_from(&questions.destination);
    request.pattern.clone_from(&questions.pattern);
    request.matcher.clone_from(&questions.matcher);
    let answers = ask(
        &questions.client,
        request,
        questions.limit,
        questions.timeout,
    )?;
    call.give(answers);
    Ok(())
}

/// Returns the arguments of a variadic parameter as texts. A result counts as its id.
fn texts(call: &Call<'_>) -> Result<Vec<Value>, Thrown> {
    let text = |(index, given): (usize, &Zval)| {
        let given = given.dereference();
        if let Some(id) = id_of_result(given) {
            return Ok(Value::from(id));
        }
        match std::str::from_utf8(value::bytes(given).unwrap_or_default()) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err(call.refuse(index, "must be valid UTF-8")),
        }
    };
    call.rest(0).iter().enumerate().map(text).collect()
}

fn active(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("active").argument("safe", Value::Null))
}

fn reserved(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("reserved"))
}

fn scheduled(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("scheduled"))
}

fn revoked(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("revoked"))
}

fn registered(call: &mut Call<'_>) -> Result<(), Thrown> {
    let items = texts(call)?;
    question(
        call,
        Request::new("registered").argument("taskinfoitems", items),
    )
}

fn stats(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("stats"))
}

fn conf(call: &mut Call<'_>) -> Result<(), Thrown> {
    let with_defaults = call.argument(0).is_some_and(Zval::is_true);
    question(
        call,
        Request::new("conf").argument("with_defaults", with_defaults),
    )
}

fn active_queues(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("active_queues"))
}

fn query_task(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ids = texts(call)?;
    question(call, Request::new("query_task").argument("ids", ids))
}

fn ping(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("ping"))
}

fn report(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("report"))
}

fn clock(call: &mut Call<'_>) -> Result<(), Thrown> {
    question(call, Request::new("clock"))
}
