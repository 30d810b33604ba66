//! `AsyncResult`: a task that was posted, and its result.
//!
//! The object fetches a final result once and keeps it. Before that, only the methods that ask the
//! backend return something (`isReady`, `get` and the methods that call them). The object holds no
//! connection, so a script can hold any number of results. As in celery-php, the methods call one
//! another through the object, because a subclass may override them.
//!
//! In both families, `get()` returns the error of a failed task as a value: neither celery-php 2.1
//! nor its 3.0 reads `$propagate`.

mod state;
mod stored;

use std::rc::Rc;
use std::time::{Duration, Instant};

use celery_protocol::result::State;
use ext_php_rs::types::Zval;

pub(crate) use self::state::AsyncResult;
use self::state::{Place, shortened};
use crate::classes::dropin::api::{Api, text_argument};
use crate::connection::Connection;
use crate::connection::details::Details;
use crate::ffi::bailout;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, alias, method, optional, required};
use crate::ffi::interrupt;
use crate::ffi::json::Objects;
use crate::ffi::object::{self, Held, Serializable};
use crate::ffi::throw::{Kind, Thrown, warning};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::messages::Document;
use crate::results::{self, Reading};
use crate::values::{self, type_name};
use crate::{broker, registry, settings};

/// The code of `CeleryTimeoutException`, as in celery-php.
const TIMEOUT_CODE: i64 = 4;
/// The defaults of `get()`, as in celery-php.
const DEFAULT_TIMEOUT: f64 = 10.0;
const DEFAULT_INTERVAL: f64 = 0.5;
/// The shortest interval. A shorter one would only use CPU time.
const SHORTEST_INTERVAL: f64 = 0.001;
/// The longest wait to accept: a year, far from any overflow.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// Returns what to do with a final result that this API reads, if the caller does not decide.
pub(crate) fn reading(api: Api) -> Reading {
    match api {
        Api::DropIn if !settings::current().keep_results => Reading::Consume,
        Api::DropIn | Api::Namespaced => Reading::Keep,
    }
}

/// Declares the class and its name under `Celery\`.
pub(crate) fn declare() -> Result<(), DeclareError> {
    let class = Class::new("AsyncResult")
        .with([
            method(
                "__construct",
                handler!(construct),
                [
                    // Traces hide both: if a caller confuses their order, the id is the array of
                    // connection details, with a password.
                    required("id").sensitive(),
                    required("connection_details").sensitive(),
                    optional("task_name", "null"),
                    optional("task_args", "null"),
                ],
            ),
            method("getId", handler!(get_id), []),
            method("isReady", handler!(is_ready), []),
            method("ready", handler!(ready), []),
            method("getStatus", handler!(get_status), []),
            method("isSuccess", handler!(is_success), []),
            method("successful", handler!(successful), []),
            method("failed", handler!(failed), []),
            method("getTraceback", handler!(get_traceback), []),
            method("getResult", handler!(get_result), []),
            method("get", handler!(get), wait_parameters()),
            method("wait", handler!(wait), wait_parameters()),
            method("forget", handler!(forget), []),
            method("revoke", handler!(revoke), []),
            method("__get", handler!(property), [required("property")]),
            method("__serialize", handler!(stored::serialize), []).returning(Type::ARRAY),
            method(
                "__unserialize",
                handler!(stored::unserialize),
                [required("data").typed(Type::ARRAY)],
            )
            .returning(Type::VOID),
        ])
        .declare()?;
    alias(class, "Celery\\AsyncResult")?;
    object::attach::<AsyncResult>(class, Serializable::Yes);
    Ok(())
}

