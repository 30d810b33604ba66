//! The exceptions of the API for new code. Each extends one of the drop-in's, so that code which
//! catches those keeps working.
//!
//! What an exception knows is in private properties. Subclasses written in PHP are allowed.

use celery_protocol::result::ExceptionDoc;
use ext_php_rs::types::Zval;

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, Property, method, optional};
use crate::ffi::object;
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::values::{self, Root};

pub(crate) const TASK_FAILED: Kind = Kind::Named("Celery\\TaskFailed");
pub(crate) const NOT_REGISTERED: Kind = Kind::Named("Celery\\NotRegistered");
pub(crate) const TIME_LIMIT_EXCEEDED: Kind = Kind::Named("Celery\\TimeLimitExceeded");
pub(crate) const SOFT_TIME_LIMIT_EXCEEDED: Kind = Kind::Named("Celery\\SoftTimeLimitExceeded");
pub(crate) const WORKER_LOST: Kind = Kind::Named("Celery\\WorkerLost");
pub(crate) const MAX_RETRIES_EXCEEDED: Kind = Kind::Named("Celery\\MaxRetriesExceeded");
pub(crate) const CHORD_FAILED: Kind = Kind::Named("Celery\\ChordFailed");
pub(crate) const TASK_REVOKED: Kind = Kind::Named("Celery\\TaskRevoked");
pub(crate) const RESULT_TIMEOUT: Kind = Kind::Named("Celery\\ResultTimeout");
pub(crate) const PUBLISH_FAILED: Kind = Kind::Named("Celery\\PublishFailed");
pub(crate) const CIRCUIT_OPEN: Kind = Kind::Named("Celery\\CircuitOpen");
pub(crate) const UNENCODABLE: Kind = Kind::Named("Celery\\Unencodable");
pub(crate) const UNREADABLE: Kind = Kind::Named("Celery\\Unreadable");
pub(crate) const INVALID_CONFIGURATION: Kind = Kind::Named("Celery\\InvalidConfiguration");

/// The property behind `ResultTimeout::pending()`: a list of ids.
pub(crate) const PENDING: &str = "pending";
/// The property behind `PublishFailed::keys()`: a list.
pub(crate) const KEYS: &str = "keys";
/// The property behind `PublishFailed::confirmed()`: a `ResultSet`.
pub(crate) const CONFIRMED: &str = "confirmed";
/// The property behind `CircuitOpen::retryAfter()`: a float.
pub(crate) const RETRY_AFTER: &str = "retryAfter";
/// The property behind `Unencodable::path()`.
pub(crate) const PATH: &str = "path";

const TASK: &str = "Celery\\TaskException";
/// The parameters of `TaskException`'s constructor after the message, which are its properties.
const FACTS: [&str; 5] = ["taskId", "type", "module", "arguments", "traceback"];

/// Returns the id of the task in a `TaskException`.
pub(crate) fn task_id_of(exception: &Zval) -> String {
    let id = fact(exception, "taskId");
    id.str().unwrap_or_default().to_owned()
}

/// Returns a `TaskException` as a document would store it.
pub(crate) fn stored(exception: &Zval) -> Result<(ExceptionDoc, Option<String>), Thrown> {
    let class = fact(exception, "type");
    let module = fact(exception, "module");
    let arguments = fact(exception, "arguments");
    let traceback = fact(exception, "traceback");
    let arguments = if arguments.array().is_some_and(|list| !list.is_empty()) {
        arguments
    } else {
        let mut exception = exception.shallow_clone();
        let message = exception.object_mut().map_or_else(Zval::null, |object| {
            throw::read_property("Exception", object, "message")
        });
        value::list([message])?
    };
    let arguments = values::encode(&arguments, Root::Arguments)?;
    let doc =
        ExceptionDoc::of_arguments(class.str().unwrap_or("Exception"), module.str(), &arguments);
    Ok((doc, traceback.str().map(str::to_owned)))
}

/// Returns a property of a `TaskException`.
fn fact(exception: &Zval, name: &str) -> Zval {
    let mut exception = exception.shallow_clone();
    exception.object_mut().map_or_else(Zval::null, |object| {
        throw::read_property(TASK, object, name)
    })
}

