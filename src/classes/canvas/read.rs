//! Reads Celery's own form of any canvas.

use ext_php_rs::types::{ZendObject, Zval};

use super::form::{self, CHAIN, CHORD, GROUP, ID, IMMUTABLE, KWARGS, Part, SIGNATURE};
use super::parts::{add_options, entries, option};
use super::tree;
use crate::classes::signature;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;

/// Returns the canvas of an array as Python writes it.
pub(crate) fn canvas(data: &Zval) -> Result<Zval, Thrown> {
    canvas_at(data, 0)
}

fn canvas_at(data: &Zval, depth: usize) -> Result<Zval, Thrown> {
    tree::check_depth(depth)?;
    if object::is_instance(data, form::NAME) {
        return Ok(data.shallow_clone());
    }
    let kind = member(data, "subtask_type");
    let class = match kind.as_ref().and_then(value::bytes) {
        Some(b"chain") => CHAIN,
        Some(b"group") => GROUP,
        Some(b"chord") => CHORD,
        Some(b"chunks") => return chunks(data, depth),
        _ if name(data).as_deref() == Some(b"celery.chunks") => return chunks(data, depth),
        _ => SIGNATURE,
    };
    let mut made = object::new(class)?;
    if let Some(object) = made.object_mut() {
        fill_at(object, data, depth)?;
    }
    Ok(made)
}

/// Sets the properties of a new canvas from Celery's form.
pub(crate) fn fill(object: &mut ZendObject, data: &Zval) -> Result<(), Thrown> {
    fill_at(object, data, 0)
}

fn fill_at(object: &mut ZendObject, data: &Zval, depth: usize) -> Result<(), Thrown> {
    let kwargs = member(data, "kwargs").unwrap_or_else(Zval::null);
    let inner = |data: &Zval| canvas_at(data, depth + 1);
    match form::part(object) {
        Part::Task => {
            signature::read(object, data)?;
            // The task that is called for each item.
            let is_mapped = matches!(
                name(data).as_deref(),
                Some(b"celery.map" | b"celery.starmap")
            );
            if is_mapped && let Some(task) = member(&kwargs, "task") {
                let mut kwargs = entries(&object::get(object, KWARGS));
                kwargs.push((value::string(b"task"), inner(&task)?));
                object::init(object, KWARGS, value::map(kwargs)?);
            }
        }
        Part::Chain | Part::Group => {
            let tasks = tasks(&kwargs, "tasks")?;
            let tasks: Result<Vec<_>, _> = tasks.iter().map(inner).collect();
            tree::fill(object, tasks?)?;
        }
        Part::Chord => {
            let header = match member(&kwargs, "header") {
                Some(header) if value::is_list(&header) => tree::elements(&header),
                // A chain counts as its steps, as in Celery.
                Some(header) => match member(&header, "subtask_type")
                    .as_ref()
                    .and_then(value::bytes)
                {
                    Some(b"group" | b"chain") => tasks(
                        &member(&header, "kwargs").unwrap_or_else(Zval::null),
                        "tasks",
                    )?,
                    _ => vec![header],
                },
                None => return Err(broken("a chord without a header")),
            };
            let header: Result<Vec<_>, _> = header.iter().map(inner).collect();
            let body = member(&kwargs, "body").ok_or_else(|| broken("a chord without a body"))?;
            let body = inner(&body)?;
            tree::fill_chord(object, tree::of_tasks(GROUP, header?)?, body)?;
        }
    }
    if form::part(object) != Part::Task {
        let options = member(data, "options").unwrap_or_else(Zval::null);
        add_options(object, entries(&options))?;
        let immutable = member(data, "immutable").is_some_and(|flag| flag.is_true());
        let mut flag = Zval::new();
        flag.set_bool(immutable);
        object::init(object, IMMUTABLE, flag);
    }
    for name in ["link", "link_error"] {
        if let Some(callbacks) = option(object, name).filter(|it| !it.is_null()) {
            let callbacks = if value::is_list(&callbacks) {
                tree::elements(&callbacks)
            } else {
                vec![callbacks]
            };
            let callbacks: Result<Vec<_>, _> = callbacks.iter().map(inner).collect();
            let option = (value::string(name.as_bytes()), value::list(callbacks?)?);
            add_options(object, vec![option])?;
        }
    }
    if form::part(object) == Part::Chord {
        // The option is the id of the header; the result is that of the body.
        let body = object::get(object, form::BODY);
        object::init(object, ID, tree::property(&body, ID));
    }
    Ok(())
}

/// Returns a group of `celery.starmap` tasks for a signature of `celery.chunks`, as Celery does
/// when it is called.
fn chunks(data: &Zval, depth: usize) -> Result<Zval, Thrown> {
    let kwargs = member(data, "kwargs").unwrap_or_else(Zval::null);
    let size = member(&kwargs, "n")
        .and_then(|size| size.long())
        .unwrap_or(0);
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| broken("chunks without a size"))?;
    let task = member(&kwargs, "task").ok_or_else(|| broken("chunks without a task"))?;
    let task = canvas_at(&task, depth + 1)?;
    let items = tasks(&kwargs, "it")?;
    signature::in_chunks(&task, &items, size)
}

fn tasks(kwargs: &Zval, name: &str) -> Result<Vec<Zval>, Thrown> {
    match member(kwargs, name) {
        Some(list) if value::is_list(&list) => Ok(tree::elements(&list)),
        _ => Err(broken("a composite without a list of tasks")),
    }
}

fn member(array: &Zval, name: &str) -> Option<Zval> {
    let value = array.array()?.get(name)?.dereference();
    (!value.is_null()).then(|| value.shallow_clone())
}

fn name(data: &Zval) -> Option<Vec<u8>> {
    member(data, "task")
        .as_ref()
        .and_then(value::bytes)
        .map(<[u8]>::to_vec)
}

fn broken(why: &str) -> Thrown {
    Thrown::celery(format!("This is not a signature: {why}."))
}
