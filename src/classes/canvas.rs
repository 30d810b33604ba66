//! `Canvas`: what signatures, chains, groups and chords have in common.
//!
//! A canvas is a value. Its methods return changed copies; the copy keeps the client that the
//! original is bound to. Only the extension's classes extend it, so they share one Rust state.

mod change;
pub(crate) mod compose;
pub(crate) mod form;
mod freeze;
pub(crate) mod parts;
mod read;
pub(crate) mod tree;

use ext_php_rs::types::{ZendObject, Zval};

use self::form::{IMMUTABLE, NAME};
use self::parts::{Arguments, State, changeable, changed, client, set_client};
use super::interfaces::{CANVAS, RESULT_INTERFACE, post, task};
use super::options;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{
    Class, DeclareError, Param, Property, method, optional, required, variadic,
};
use crate::ffi::invoke;
use crate::ffi::json::{self, Objects};
use crate::ffi::object::{self, Serializable};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::values::encode;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let canvases = |name| [variadic(name).typed(CANVAS)];
    let class = Class::new(NAME)
        .made_abstract()
        .implementing("jsonserializable")
        .having([
            Property::readonly("id", Type::STRING.nullable()),
            Property::readonly("immutable", Type::BOOL),
            Property::readonly("options", Type::ARRAY),
        ])
        .with([
            method("s", handler!(s), parts::parameter("arguments"))
                .returning(Type::STATIC)
                .made_kept(),
            method("set", handler!(set), parameters_of_set())
                .returning(Type::STATIC)
                .made_kept(),
            method(
                "immutable",
                handler!(immutable),
                [optional("immutable", "true").typed(Type::BOOL)],
            )
            .returning(Type::STATIC)
            .made_kept(),
            method("link", handler!(link), canvases("callbacks"))
                .returning(Type::STATIC)
                .made_kept(),
            method("linkError", handler!(link_error), canvases("errbacks"))
                .returning(Type::STATIC)
                .made_kept(),
            method("onError", handler!(link_error), canvases("errbacks"))
                .returning(Type::STATIC)
                .made_kept(),
            method("stamp", handler!(stamp), parts::parameter("stamps"))
                .returning(Type::STATIC)
                .made_kept(),
            method("then", handler!(then), canvases("next"))
                .returning(CANVAS)
                .made_kept(),
            method("freeze", handler!(freeze), [])
                .returning(Type::STATIC)
                .made_kept(),
            method(
                "bind",
                handler!(bind),
                [required("client").typed(Type::class("Celery\\ClientInterface"))],
            )
            .returning(Type::STATIC)
            .made_kept(),
            method("delay", handler!(delay), parts::parameter("arguments"))
                .returning(RESULT_INTERFACE),
            method("applyAsync", handler!(apply_async), parameters_of_apply())
                .returning(RESULT_INTERFACE),
            method("toArray", handler!(to_array), []).returning(Type::ARRAY),
            method(
                "fromArray",
                handler!(from_array),
                [required("signature").typed(Type::ARRAY)],
            )
            .made_static()
            .returning(CANVAS),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
            method("__serialize", handler!(to_array), []).returning(Type::ARRAY),
            method(
                "__unserialize",
                handler!(unserialize),
                [required("data").typed(Type::ARRAY)],
            )
            .returning(Type::VOID),
        ])
        .declare()?;
    object::attach_closed::<State>(class, Serializable::Yes);
    Ok(())
}

fn parameters_of_set() -> Vec<Param> {
    [optional("immutable", "null").typed(Type::BOOL.nullable())]
        .into_iter()
        .chain(options::parameters())
        .collect()
}

fn parameters_of_apply() -> Vec<Param> {
    task()
        .into_iter()
        .skip(1)
        .chain(options::parameters())
        .chain(post())
        .collect()
}

/// Returns a copy with further arguments.
fn partial(object: &ZendObject, arguments: Arguments) -> Result<Zval, Thrown> {
    changed(object, |copy| change::add_arguments(copy, arguments))
}

fn s(call: &mut Call<'_>) -> Result<(), Thrown> {
    let arguments = Arguments::of_call(call);
    let made = partial(call.object()?, arguments)?;
    call.give(made);
    Ok(())
}

fn set(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = options::read(call, 1)?;
    let immutable = call.argument(0).filter(|it| !it.is_null());
    let immutable = immutable.map(Zval::shallow_clone);
    let made = changed(call.object()?, |copy| {
        if let Some(immutable) = immutable {
            change::set_immutable(copy, &immutable)?;
        }
        change::set_options(copy, given)
    })?;
    call.give(made);
    Ok(())
}

fn immutable(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut flag = Zval::new();
    flag.set_bool(call.argument(0).is_none_or(Zval::is_true));
    let made = changed(call.object()?, |copy| change::set_immutable(copy, &flag))?;
    call.give(made);
    Ok(())
}

fn link(call: &mut Call<'_>) -> Result<(), Thrown> {
    let callbacks = canvases(call);
    let made = changed(call.object()?, |copy| change::link(copy, &callbacks))?;
    call.give(made);
    Ok(())
}