/// What is known of a failed task.
pub(crate) struct Failure<'a> {
    pub(crate) task_id: &'a str,
    /// The remote class without its module.
    pub(crate) class: &'a str,
    pub(crate) module: Option<&'a str>,
    /// A list.
    pub(crate) arguments: Zval,
    pub(crate) traceback: Option<&'a str>,
}

impl Failure<'_> {
    /// Returns the exception of this failure.
    pub(crate) fn exception(self, kind: Kind, message: impl Into<String>) -> Thrown {
        let text = |text: &str| value::string(text.as_bytes());
        let optional = |given: Option<&str>| given.map_or_else(Zval::null, text);
        Thrown::new(kind, message)
            .with_property("taskId", text(self.task_id))
            .with_property("type", text(self.class))
            .with_property("module", optional(self.module))
            .with_property("arguments", self.arguments)
            .with_property("traceback", optional(self.traceback))
    }
}

/// Declares the exceptions: parents first.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::new(TASK)
        .made_abstract()
        .extending("celeryexception")
        .having(FACTS.map(Property::private))
        .with([
            method("__construct", handler!(construct), task_parameters()),
            method("taskId", handler!(task_id), []).returning(Type::STRING),
            method("type", handler!(remote_class), []).returning(Type::STRING),
            method("module", handler!(module), []).returning(Type::STRING.nullable()),
            method("arguments", handler!(arguments), []).returning(Type::ARRAY),
            method("traceback", handler!(traceback), []).returning(Type::STRING.nullable()),
        ])
        .declare()?;
    Class::new("Celery\\TaskFailed")
        .extending("celery\\taskexception")
        .declare()?;
    for name in [
        "Celery\\NotRegistered",
        "Celery\\TimeLimitExceeded",
        "Celery\\SoftTimeLimitExceeded",
        "Celery\\WorkerLost",
        "Celery\\MaxRetriesExceeded",
    ] {
        let class = Class::new(name).extending("celery\\taskfailed");
        class.declare()?;
    }
    Class::new("Celery\\ChordFailed")
        .extending("celery\\taskfailed")
        .with([
            method("dependencyId", handler!(dependency_id), []).returning(Type::STRING.nullable())
        ])
        .declare()?;
    Class::new("Celery\\TaskRevoked")
        .extending("celery\\taskexception")
        .with([method("reason", handler!(reason), []).returning(Type::STRING)])
        .declare()?;
    Class::new("Celery\\ResultTimeout")
        .extending("celerytimeoutexception")
        .having([Property::private(PENDING)])
        .with([method(PENDING, handler!(pending), []).returning(Type::ARRAY)])
        .declare()?;
    Class::new("Celery\\PublishFailed")
        .extending("celerypublishexception")
        .having([Property::private(KEYS), Property::private(CONFIRMED)])
        .with([
            method(KEYS, handler!(keys), []).returning(Type::ARRAY),
            method(CONFIRMED, handler!(confirmed), []).returning(Type::class("Celery\\ResultSet")),
        ])
        .declare()?;
    Class::new("Celery\\CircuitOpen")
        .extending("celeryconnectionexception")
        .having([Property::private(RETRY_AFTER)])
        .with([method(RETRY_AFTER, handler!(retry_after), []).returning(Type::FLOAT)])
        .declare()?;
    Class::new("Celery\\Unencodable")
        .extending("celeryexception")
        .having([Property::private(PATH)])
        .with([method(PATH, handler!(path), []).returning(Type::STRING)])
        .declare()?;
    for name in ["Celery\\Unreadable", "Celery\\InvalidConfiguration"] {
        let class = Class::new(name).extending("celeryexception");
        class.declare()?;
    }
    Ok(())
}

fn task_parameters() -> Vec<Param> {
    vec![
        optional("message", "''").typed(Type::STRING),
        optional("taskId", "'test'").typed(Type::STRING),
        optional("type", "'Exception'").typed(Type::STRING),
        optional("module", "'builtins'").typed(Type::STRING.nullable()),
        optional("arguments", "[]").typed(Type::ARRAY),
        optional("traceback", "null").typed(Type::STRING.nullable()),
        optional("previous", "null").typed(Type::class("Throwable").nullable()),
    ]
}