fn wait_parameters() -> Vec<Param> {
    vec![
        optional("timeout", "10"),
        optional("propagate", "true"),
        optional("interval", "0.5"),
    ]
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let id = text_argument(call, 0, "task id")?;
    let connection =
        Details::from_array(call.argument(1), "$connection_details")?.connect_later(None)?;
    registry::remember(&connection);
    let task_name = match call.argument(2).filter(|name| !name.is_null()) {
        Some(name) => values::text(name)?,
        None => None,
    };
    let args = match call.argument(3).filter(|args| !args.is_null()) {
        // The arguments are only for messages, so those that JSON cannot express are left out.
        Some(args) => match values::encode(args, values::Root::Option("task_args")) {
            Ok(args) => Some(args),
            Err(Thrown::Pending) => return Err(Thrown::Pending),
            Err(Thrown::Ours(_)) => None,
        },
        None => None,
    };
    *call.state::<AsyncResult>()? = AsyncResult {
        api: Api::DropIn,
        id,
        task_name: task_name.map(Into::into),
        args: args.map(|args| Box::<str>::from(args).into_string()),
        backend: Place::Known(Rc::clone(&connection)),
        broker: Place::Known(connection),
        document: None,
        value: None,
    };
    Ok(())
}

fn get_id(call: &mut Call<'_>) -> Result<(), Thrown> {
    let id = call.state::<AsyncResult>()?.id.clone();
    call.give_string(&id);
    Ok(())
}

/// Implements `isReady()`: one read, unless the final result was fetched before.
fn is_ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ready = fetch(call)?;
    call.give_bool(ready);
    Ok(())
}

fn ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ready = ask_ready(call)?;
    call.give_bool(ready);
    Ok(())
}

fn fetch(call: &mut Call<'_>) -> Result<bool, Thrown> {
    let this = call.state::<AsyncResult>()?.clone();
    if this.document.is_some() {
        return Ok(true);
    }
    let backend = this.backend.find(registry::backend)?;
    let ready = results::read(&backend, &this.id, reading(this.api), |document| {
        keep(call, document)
    })?;
    Ok(ready.unwrap_or(false))
}

/// Keeps a final document. The document is decoded first. If PHP has no memory for the value, the
/// result counts as not read.
fn keep(call: &mut Call<'_>, document: Document) -> Result<bool, Thrown> {
    if !document.is_final() {
        return Ok(false);
    }
    let value = document.value()?;
    let this = call.state::<AsyncResult>()?;
    this.document = Some(Rc::new(document));
    this.value = Some(Held::new(value));
    Ok(true)
}

/// Calls `$this->isReady()`, which a subclass may have overridden.
fn ask_ready(call: &mut Call<'_>) -> Result<bool, Thrown> {
    match call.invoke_override("isReady")? {
        Some(answer) => Ok(answer.coerce_to_bool()),
        None => fetch(call),
    }
}

/// Calls `$this->getStatus()`, which a subclass may have overridden.
fn ask_status(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    match call.invoke_override("getStatus")? {
        Some(answer) => Ok(answer),
        None => status(call),
    }
}

/// Calls `$this->isSuccess()`, which a subclass may have overridden.
fn ask_success(call: &mut Call<'_>) -> Result<bool, Thrown> {
    match call.invoke_override("isSuccess")? {
        Some(answer) => Ok(answer.coerce_to_bool()),
        None => success(call),
    }
}

/// Calls `$this->getResult()`, which a subclass may have overridden.
fn ask_result(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    match call.invoke_override("getResult")? {
        Some(answer) => Ok(answer),
        None => result(call),
    }
}

fn status(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let document = call.state::<AsyncResult>()?.fetched("getStatus")?;
    Ok(value::string(document.doc.status.as_str().as_bytes()))
}

fn get_status(call: &mut Call<'_>) -> Result<(), Thrown> {
    let status = status(call)?;
    call.give(status);
    Ok(())
}

fn success(call: &mut Call<'_>) -> Result<bool, Thrown> {
    let status = ask_status(call)?;
    Ok(value::bytes(&status) == Some(State::Success.as_str().as_bytes()))
}

fn is_success(call: &mut Call<'_>) -> Result<(), Thrown> {
    let success = success(call)?;
    call.give_bool(success);
    Ok(())
}

fn successful(call: &mut Call<'_>) -> Result<(), Thrown> {
    let success = ask_success(call)?;
    call.give_bool(success);
    Ok(())
}

fn failed(call: &mut Call<'_>) -> Result<(), Thrown> {
    let failed = ask_ready(call)? && !ask_success(call)?;
    call.give_bool(failed);
    Ok(())
}

