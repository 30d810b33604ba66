//! What the classes of results have in common: their state, their slots, and what becomes of a stored
//! tree. The classes themselves are in files of their own, which import this one.

use std::rc::Rc;

use celery_protocol::result::{ResultTree, State as TaskState};
use ext_php_rs::types::{ZendObject, Zval};

use super::place::Place;
use crate::classes::exceptions::UNREADABLE;
use crate::client::Config;
use crate::ffi::bailout;
use crate::ffi::call::Call;
use crate::ffi::object::{self, Held, is_instance, state};
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::messages::Document;

pub(crate) const NAME: &str = "Celery\\Result";
pub(crate) const SET: &str = "Celery\\ResultSet";
pub(crate) const GROUP: &str = "Celery\\GroupResult";

/// The slots of the properties of a `Result`.
pub(crate) const ID: usize = 0;
pub(crate) const TASK: usize = 1;
pub(crate) const PARENT: usize = 2;
/// The slots of the properties of a `GroupResult`.
pub(crate) const GROUP_ID: usize = 0;
pub(crate) const GROUP_PARENT: usize = 1;

/// How a task has ended.
#[derive(Clone)]
pub(crate) enum End {
    /// As the backend stores it.
    Stored(Rc<Document>),
    /// With the value in the state, for a test.
    Value,
    /// With the exception in the state, for a test.
    Exception,
}

/// The state of a result.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) place: Place,
    /// How the task has ended, once that is known.
    pub(crate) end: Option<End>,
    /// The value of a task that has succeeded, once it was decoded; or what a test has given.
    pub(crate) held: Option<Held>,
}

state!(State, "Celery\\Result", held);

/// The state of a set, and of a group.
#[derive(Clone, Default)]
pub(crate) struct SetState {
    /// The results, under their keys.
    pub(crate) held: Option<Held>,
    /// The client that made the set, if one did.
    pub(crate) place: Place,
}

state!(SetState, "Celery\\ResultSet", held);

/// Creates the result of a task. `parent` is a result, a group result or null.
pub(crate) fn make(
    client: &Rc<Config>,
    id: &str,
    task: Option<&str>,
    parent: Zval,
) -> Result<Zval, Thrown> {
    at(Place::Client(Rc::clone(client)), id, task, parent)
}

/// Creates a result of a client that may be named in another way.
pub(crate) fn at(place: Place, id: &str, task: Option<&str>, parent: Zval) -> Result<Zval, Thrown> {
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        set(object, id, task, parent);
        object::state_of::<State>(object)?.place = place;
    }
    Ok(made)
}

/// Sets the properties of a new object.
pub(crate) fn set(object: &mut ZendObject, id: &str, task: Option<&str>, parent: Zval) {
    object::init(object, ID, value::string(id.as_bytes()));
    let task = task.map_or_else(Zval::null, |task| value::string(task.as_bytes()));
    object::init(object, TASK, task);
    object::init(object, PARENT, parent);
}

/// Creates the result, or the group result, of a stored tree.
pub(crate) fn of_tree(place: &Place, tree: &ResultTree) -> Result<Zval, Thrown> {
    let parent = match &tree.parent {
        Some(parent) => of_tree(place, parent)?,
        None => Zval::null(),
    };
    match &tree.members {
        None => at(place.clone(), &tree.id, None, parent),
        Some(members) => {
            let mut results = Vec::with_capacity(members.len());
            for member in members {
                results.push(of_tree(place, member)?);
            }
            make_group(place, &tree.id, value::list(results)?, parent)
        }
    }
}

/// Returns a result as a tree, for a saved group.
pub(crate) fn tree(result: &Zval) -> Result<ResultTree, Thrown> {
    if let Some(tree) = tree_of_group(result)? {
        return Ok(tree);
    }
    let Some(object) = result.object() else {
        return Ok(ResultTree::task(""));
    };
    let tree = ResultTree::task(id_of(object));
    let parent = object::get(object, PARENT);
    if parent.is_null() {
        Ok(tree)
    } else {
        Ok(tree.after(self::tree(&parent)?))
    }
}

/// Returns the id of a `Result`.
pub(crate) fn id_of(object: &ZendObject) -> String {
    let id = object::get(object, ID);
    id.str().unwrap_or_default().to_owned()
}

/// Returns the state of a `Result`.
pub(crate) fn state_of(result: &Zval) -> Result<State, Thrown> {
    let mut result = result.shallow_clone();
    match result.object_mut() {
        Some(object) => object::state_of::<State>(object).cloned(),
        None => Ok(State::default()),
    }
}

/// Keeps a final document in a `Result`.
pub(crate) fn settle(result: &Zval, document: &Rc<Document>) -> Result<(), Thrown> {
    let mut result = result.shallow_clone();
    if let Some(object) = result.object_mut() {
        object::state_of::<State>(object)?.end = Some(End::Stored(Rc::clone(document)));
    }
    Ok(())
}