/// Implements `TaskException::__construct()`.
fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let defaults = [
        value::string(b"test"),
        value::string(b"Exception"),
        value::string(b"builtins"),
        value::list([])?,
        Zval::null(),
    ];
    let given = |index| call.argument(index).map(Zval::shallow_clone);
    let message = given(0);
    let facts: Vec<(&str, Zval)> = FACTS
        .into_iter()
        .zip(defaults)
        .enumerate()
        .map(|(index, (name, default))| (name, given(index + 1).unwrap_or(default)))
        .collect();
    let previous = given(6).filter(|previous| !previous.is_null());
    let object = call.object()?;
    if let Some(message) = message {
        throw::write_property("Exception", object, "message", message);
    }
    if let Some(previous) = previous {
        throw::write_property("Exception", object, "previous", previous);
    }
    for (name, value) in facts {
        throw::write_property(TASK, object, name, value);
    }
    Ok(())
}

/// Returns a property to PHP; `default` if the constructor did not run.
fn give(call: &mut Call<'_>, class: &str, name: &str, default: Zval) -> Result<(), Thrown> {
    let value = throw::read_property(class, call.object()?, name);
    call.give(if value.is_null() { default } else { value });
    Ok(())
}

fn task_id(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, TASK, "taskId", value::string(b""))
}

fn remote_class(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, TASK, "type", value::string(b"Exception"))
}

fn module(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, TASK, "module", Zval::null())
}

fn arguments(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, TASK, "arguments", value::list([])?)
}

fn traceback(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, TASK, "traceback", Zval::null())
}

/// Implements `ChordFailed::dependencyId()`. Celery writes the id into the message only:
/// `Dependency <id> raised ValueError(…)`.
fn dependency_id(call: &mut Call<'_>) -> Result<(), Thrown> {
    let message = throw::read_property("Exception", call.object()?, "message");
    let id = value::bytes(&message)
        .and_then(|message| std::str::from_utf8(message).ok())
        .and_then(|message| message.strip_prefix("Dependency "))
        .and_then(|rest| rest.split_once(" raised "))
        .map(|(id, _)| id.to_owned());
    if let Some(id) = id {
        call.give_string(&id);
    }
    Ok(())
}

/// Implements `TaskRevoked::reason()`. Celery's exception has the reason as its argument.
fn reason(call: &mut Call<'_>) -> Result<(), Thrown> {
    let arguments = throw::read_property(TASK, call.object()?, "arguments");
    let message = throw::read_property("Exception", call.object()?, "message");
    let first = arguments.array().and_then(|list| list.get_index(0));
    let told = [first.map(Zval::dereference), Some(&message)];
    let reason = ["expired", "terminated"].into_iter().find(|reason| {
        let mut told = told.iter().flatten();
        told.any(|value| value::bytes(value) == Some(reason.as_bytes()))
    });
    call.give_string(reason.unwrap_or("revoked"));
    Ok(())
}

fn pending(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, "Celery\\ResultTimeout", PENDING, value::list([])?)
}

fn keys(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, "Celery\\PublishFailed", KEYS, value::list([])?)
}

/// Implements `PublishFailed::confirmed()`: an empty set, where one task was sent.
fn confirmed(call: &mut Call<'_>) -> Result<(), Thrown> {
    let class = "Celery\\PublishFailed";
    let confirmed = throw::read_property(class, call.object()?, CONFIRMED);
    call.give(if confirmed.is_null() {
        object::construct("Celery\\ResultSet", &[])?
    } else {
        confirmed
    });
    Ok(())
}

fn retry_after(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut none = Zval::new();
    none.set_double(0.0);
    give(call, "Celery\\CircuitOpen", RETRY_AFTER, none)
}

fn path(call: &mut Call<'_>) -> Result<(), Thrown> {
    give(call, "Celery\\Unencodable", PATH, value::string(b""))
}