fn get_traceback(call: &mut Call<'_>) -> Result<(), Thrown> {
    let document = call.state::<AsyncResult>()?.fetched("getTraceback")?;
    if let Some(traceback) = &document.doc.traceback {
        call.give(value::large_string(traceback.as_bytes())?);
    }
    Ok(())
}

/// Returns the task's result. It is decoded once, so that all calls return the same object, as in
/// celery-php.
fn result(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let this = call.state::<AsyncResult>()?;
    if let Some(value) = &this.value {
        return Ok(value.get());
    }
    let value = this.fetched("getResult")?.value()?;
    call.state::<AsyncResult>()?.value = Some(Held::new(value.shallow_clone()));
    Ok(value)
}

fn get_result(call: &mut Call<'_>) -> Result<(), Thrown> {
    let result = result(call)?;
    call.give(result);
    Ok(())
}

/// Implements `wait()`, another name of `get()`.
fn wait(call: &mut Call<'_>) -> Result<(), Thrown> {
    match call.invoke_override_with_arguments("get")? {
        Some(answer) => {
            call.give(answer);
            Ok(())
        }
        None => get(call),
    }
}

/// Implements `get($timeout = 10, $propagate = true, $interval = 0.5)`.
fn get(call: &mut Call<'_>) -> Result<(), Thrown> {
    let timeout = timeout(call)?;
    let interval = seconds(call, 2, "interval")?
        .unwrap_or(DEFAULT_INTERVAL)
        .max(SHORTEST_INTERVAL);
    let interval = Duration::from_secs_f64(interval);

    let ready = if call.overrides("isReady")? {
        poll(call, timeout, interval)?
    } else if timeout.is_zero() || call.state::<AsyncResult>()?.document.is_some() {
        fetch(call)?
    } else {
        let this = call.state::<AsyncResult>()?.clone();
        let backend = this.backend.find(registry::backend)?;
        results::wait(
            &backend,
            &this.id,
            timeout,
            interval,
            reading(this.api),
            |document| keep(call, document),
        )?
        .unwrap_or(false)
    };
    if !ready {
        return Err(timed_out(call, timeout));
    }
    let result = ask_result(call)?;
    call.give(result);
    Ok(())
}

/// Returns the time for the wait: null means the directive; 0 and less mean a single read.
fn timeout(call: &Call<'_>) -> Result<Duration, Thrown> {
    if call.argument(0).is_some_and(Zval::is_null) {
        return Ok(settings::current().result_timeout);
    }
    let seconds = seconds(call, 0, "timeout")?.unwrap_or(DEFAULT_TIMEOUT);
    Ok(Duration::from_secs_f64(seconds))
}

fn seconds(call: &Call<'_>, index: usize, what: &str) -> Result<Option<f64>, Thrown> {
    let Some(value) = call.argument(index).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let number = if value.is_bool() {
        Some(if value.is_true() { 1.0 } else { 0.0 })
    } else {
        values::text(value)?.and_then(|text| text.trim().parse::<f64>().ok())
    };
    match number {
        Some(number) if !number.is_nan() => Ok(Some(number.clamp(0.0, LONGEST))),
        _ => Err(Thrown::celery(format!(
            "The {what} must be a number of seconds, {} given.",
            type_name(value)
        ))),
    }
}

/// Waits by calling an overridden `isReady()` at intervals, as celery-php does.
fn poll(call: &mut Call<'_>, timeout: Duration, interval: Duration) -> Result<bool, Thrown> {
    let start = Instant::now();
    loop {
        if ask_ready(call)? {
            return Ok(true);
        }
        let rest = interval.min(timeout.saturating_sub(start.elapsed()));
        if rest.is_zero() {
            return Ok(false);
        }
        interrupt::pause(rest).map_err(|interrupt::Raised| Thrown::Pending)?;
    }
}

fn timed_out(call: &mut Call<'_>, timeout: Duration) -> Thrown {
    let this = match call.state::<AsyncResult>() {
        Ok(this) => this,
        Err(thrown) => return thrown,
    };
    let name = this.task_name.as_deref().unwrap_or("(unnamed)");
    let args = shortened(this.args.as_deref().unwrap_or_default());
    let seconds = timeout.as_secs_f64();
    let message = format!(
        "Task {name}({args}) with the id {} was not done after {seconds} seconds. It may be done later: ask again, or \
         allow more time.",
        this.id
    );
    Thrown::new(Kind::Timeout, message).with_code(TIMEOUT_CODE)
}

