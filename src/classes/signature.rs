//! `Signature`: a call of one task.

use celery_protocol::names;
use ext_php_rs::types::{ZendObject, Zval};

use super::canvas::form::{ARGS, GROUP, IMMUTABLE, KWARGS, TASK};
use super::canvas::parts::{self, Arguments};
use super::canvas::tree;
use super::{interfaces, options};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, Property, method, optional, required};
use crate::ffi::iterable;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};

pub(crate) const NAME: &str = "Celery\\Signature";

/// The parameters before the options: the task, `$args`, `$kwargs` and `$immutable`.
const BEFORE: usize = 4;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::closed(NAME)
        .extending("celery\\canvas")
        .having([
            Property::readonly("task", Type::STRING),
            Property::readonly("args", Type::ARRAY),
            Property::readonly("kwargs", Type::ARRAY),
        ])
        .with([
            method("__construct", handler!(construct), parameters()),
            method("si", handler!(si), parts::parameter("arguments"))
                .returning(Type::STATIC)
                .made_kept(),
            method(
                "map",
                handler!(map),
                [required("items").typed(Type::ITERABLE)],
            )
            .returning(interfaces::SIGNATURE)
            .made_kept(),
            method(
                "starmap",
                handler!(starmap),
                [required("items").typed(Type::ITERABLE)],
            )
            .returning(interfaces::SIGNATURE)
            .made_kept(),
            method(
                "chunks",
                handler!(chunks),
                [
                    required("items").typed(Type::ITERABLE),
                    required("size").typed(Type::INT),
                ],
            )
            .returning(Type::class(GROUP))
            .made_kept(),
        ])
        .declare()?;
    Ok(())
}

/// Returns the parameters of the constructor and of `signature()`.
pub(crate) fn parameters() -> Vec<Param> {
    interfaces::task()
        .into_iter()
        .chain([optional("immutable", "false").typed(Type::BOOL)])
        .chain(options::parameters())
        .collect()
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let parts = Parts::of(call, BEFORE)?;
    let object = call.object()?;
    if !object::is_blank(object, TASK) {
        return Err(object::is_constructed());
    }
    parts.fill(object)
}

/// Returns a signature with the arguments of a call of `signature()`, bound to the client.
pub(crate) fn bound(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let parts = Parts::of(call, BEFORE)?;
    let mut client = Zval::new();
    client.set_object(call.object()?);
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        parts.fill(object)?;
        parts::set_client(object, client)?;
    }
    Ok(made)
}

/// Returns a signature with the arguments of a call of `sendTask()`, bound to no client.
pub(crate) fn of_send_task(call: &Call<'_>) -> Result<Zval, Thrown> {
    let parts = Parts::of(call, BEFORE - 1)?;
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        parts.fill(object)?;
    }
    Ok(made)
}

/// What a signature is made of.
struct Parts {
    task: Zval,
    args: Zval,
    kwargs: Zval,
    immutable: bool,
    options: Vec<options::Given>,
}

impl Parts {
    /// Reads the arguments of a call whose options begin at the parameter `first`. The one before
    /// them is `$immutable`, if there is one.
    fn of(call: &Call<'_>, first: usize) -> Result<Self, Thrown> {
        let task = call
            .argument(0)
            .map_or_else(Zval::null, Zval::shallow_clone);
        check_name(call, 0, &task)?;
        let arguments = Arguments::of_arrays(call, 1)?;
        Ok(Parts {
            task,
            args: value::list(arguments.positional)?,
            kwargs: value::map(arguments.named)?,
            immutable: first == BEFORE && call.argument(3).is_some_and(Zval::is_true),
            options: options::read(call, first)?,
        })
    }

    fn fill(self, object: &mut ZendObject) -> Result<(), Thrown> {
        parts::fill(object, self.immutable, self.options)?;
        object::init(object, TASK, self.task);
        object::init(object, ARGS, self.args);
        object::init(object, KWARGS, self.kwargs);
        Ok(())
    }
}

/// Refuses an argument that cannot be the name of a task.
pub(crate) fn check_name(call: &Call<'_>, index: usize, name: &Zval) -> Result<(), Thrown> {
    let name = value::bytes(name).unwrap_or_default();
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(call.refuse(index, "must be valid UTF-8"));
    };
    names::check_task_name(name)
        .map_err(|error| call.refuse(index, &format!("cannot be used: {error}")))
}

/// Adds arguments to a signature that PHP code has not seen yet: positional ones before those that
/// it has; named ones replace.
pub(crate) fn add_arguments(object: &mut ZendObject, given: Arguments) -> Result<(), Thrown> {
    let own = parts::entries(&object::get(object, ARGS));
    let args = given
        .positional
        .into_iter()
        .chain(own.into_iter().map(|(_, value)| value));
    object::init(object, ARGS, value::list(args.collect::<Vec<_>>())?);
    if !given.named.is_empty() {
        let mut kwargs = parts::entries(&object::get(object, KWARGS));
        kwargs.extend(given.named);
        object::init(object, KWARGS, value::map(kwargs)?);
    }
    Ok(())
}

