//! `Result`: a task that was sent, and what came of it.
//!
//! What is known without asking is in readonly properties. The state in Rust holds the client's
//! settings and a final result. It holds no connection.

pub(crate) mod failure;
pub(crate) mod model;
mod parents;
pub(crate) mod place;
pub(crate) mod shared;
mod stored;

use std::rc::Rc;
use std::time::Duration;

use celery_client::blocking::Deadline;
use celery_protocol::result::State as TaskState;
use ext_php_rs::types::Zval;

pub(crate) use self::model::make;
use self::model::{
    End, ID, NAME, State, TASK, at, ended, id_of, is_success, read_document, settle, state_of, this,
};
use self::parents::Parents;
pub(crate) use self::place::Place;
use self::shared::{Get, Outcome, forget_all, outcome, report, revoke_all, too_late};
use super::{dropin, interfaces, private, task_meta};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, optional, required};
use crate::ffi::object::{self, Serializable};
use crate::ffi::throw::{self, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::gather::Gather;
use crate::messages::Document;
use crate::news::News;
use crate::results;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let relative = Type::class("Celery\\Result|Celery\\GroupResult").nullable();
    let class = Class::closed(NAME)
        .implementing("celery\\resultinterface")
        .having([
            Property::readonly("id", Type::STRING),
            Property::readonly("name", Type::STRING.nullable()),
            Property::readonly("parent", relative),
        ])
        .with([
            private::constructor(),
            method(
                "fromAsyncResult",
                handler!(from_async_result),
                [required("result").typed(Type::class("AsyncResult"))],
            )
            .made_static()
            .returning(Type::SELF),
            method("toAsyncResult", handler!(to_async_result), [])
                .returning(Type::class("AsyncResult")),
            method(
                "succeeded",
                handler!(succeeded),
                [
                    required("value").typed(Type::MIXED),
                    optional("id", "'test'").typed(Type::STRING),
                ],
            )
            .made_static()
            .returning(Type::SELF),
            method(
                "failedWith",
                handler!(failed_with),
                [required("exception").typed(Type::class("Celery\\TaskException"))],
            )
            .made_static()
            .returning(Type::SELF),
            method("get", handler!(get), interfaces::get()).returning(Type::MIXED),
            method("ready", handler!(ready), []).returning(Type::BOOL),
            method("successful", handler!(successful), []).returning(Type::BOOL),
            method("failed", handler!(failed), []).returning(Type::BOOL),
            method("state", handler!(state_name), []).returning(Type::STRING),
            method("meta", handler!(meta), []).returning(Type::class(task_meta::NAME)),
            method("children", handler!(children), []).returning(Type::ARRAY),
            method("forget", handler!(forget), []).returning(Type::VOID),
            method("revoke", handler!(revoke), interfaces::revoke()).returning(Type::VOID),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
            method("__serialize", handler!(stored::serialize), []).returning(Type::ARRAY),
            method(
                "__unserialize",
                handler!(stored::unserialize),
                [required("data").typed(Type::ARRAY)],
            )
            .returning(Type::VOID),
        ])
        .declare()?;
    object::attach::<State>(class, Serializable::Yes);
    Ok(())
}

/// Reads the stored document once, and keeps it if it is final.
fn look(result: &Zval) -> Result<Option<Rc<Document>>, Thrown> {
    let (state, id) = (
        state_of(result)?,
        result.object().map(id_of).unwrap_or_default(),
    );
    if let Some(End::Stored(document)) = state.end {
        return Ok(Some(document));
    }
    if state.end.is_some() || state.place.fake().is_some() {
        return Ok(None);
    }
    let backend = state.place.backend()?;
    let deadline = Deadline::after(state.place.command_timeout());
    let stored = results::stored(&backend, state.place.limits(), deadline, &id)?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let document = Rc::new(read_document(&id, &stored)?);
    if document.is_final() {
        settle(result, &document)?;
    }
    Ok(Some(document))
}

/// Implements `get()`.
fn get(call: &mut Call<'_>) -> Result<(), Thrown> {
    let options = Get::of(call)?;
    let this = this(call)?;
    if outcome(&this)?.is_none() {
        await_end(&this, &options)?;
    }
    match outcome(&this)? {
        Some(Outcome::Value(value)) => call.give(value),
        Some(Outcome::Exception(exception)) if options.propagate => {
            return Err(throw::object(exception));
        }
        Some(Outcome::Exception(exception)) => call.give(exception),
        None => {
            let id = this.object().map(id_of).unwrap_or_default();
            return Err(too_late(&[id], Duration::ZERO)?);
        }
    }
    Ok(())
}