/// Forgets how the task of a `Result` has ended.
pub(crate) fn unsettle(result: &Zval) -> Result<(), Thrown> {
    let mut result = result.shallow_clone();
    let Some(object) = result.object_mut() else {
        return Ok(());
    };
    let state = object::state_of::<State>(object)?;
    state.end = None;
    let held = state.held.take();
    // The value may hold the last reference to an object, whose destructor then runs.
    bailout::catch(|| drop(held))?;
    Ok(())
}

/// Reads a document of the backend.
pub(crate) fn read_document(id: &str, stored: &[u8]) -> Result<Document, Thrown> {
    Document::read(id, stored).map_err(|thrown| thrown.of_kind(UNREADABLE))
}

/// Returns `true` if a task has ended with success.
pub(crate) fn is_success(state: &State) -> bool {
    match &state.end {
        Some(End::Stored(document)) => document.doc.status == TaskState::Success,
        Some(End::Value) => true,
        Some(End::Exception) | None => false,
    }
}

/// Returns the object of a call as a value.
pub(crate) fn this(call: &mut Call<'_>) -> Result<Zval, Thrown> {
    let mut this = Zval::new();
    this.set_object(call.object()?);
    Ok(this)
}

/// Creates a result that has ended and never asks a backend.
pub(crate) fn ended(id: &str, end: End, held: Zval) -> Result<Zval, Thrown> {
    let mut made = at(Place::Nowhere, id, None, Zval::null())?;
    if let Some(object) = made.object_mut() {
        let state = object::state_of::<State>(object)?;
        state.end = Some(end);
        state.held = Some(Held::new(held));
    }
    Ok(made)
}

/// Creates a set of results.
pub(crate) fn make_set(place: Place, results: Zval) -> Result<Zval, Thrown> {
    let mut made = object::new(SET)?;
    if let Some(object) = made.object_mut() {
        *object::state_of::<SetState>(object)? = SetState {
            held: Some(Held::new(results)),
            place,
        };
    }
    Ok(made)
}

/// Returns the state of a set or a group.
pub(crate) fn set_state_of(set: &Zval) -> Result<SetState, Thrown> {
    let mut set = set.shallow_clone();
    match set.object_mut() {
        Some(object) => object::state_of::<SetState>(object).cloned(),
        None => Ok(SetState::default()),
    }
}

/// Returns the array of results of a set or a group.
pub(crate) fn results_of(set: &Zval) -> Result<Zval, Thrown> {
    match set_state_of(set)?.held {
        Some(held) => Ok(held.get()),
        None => Ok(value::list([])?),
    }
}

/// Returns the entries of a set: keys and results.
pub(crate) fn entries(set: &Zval) -> Result<Vec<(Zval, Zval)>, Thrown> {
    let results = results_of(set)?;
    let mut entries = Vec::new();
    let _: Option<()> = value::find_in_array(&results, |key, result| {
        entries.push((key.to_zval(), result.shallow_clone()));
        None
    });
    Ok(entries)
}

/// Returns the results of single tasks in a result, a set or a group, however deeply they are nested.
pub(crate) fn leaves(result: &Zval) -> Result<Vec<Zval>, Thrown> {
    if !object::is_instance(result, SET) {
        return Ok(vec![result.shallow_clone()]);
    }
    let mut all = Vec::new();
    for (_, entry) in entries(result)? {
        all.extend(leaves(&entry)?);
    }
    Ok(all)
}

/// Creates the results of a group. `results` is a list of results, `parent` a result or null.
pub(crate) fn make_group(
    place: &Place,
    id: &str,
    results: Zval,
    parent: Zval,
) -> Result<Zval, Thrown> {
    let mut made = object::new(GROUP)?;
    if let Some(object) = made.object_mut() {
        object::init(object, GROUP_ID, value::string(id.as_bytes()));
        object::init(object, GROUP_PARENT, parent);
        *object::state_of::<SetState>(object)? = SetState {
            held: Some(Held::new(results)),
            place: place.clone(),
        };
    }
    Ok(made)
}

/// Returns the parent of a group; `None` if the value is not a group.
pub(crate) fn parent_of_group(group: &Zval) -> Option<Zval> {
    let object = group.object()?;
    object::is_instance(group, GROUP).then(|| object::get(object, GROUP_PARENT))
}

/// Returns a group as a tree; `None` if the value is not a group.
pub(crate) fn tree_of_group(group: &Zval) -> Result<Option<ResultTree>, Thrown> {
    let (Some(parent), Some(object)) = (parent_of_group(group), group.object()) else {
        return Ok(None);
    };
    let id = object::get(object, GROUP_ID);
    let results = results_of(group)?;
    let mut members = Vec::new();
    let failed = value::find_in_array(&results, |_, member| match tree(member) {
        Ok(tree) => {
            members.push(tree);
            None
        }
        Err(thrown) => Some(thrown),
    });
    if let Some(thrown) = failed {
        return Err(thrown);
    }
    let tree = ResultTree::group(id.str().unwrap_or_default(), members);
    if parent.is_null() {
        Ok(Some(tree))
    } else {
        Ok(Some(tree.after(self::tree(&parent)?)))
    }
}

/// Returns `true` for a result of a task or of a group.
pub(crate) fn is_result(value: &Zval) -> bool {
    is_instance(value, NAME) || is_instance(value, GROUP)
}
