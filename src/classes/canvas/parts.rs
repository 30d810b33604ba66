//! What the methods of every canvas need: copies, arguments, options, stamps, the bound client.

use ext_php_rs::types::{ZendObject, Zval};

use super::form::{ID, IMMUTABLE, OPTIONS};
use crate::classes::options;
use crate::ffi::call::Call;
use crate::ffi::class::{Param, variadic};
use crate::ffi::object::{self, Held, state};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};

/// The state of a canvas.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// The client that it is bound to: an object of `Celery\ClientInterface`.
    client: Option<Held>,
}

state!(State, "Celery\\Canvas", client);

/// Returns the parameter that takes any arguments, with or without names.
pub(crate) fn parameter(name: &'static str) -> [Param; 1] {
    [variadic(name).typed(Type::MIXED)]
}

/// Arguments for a task.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Zval>,
    /// Names and values.
    pub(crate) named: Vec<(Zval, Zval)>,
}

impl Arguments {
    /// Returns those of a variadic parameter.
    pub(crate) fn of_call(call: &Call<'_>) -> Self {
        let mut named = Vec::new();
        if let Some(table) = call.named() {
            for (key, value) in table {
                named.push((
                    value::string(key.to_string().as_bytes()),
                    value.shallow_clone(),
                ));
            }
        }
        Arguments {
            positional: call.rest(0).iter().map(Zval::shallow_clone).collect(),
            named,
        }
    }

    /// Returns those in the parameters `$args` and `$kwargs` at `index`. Refuses an array that is
    /// not a list, and names that are numbers.
    pub(crate) fn of_arrays(call: &Call<'_>, index: usize) -> Result<Self, Thrown> {
        let mut arguments = Arguments::default();
        if let Some(args) = call.argument(index) {
            if !value::is_list(args) {
                return Err(call.refuse(index, "must be a list"));
            }
            value::find_in_array(args, |_, value| {
                arguments.positional.push(value.shallow_clone());
                None::<()>
            });
        }
        if let Some(kwargs) = call.argument(index + 1) {
            Arguments::check_names(call, index + 1, kwargs)?;
            arguments.named = entries(kwargs);
        }
        Ok(arguments)
    }

    /// Refuses keyword arguments whose keys are not names.
    pub(crate) fn check_names(call: &Call<'_>, index: usize, kwargs: &Zval) -> Result<(), Thrown> {
        let wrong = value::find_in_array(kwargs, |key, _| match key {
            Key::Name(_) => None,
            Key::Index(_) => Some(()),
        });
        match wrong {
            Some(()) => Err(call.refuse(index, "must have names as keys")),
            None => Ok(()),
        }
    }

    /// Returns a copy that shares the values.
    pub(crate) fn copy(&self) -> Self {
        let named = self.named.iter();
        Arguments {
            positional: self.positional.iter().map(Zval::shallow_clone).collect(),
            named: named
                .map(|(name, value)| (name.shallow_clone(), value.shallow_clone()))
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positional.is_empty() && self.named.is_empty()
    }
}

/// Returns a copy that a change was made to.
pub(crate) fn changed(
    object: &ZendObject,
    change: impl FnOnce(&mut ZendObject) -> Result<(), Thrown>,
) -> Result<Zval, Thrown> {
    let mut copy = object::copy(object)?;
    if let Some(object) = copy.object_mut() {
        change(object)?;
    }
    Ok(copy)
}

/// Sets the properties of a new canvas.
pub(crate) fn fill(
    object: &mut ZendObject,
    immutable: bool,
    options: Vec<options::Given>,
) -> Result<(), Thrown> {
    let mut flag = Zval::new();
    flag.set_bool(immutable);
    object::init(object, IMMUTABLE, flag);
    object::init(object, OPTIONS, value::list([])?);
    object::init(object, ID, Zval::null());
    add_options(object, options)
}

/// Sets options of a canvas that PHP code has not seen yet.
pub(crate) fn add_options(
    object: &mut ZendObject,
    given: Vec<options::Given>,
) -> Result<(), Thrown> {
    if given.is_empty() {
        return Ok(());
    }
    let id = given
        .iter()
        .find(|(name, _)| value::bytes(name) == Some(b"task_id"))
        .map(|(_, id)| id.shallow_clone());
    let mut all = entries(&object::get(object, OPTIONS));
    all.extend(given);
    object::init(object, OPTIONS, value::map(all)?);
    if let Some(id) = id {
        object::init(object, ID, id);
    }
    Ok(())
}

/// Returns the entries of an array.
pub(crate) fn entries(array: &Zval) -> Vec<(Zval, Zval)> {
    let mut all = Vec::new();
    value::find_in_array(array, |key, value| {
        all.push((key.to_zval(), value.shallow_clone()));
        None::<()>
    });
    all
}

/// Returns an option of a canvas.
pub(crate) fn option(object: &ZendObject, name: &str) -> Option<Zval> {
    let options = object::get(object, OPTIONS);
    let found = options.array()?.get(name)?;
    Some(found.dereference().shallow_clone())
}

impl Arguments {
    /// Returns all values, whether they have names or not.
    pub(crate) fn values(self) -> impl Iterator<Item = Zval> {
        let named = self.named.into_iter().map(|(_, value)| value);
        self.positional.into_iter().chain(named)
    }
}

/// Adds stamps to those that a canvas has.
pub(crate) fn add_stamps(object: &mut ZendObject, stamps: Vec<(Zval, Zval)>) -> Result<(), Thrown> {
    if stamps.is_empty() {
        return Ok(());
    }
    let listed = option(object, "stamped_headers");
    let mut names: Vec<Zval> = listed
        .iter()
        .flat_map(entries)
        .map(|(_, name)| name)
        .collect();
    for (name, _) in &stamps {
        if !names
            .iter()
            .any(|other| value::bytes(other) == value::bytes(name))
        {
            names.push(name.shallow_clone());
        }
    }
    let mut given = vec![(value::string(b"stamped_headers"), value::list(names)?)];
    given.extend(stamps);
    add_options(object, given)
}

/// Binds a canvas to a client.
pub(crate) fn set_client(object: &mut ZendObject, client: Zval) -> Result<(), Thrown> {
    object::state_of::<State>(object)?.client = Some(Held::new(client));
    Ok(())
}

/// Returns the client that a canvas is bound to.
pub(crate) fn client(object: &mut ZendObject) -> Result<Option<Zval>, Thrown> {
    let state = object::state_of::<State>(object)?;
    Ok(state.client.as_ref().map(Held::get))
}

/// Returns the options of a call without those that a call does not change: the group, and the
/// stamps.
pub(crate) fn changeable(object: &ZendObject, given: Vec<options::Given>) -> Vec<options::Given> {
    let own = object::get(object, OPTIONS);
    let stamps = option(object, "stamped_headers");
    let stamps: Vec<Zval> = stamps
        .iter()
        .flat_map(entries)
        .map(|(_, name)| name)
        .collect();
    let is_fixed = |name: &Zval| {
        let name = value::bytes(name);
        let is_kept = matches!(name, Some(b"group_id" | b"stamped_headers"))
            || stamps.iter().any(|stamp| value::bytes(stamp) == name);
        let text = name.and_then(|name| std::str::from_utf8(name).ok());
        is_kept
            && own
                .array()
                .zip(text)
                .is_some_and(|(own, name)| own.get(name).is_some())
    };
    let given = given.into_iter().filter(|(name, _)| !is_fixed(name));
    given.collect()
}