/// Waits until the task has ended, or until one of its parents has failed: Celery stores nothing for
/// the tasks after that one.
fn await_end(this: &Zval, options: &Get) -> Result<(), Thrown> {
    let (state, id) = (
        state_of(this)?,
        this.object().map(id_of).unwrap_or_default(),
    );
    let timeout = options.timeout.or(state.place.result_timeout());
    let mut parents = if options.propagate {
        Parents::of(this, &state.place)?
    } else {
        Parents::default()
    };
    if timeout.is_zero() {
        look(this)?;
        return if state_of(this)?.end.is_some() {
            Ok(())
        } else {
            parents.look(&state.place)
        };
    }
    if state.place.fake().is_some() {
        return Err(too_late(&[id], timeout)?);
    }
    let backend = state.place.backend()?;
    let mut ids = parents.ids();
    ids.push(id.clone());
    let mut gather = Gather::start(
        backend,
        state.place.limits(),
        ids,
        timeout,
        options.interval,
    );
    if options.on_message.is_some() {
        gather = gather.with_every_state();
    }
    loop {
        match gather.next()? {
            News::Stored(stored) if stored.task_id != id => {
                parents.note(&stored.task_id, &stored.document)?;
            }
            News::Stored(stored) => {
                let document = Rc::new(read_document(&id, &stored.document)?);
                if document.is_final() {
                    settle(this, &document)?;
                }
                if let Some(function) = &options.on_message {
                    report(function, &state.place, &id, &document)?;
                }
                if stored.is_last {
                    return Ok(());
                }
            }
            News::Done => return Ok(()),
            News::TooLate => return Err(too_late(&[id], timeout)?),
        }
    }
}

fn ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    look(&this)?;
    let is_ready = state_of(&this)?.end.is_some();
    call.give_bool(is_ready);
    Ok(())
}

fn successful(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    look(&this)?;
    let successful = is_success(&state_of(&this)?);
    call.give_bool(successful);
    Ok(())
}

fn failed(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    look(&this)?;
    let state = state_of(&this)?;
    call.give_bool(state.end.is_some() && !is_success(&state));
    Ok(())
}

fn state_name(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let document = look(&this)?;
    let state = state_of(&this)?;
    let name = match (&state.end, &document) {
        (Some(End::Value), _) => TaskState::Success.to_string(),
        (Some(End::Exception), _) => task_meta::state_of_exception(&state).to_string(),
        (_, Some(document)) => document.doc.status.to_string(),
        _ => TaskState::Pending.to_string(),
    };
    call.give_string(&name);
    Ok(())
}

fn meta(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let document = look(&this)?;
    let state = state_of(&this)?;
    let id = this.object().map(id_of).unwrap_or_default();
    let meta = match &state.end {
        Some(End::Value | End::Exception) => task_meta::of_test(&id, &state)?,
        _ => task_meta::make(&state.place, &id, document.as_ref())?,
    };
    call.give(meta);
    Ok(())
}

fn children(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let document = look(&this)?;
    let place = state_of(&this)?.place;
    let children = task_meta::children(&place, document.as_ref())?;
    call.give(children);
    Ok(())
}

/// Implements `forget()`. As in Python, it forgets the parents, too.
fn forget(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    forget_all(&[this])
}

fn revoke(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    revoke_all(call, &[this])
}

fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let id = object::get(call.object()?, ID);
    call.give(value::map([(value::string(b"id"), id)])?);
    Ok(())
}

/// Implements `fromAsyncResult()`. It does not ask the backend, and keeps a final state.
fn from_async_result(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let parts = dropin::async_result::parts(&given)?;
    let place = Place::Connections {
        backend: parts.backend,
        broker: parts.broker,
    };
    let made = at(place, &parts.id, parts.task.as_deref(), Zval::null())?;
    if let Some(document) = parts.document {
        settle(&made, &document)?;
    }
    call.give(made);
    Ok(())
}

fn to_async_result(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let state = state_of(&this)?;
    let object = call.object()?;
    let task = object::get(object, TASK);
    let parts = dropin::async_result::Parts {
        id: id_of(object),
        task: task.str().map(str::to_owned),
        backend: state.place.backend()?,
        broker: state.place.broker()?,
        document: match state.end {
            Some(End::Stored(document)) => Some(document),
            _ => None,
        },
    };
    let made = dropin::async_result::of_parts(parts)?;
    call.give(made);
    Ok(())
}

fn succeeded(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let id = call.argument(1).and_then(Zval::str).unwrap_or("test");
    let made = ended(id, End::Value, given)?;
    call.give(made);
    Ok(())
}

fn failed_with(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let id = super::exceptions::task_id_of(&given);
    let made = ended(&id, End::Exception, given)?;
    call.give(made);
    Ok(())
}