fn si(call: &mut Call<'_>) -> Result<(), Thrown> {
    let arguments = Arguments::of_call(call);
    let made = parts::changed(call.object()?, |copy| {
        add_arguments(copy, arguments)?;
        let mut flag = Zval::new();
        flag.set_bool(true);
        object::init(copy, IMMUTABLE, flag);
        Ok(())
    })?;
    call.give(made);
    Ok(())
}

fn map(call: &mut Call<'_>) -> Result<(), Thrown> {
    over_items(call, "celery.map")
}

fn starmap(call: &mut Call<'_>) -> Result<(), Thrown> {
    over_items(call, "celery.starmap")
}

/// Gives a task of Celery's that calls this one for each item, in one worker.
fn over_items(call: &mut Call<'_>, task: &str) -> Result<(), Thrown> {
    let items = items(call)?;
    let made = of_items(&this(call)?, task, items)?;
    call.give(made);
    Ok(())
}

/// Implements `chunks()`.
fn chunks(call: &mut Call<'_>) -> Result<(), Thrown> {
    let size = call.argument(1).and_then(Zval::long).unwrap_or(0);
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| call.refuse(1, "must be greater than or equal to 1"))?;
    let items = items(call)?;
    let made = in_chunks(&this(call)?, &items, size)?;
    call.give(made);
    Ok(())
}

/// Returns a group of tasks that call this one for at most `size` items each.
pub(crate) fn in_chunks(task: &Zval, items: &[Zval], size: usize) -> Result<Zval, Thrown> {
    let chunks = items.chunks(size).map(|chunk| {
        let items = chunk.iter().map(Zval::shallow_clone).collect();
        of_items(task, "celery.starmap", items)
    });
    let mut tasks = chunks.collect::<Result<Vec<_>, _>>()?;
    let members = tasks.iter().map(Zval::shallow_clone).collect();
    let mut group = tree::of_tasks(GROUP, members)?;
    if let Some(object) = group.object_mut() {
        tree::bind(object, &mut tasks)?;
    }
    Ok(group)
}

/// Returns a task of Celery's that calls a signature for each item. It has the same client.
fn of_items(signature: &Zval, task: &str, items: Vec<Zval>) -> Result<Zval, Thrown> {
    let kwargs = value::map([
        (value::string(b"task"), signature.shallow_clone()),
        (value::string(b"it"), value::list(items)?),
    ])?;
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        let parts = Parts {
            task: value::string(task.as_bytes()),
            args: value::list([])?,
            kwargs,
            immutable: true,
            options: Vec::new(),
        };
        parts.fill(object)?;
        tree::bind(object, &mut [signature.shallow_clone()])?;
    }
    Ok(made)
}

/// Returns the elements of the first argument. Runs PHP code.
fn items(call: &Call<'_>) -> Result<Vec<Zval>, Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let mut items = Vec::new();
    iterable::find(&given, |_, item| {
        items.push(item.shallow_clone());
        None::<()>
    })?;
    Ok(items)
}

/// Returns `$this`.
fn this(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let mut this = Zval::new();
    this.set_object(call.object()?);
    Ok(this)
}

/// Sets the properties of a new signature from Celery's form, as [`form`](super::canvas::form::form) has it.
pub(crate) fn read(object: &mut ZendObject, data: &Zval) -> Result<(), Thrown> {
    let broken = |why: &str| Thrown::celery(format!("This is not a signature: {why}."));
    let array = data.array().ok_or_else(|| broken("it is not an array"))?;
    let field = |name: &str| {
        let value = array.get(name).map(Zval::dereference);
        value
            .filter(|value| !value.is_null())
            .map(Zval::shallow_clone)
    };
    let task = field("task").filter(Zval::is_string);
    let task = task.ok_or_else(|| broken("it has no task"))?;
    let name = value::bytes(&task).and_then(|name| std::str::from_utf8(name).ok());
    names::check_task_name(name.unwrap_or_default())
        .map_err(|error| broken(&format!("its task cannot be used: {error}")))?;
    let part = |name: &str| match field(name) {
        None => Ok(value::list([])?),
        Some(part) if part.is_array() => Ok(part),
        Some(_) => Err(broken(&format!("its {name} is not an array"))),
    };
    let (args, kwargs, options) = (part("args")?, part("kwargs")?, part("options")?);
    if !value::is_list(&args) {
        return Err(broken("its args are not a list"));
    }
    let is_named = |part: &Zval| {
        let numbered = |key: Key<'_>, _: &Zval| matches!(key, Key::Index(_)).then_some(());
        value::find_in_array(part, numbered).is_none()
    };
    if !is_named(&kwargs) || !is_named(&options) {
        return Err(broken("its kwargs or options have keys that are not names"));
    }
    let immutable = field("immutable").is_some_and(|flag| flag.is_true());
    let parts = Parts {
        task,
        args,
        kwargs,
        immutable,
        options: parts::entries(&options),
    };
    parts.fill(object)
}