fn forget(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = call.state::<AsyncResult>()?.clone();
    results::forget(&*this.backend.find(registry::backend)?, &this.id)?;
    let this = call.state::<AsyncResult>()?;
    this.document = None;
    let value = this.value.take();
    // The value may hold the last reference to an object, whose destructor then runs.
    bailout::catch(|| drop(value))?;
    Ok(())
}

fn revoke(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = call.state::<AsyncResult>()?.clone();
    broker::revoke(&*this.broker.find(registry::broker)?, &this.id)
}

/// Implements `__get`: `result`, `state`, `status`, and the private properties that celery-php's
/// `__get` exposes.
fn property(call: &mut Call<'_>) -> Result<(), Thrown> {
    // No property has a name that is not UTF-8.
    let name = match call.argument(0).and_then(value::bytes) {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => text_argument(call, 0, "name of the property")?,
    };
    let answer = match name.as_str() {
        "result" if ask_ready(call)? => ask_result(call)?,
        "result" => Zval::null(),
        "state" | "status" if ask_ready(call)? => ask_status(call)?,
        "state" | "status" => value::string(State::Pending.as_str().as_bytes()),
        _ => own_property(call.state::<AsyncResult>()?.clone(), &name)?,
    };
    call.give(answer);
    Ok(())
}

fn own_property(this: AsyncResult, name: &str) -> Result<Zval, Thrown> {
    let text =
        |text: Option<&str>| text.map_or_else(Zval::null, |text| value::string(text.as_bytes()));
    let document = |objects| {
        this.document
            .as_ref()
            .map_or_else(|| Ok(Zval::null()), |d| d.decoded(objects))
    };
    match name {
        "task_id" => Ok(text(Some(&this.id))),
        "task_name" => Ok(text(this.task_name.as_deref())),
        "task_args" => {
            let args = this
                .args
                .as_deref()
                .and_then(|args| crate::ffi::json::decode(args, Objects::AsArrays).ok());
            Ok(args.unwrap_or_else(Zval::null))
        }
        "body" => document(Objects::AsObjects),
        "complete_result" => document(Objects::AsArrays),
        _ => {
            warning(&format!("Undefined property: AsyncResult::${name}"));
            Ok(Zval::null())
        }
    }
}

/// What a result has in common with one of the API for new code.
pub(crate) struct Parts {
    pub(crate) id: String,
    /// The name of the task.
    pub(crate) task: Option<String>,
    pub(crate) backend: Rc<Connection>,
    pub(crate) broker: Rc<Connection>,
    /// The final result, if it was read.
    pub(crate) document: Option<Rc<Document>>,
}

/// Returns the parts of an object of the class.
pub(crate) fn parts(result: &Zval) -> Result<Parts, Thrown> {
    let mut result = result.shallow_clone();
    let object = result
        .object_mut()
        .ok_or_else(|| Thrown::celery("This is not an AsyncResult."))?;
    let this = object::state_of::<AsyncResult>(object)?.clone();
    Ok(Parts {
        backend: this.backend.find(registry::backend)?,
        broker: this.broker.find(registry::broker)?,
        id: this.id,
        task: this.task_name.as_deref().map(str::to_owned),
        document: this.document,
    })
}

/// Creates an object of the class from its parts. Like those of `Celery\Celery`, it leaves the stored
/// result.
pub(crate) fn of_parts(parts: Parts) -> Result<Zval, Thrown> {
    let mut made = object::new("AsyncResult")?;
    if let Some(object) = made.object_mut() {
        *object::state_of::<AsyncResult>(object)? = AsyncResult {
            api: Api::Namespaced,
            id: parts.id,
            task_name: parts.task.map(Into::into),
            args: None,
            backend: Place::Known(parts.backend),
            broker: Place::Known(parts.broker),
            document: parts.document,
            value: None,
        };
    }
    Ok(made)
}
