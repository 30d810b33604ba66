//! The routes of a client: where tasks go that name no queue themselves.
//!
//! A route is a queue, an array of options, or a closure that returns one of them or null. The first
//! glob that matches counts, unless its closure returns null.

use celery_protocol::RawValue;
use celery_protocol::canvas::{Kind, Options, Signature};
use celery_protocol::glob::Glob;
use celery_protocol::names;
use ext_php_rs::types::Zval;

use crate::classes::exceptions::INVALID_CONFIGURATION;
use crate::classes::option_names;
use crate::ffi::json::Objects;
use crate::ffi::throw::Thrown;
use crate::ffi::value::{self, Key};
use crate::ffi::{invoke, object};
use crate::values;
use crate::values::encode;

/// Returns the options of the route of a task. Runs PHP code.
pub(crate) fn find(routes: &Zval, task: &Signature) -> Result<Option<Options>, Thrown> {
    let name = routed_name(task);
    let mut matching = Vec::new();
    value::find_in_array(routes, |key, route| {
        if let Key::Name(glob) = key
            && Glob::new(&String::from_utf8_lossy(glob)).is_ok_and(|glob| glob.matches(&name))
        {
            matching.push(route.shallow_clone());
        }
        None::<()>
    });
    for route in matching {
        if let Some(options) = options(&route, &name, task)? {
            return Ok(Some(options));
        }
    }
    Ok(None)
}

/// Returns the name that decides: that of the task which `celery.map` or `celery.starmap` calls.
fn routed_name(task: &Signature) -> String {
    let inner = match &task.kind {
        Kind::Task { kwargs, .. } if matches!(&*task.task, "celery.map" | "celery.starmap") => {
            let members: Option<Options> = serde_json::from_str(kwargs.get()).ok();
            let called = members.and_then(|members| members.get("task").cloned());
            called.and_then(|called| Signature::read(&called).ok())
        }
        _ => None,
    };
    inner.map_or_else(|| task.task.clone(), |called| called.task)
}

fn options(route: &Zval, name: &str, task: &Signature) -> Result<Option<Options>, Thrown> {
    if object::is_instance(route, "Closure") {
        let answer = invoke::function(route, &arguments(name, task)?)?;
        return if answer.is_null() {
            Ok(None)
        } else {
            read(&answer, name).map(Some)
        };
    }
    read(route, name).map(Some)
}

/// Returns the arguments of a closure: the name, the positional arguments, the others.
fn arguments(name: &str, task: &Signature) -> Result<[Zval; 3], Thrown> {
    let args = task
        .args
        .iter()
        .map(|arg| values::decode_as(arg.get(), Objects::AsArrays))
        .collect::<Result<Vec<_>, _>>()?;
    let kwargs = match &task.kind {
        Kind::Task { kwargs, .. } => values::decode_as(kwargs.get(), Objects::AsArrays)?,
        _ => value::list([])?,
    };
    Ok([value::string(name.as_bytes()), value::list(args)?, kwargs])
}

fn read(route: &Zval, task: &str) -> Result<Options, Thrown> {
    let mut options = Options::default();
    if let Some(queue) = value::bytes(route) {
        let queue = String::from_utf8_lossy(queue);
        names::check_queue_name(&queue)
            .map_err(|error| unusable(task, &format!("its queue cannot be used: {error}")))?;
        set(&mut options, "queue", route)?;
        return Ok(options);
    }
    if !route.is_array() {
        return Err(unusable(
            task,
            "it is neither a queue nor an array of options",
        ));
    }
    let mut entries = Vec::new();
    value::find_in_array(route, |key, given| {
        entries.push((key.to_zval(), given.shallow_clone()));
        None::<()>
    });
    for (name, given) in entries {
        let name = value::bytes(&name).map(String::from_utf8_lossy);
        let name = name.unwrap_or_default();
        let Some(celery) = option_names::of(&name) else {
            return Err(unusable(task, &format!("it has no option {name:?}")));
        };
        match given.bool() {
            // The parameter is a bool, Celery's option a number.
            Some(persistent) if celery == "delivery_mode" => {
                let mode = if persistent { 2 } else { 1 };
                set(&mut options, celery, &Key::Index(mode).to_zval())?;
            }
            _ if given.is_null() => {}
            _ => set(&mut options, celery, &given)?,
        }
    }
    Ok(options)
}

fn set(options: &mut Options, name: &str, given: &Zval) -> Result<(), Thrown> {
    let text: Box<RawValue> = encode::encode(given, name)?;
    options.insert(name, text.into());
    Ok(())
}

fn unusable(task: &str, why: &str) -> Thrown {
    Thrown::new(
        INVALID_CONFIGURATION,
        format!("The task was not sent: the route of {task} cannot be used: {why}."),
    )
}