fn link_error(call: &mut Call<'_>) -> Result<(), Thrown> {
    let errbacks = canvases(call);
    let made = changed(call.object()?, |copy| change::link_error(copy, &errbacks))?;
    call.give(made);
    Ok(())
}

/// Returns the canvases of a variadic parameter.
fn canvases(call: &Call<'_>) -> Vec<Zval> {
    Arguments::of_call(call).values().collect()
}

/// Implements `stamp()`, whose arguments all have names.
fn stamp(call: &mut Call<'_>) -> Result<(), Thrown> {
    if !call.rest(0).is_empty() {
        return Err(call.refuse(0, "must be passed by name: stamp(tenant: 'acme')"));
    }
    let stamps = Arguments::of_call(call).named;
    let made = changed(call.object()?, |copy| change::stamp(copy, &stamps))?;
    call.give(made);
    Ok(())
}

/// Implements `then()`.
fn then(call: &mut Call<'_>) -> Result<(), Thrown> {
    let next = canvases(call);
    let made = compose::then(this(call)?, next)?;
    call.give(made);
    Ok(())
}

/// Implements `freeze()`.
fn freeze(call: &mut Call<'_>) -> Result<(), Thrown> {
    let made = freeze::freeze(&this(call)?)?;
    call.give(made);
    Ok(())
}

/// Implements `fromArray()`.
fn from_array(call: &mut Call<'_>) -> Result<(), Thrown> {
    let data = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let made = read::canvas(&data)?;
    call.give(made);
    Ok(())
}

/// Returns `$this`.
fn this(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let mut this = Zval::new();
    this.set_object(call.object()?);
    Ok(this)
}

fn bind(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let made = changed(call.object()?, |copy| set_client(copy, client))?;
    call.give(made);
    Ok(())
}

fn delay(call: &mut Call<'_>) -> Result<(), Thrown> {
    let arguments = Arguments::of_call(call);
    let canvas = partial(call.object()?, arguments)?;
    send(call, canvas, &[])
}

/// Implements `applyAsync()`.
fn apply_async(call: &mut Call<'_>) -> Result<(), Thrown> {
    /// The parameters before the options: `$args` and `$kwargs`.
    const BEFORE: usize = 2;
    let arguments = Arguments::of_arrays(call, 0)?;
    let given = options::read(call, BEFORE)?;
    let mut canvas = partial(call.object()?, arguments)?;
    let has_callback =
        |(name, _): &options::Given| matches!(value::bytes(name), Some(b"link" | b"link_error"));
    if tree::part(&canvas) == form::Part::Group && given.iter().any(has_callback) {
        return Err(Thrown::new(
            Kind::Value,
            "A group is not sent with callbacks: use then(), or link its members.",
        ));
    }
    if let Some(copy) = canvas.object_mut() {
        change::set_options(copy, changeable(copy, given))?;
    }
    let first = BEFORE + options::COUNT;
    let post: Vec<Zval> = (first..first + post().len())
        .map(|index| {
            call.argument(index)
                .map_or_else(Zval::null, Zval::shallow_clone)
        })
        .collect();
    send(call, canvas, &post)
}

/// Sends a canvas through the client that `$this` is bound to.
fn send(call: &mut Call<'_>, canvas: Zval, post: &[Zval]) -> Result<(), Thrown> {
    let Some(bound) = client(call.object()?)? else {
        return Err(Thrown::new(
            Kind::Logic,
            "This canvas is not bound to a client: make it by $client->signature(), bind() it, or \
             pass it to $client->send().",
        ));
    };
    let mut arguments = vec![canvas];
    arguments.extend(post.iter().map(Zval::shallow_clone));
    if let Some(client) = bound.object() {
        let result = invoke::method(client, "send", &arguments)?;
        call.give(result);
    }
    Ok(())
}

/// Implements `toArray()` and `__serialize()`: Celery's own form, in arrays.
fn to_array(call: &mut Call<'_>) -> Result<(), Thrown> {
    let array = decoded(call, Objects::AsArrays)?;
    call.give(array);
    Ok(())
}

/// Implements `jsonSerialize()`. Empty objects stay objects.
fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let decoded = decoded(call, Objects::AsObjects)?;
    let mut members = Vec::new();
    value::find_in_object(&decoded, |key, value| {
        members.push((key.to_zval(), value.shallow_clone()));
        None::<()>
    });
    call.give(value::map(members)?);
    Ok(())
}

fn decoded(call: &mut Call<'_>, objects: Objects) -> Result<Zval, Thrown> {
    let text = encode::encode(&this(call)?, "")?;
    json::decode(text.get(), objects)
        .map_err(|_| Thrown::celery("This canvas is nested too deep to be an array."))
}

fn unserialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let data = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let object = call.object()?;
    if !object::is_blank(object, IMMUTABLE) {
        return Err(object::is_constructed());
    }
    read::fill(object, &data)
}
