//! `FakeClient`: a client without a broker.
//!
//! It writes every message as `Client` does, so that a test meets the same errors, and records them.
//! Its results ask no backend: they have ended as `willReturn()` says, or stay pending.

use std::rc::Rc;

use celery_protocol::glob::Glob;
use ext_php_rs::types::Zval;

use super::sent_task::{self, Sent};
use crate::classes::client::prepared::results;
use crate::classes::client::settings;
use crate::classes::client::state::Draft;
use crate::classes::result::model;
use crate::classes::result::model::{
    End, GROUP_PARENT, PARENT, SET, State, entries, id_of, is_result, make_set,
};
use crate::classes::result::place::Place;
use crate::classes::schedules::{self, Memory, Store};
use crate::classes::{canvas, interfaces, options, signature};
use crate::client::{Backend, Config};
use crate::connection::{Connection, Extras};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, method, optional, required};
use crate::ffi::object::{self, Held, Serializable, state};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};
use crate::ffi::{invoke, iterable};
use crate::recorder::Recorder;
use crate::sending::{self, Closures};
use crate::values::encode;

const NAME: &str = "Celery\\Testing\\FakeClient";

/// The server that is never asked.
const NO_SERVER: &str = "redis://localhost";

/// The places of what the object holds, in one array. The first has the routes.
///
/// Pairs of a glob and what the results of its tasks are.
const ANSWERS: usize = 1;
/// Pairs of an exception and how often it is thrown.
const THROWS: usize = 2;
const CANVASES: usize = 3;
const SENT: usize = 4;
/// The number of these places.
const PLACES: usize = 5;

/// The state of the object.
#[derive(Clone, Default)]
pub(super) struct FakeClient {
    config: Option<Rc<Config>>,
    recorder: Rc<Recorder>,
    schedules: Memory,
    held: Option<Held>,
}

state!(FakeClient, "Celery\\Testing\\FakeClient", held);

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let name = |default| optional("task", default).typed(Type::STRING.nullable());
    let class = Class::closed(NAME)
        .implementing("celery\\clientinterface")
        .with([
            method("__construct", handler!(construct), parameters()),
            method(
                "willReturn",
                handler!(will_return),
                [
                    required("task").typed(Type::STRING),
                    required("result").typed(Type::MIXED),
                ],
            )
            .returning(Type::STATIC),
            method(
                "willThrow",
                handler!(will_throw),
                [
                    required("exception").typed(Type::class("CeleryException")),
                    optional("times", "1").typed(Type::INT),
                ],
            )
            .returning(Type::STATIC),
            method("sent", handler!(sent), [name("null")]).returning(Type::ARRAY),
            method("canvases", handler!(canvases), []).returning(Type::ARRAY),
            method("revoked", handler!(revoked), []).returning(Type::ARRAY),
            method("reset", handler!(reset), []).returning(Type::VOID),
            method("signature", handler!(signature), signature::parameters())
                .returning(interfaces::SIGNATURE),
            method(
                "sendTask",
                handler!(send_task),
                options::parameters_of_send_task(),
            )
            .returning(interfaces::RESULT),
            method("send", handler!(send), interfaces::send())
                .returning(interfaces::RESULT_INTERFACE),
            method("sendTasks", handler!(send_tasks), interfaces::send_tasks())
                .returning(interfaces::RESULT_SET),
            method("result", handler!(result), interfaces::id()).returning(interfaces::RESULT),
            method("results", handler!(results_of), interfaces::results())
                .returning(interfaces::RESULT_SET),
            method("groupResult", handler!(group_result), interfaces::id())
                .returning(interfaces::GROUP_RESULT.nullable()),
            method("flush", handler!(flush), []).returning(Type::VOID),
            method("schedules", handler!(schedules_of), []).returning(schedules::TYPE),
        ])
        .declare()?;
    object::attach::<FakeClient>(class, Serializable::No);
    Ok(())
}

fn parameters() -> Vec<Param> {
    let serializer = Type::class("Celery\\Serializer").or(Type::STRING);
    vec![
        optional("queue", "null").typed(Type::STRING.nullable()),
        optional("routes", "[]").typed(Type::ARRAY),
        optional("serializer", "null").typed(serializer.nullable()),
        optional("protocol", "null").typed(Type::INT.nullable()),
    ]
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    if call.state::<FakeClient>()?.config.is_some() {
        return Err(object::is_constructed());
    }
    let broker = Connection::of_url(NO_SERVER, &Extras::default()).map_err(Thrown::celery)?;
    let mut draft = Draft {
        config: Config::of(broker, Backend::Broker),
        routes: value::list([])?,
        headers: Zval::null(),
    };
    settings::change_fake(call, &mut draft)?;
    let places = [
        draft.routes,
        value::list([])?,
        value::list([])?,
        value::list([])?,
        value::list([])?,
    ];
    let held = Held::new(value::list(places)?);
    let state = call.state::<FakeClient>()?;
    state.config = Some(Rc::new(draft.config));
    state.held = Some(held);
    Ok(())
}

/// Returns what the object holds.
fn places(call: &mut Call<'_>) -> Result<[Zval; PLACES], Thrown> {
    let held = call.state::<FakeClient>()?.held.as_ref().map(Held::get);
    let held = held.ok_or_else(|| Thrown::new(Kind::Error, "This client was not constructed."))?;
    Ok(std::array::from_fn(|place| {
        let place = i64::try_from(place).unwrap_or(0);
        let found = held.array().and_then(|all| all.get_index(place));
        found.map_or_else(Zval::null, Zval::shallow_clone)
    }))
}

/// Replaces one of the lists that the object holds.
fn keep(call: &mut Call<'_>, place: usize, entries: Vec<Zval>) -> Result<(), Thrown> {
    let mut all = places(call)?;
    all[place] = value::list(entries)?;
    let held = Held::new(value::list(all)?);
    call.state::<FakeClient>()?.held = Some(held);
    Ok(())
}

/// Returns one of the lists that the object holds.
fn list(call: &mut Call<'_>, place: usize) -> Result<Vec<Zval>, Thrown> {
    let all = places(call)?;
    let entries = canvas::parts::entries(&all[place]).into_iter();
    Ok(entries.map(|(_, entry)| entry).collect())
}

fn add(call: &mut Call<'_>, place: usize, entries: Vec<Zval>) -> Result<(), Thrown> {
    let mut all = list(call, place)?;
    all.extend(entries);
    keep(call, place, all)
}

fn pair(first: Zval, second: Zval) -> Result<Zval, Thrown> {
    Ok(value::list([first, second])?)
}

/// Returns the parts of a pair.
fn parts(pair: &Zval) -> [Zval; 2] {
    std::array::from_fn(|place| {
        let place = i64::try_from(place).unwrap_or(0);
        let part = pair.array().and_then(|pair| pair.get_index(place));
        part.map_or_else(Zval::null, Zval::shallow_clone)
    })
}

fn argument(call: &Call<'_>, index: usize) -> Zval {
    call.argument(index)
        .map_or_else(Zval::null, Zval::shallow_clone)
}

fn give_this(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = model::this(call)?;
    call.give(this);
    Ok(())
}

/// Reads a glob of task names.
fn glob(call: &Call<'_>, index: usize) -> Result<Glob, Thrown> {
    let text = argument(call, index);
    let text = String::from_utf8_lossy(value::bytes(&text).unwrap_or_default()).into_owned();
    Glob::new(&text).map_err(|error| call.refuse(index, &format!("cannot be used: {error}")))
}

fn will_return(call: &mut Call<'_>) -> Result<(), Thrown> {
    glob(call, 0)?;
    let answer = pair(argument(call, 0), argument(call, 1))?;
    add(call, ANSWERS, vec![answer])?;
    give_this(call)
}

fn will_throw(call: &mut Call<'_>) -> Result<(), Thrown> {
    let times = call.argument(1).and_then(Zval::long).unwrap_or(1);
    if times < 1 {
        return Err(call.refuse(1, "must be greater than 0"));
    }
    let throws = pair(argument(call, 0), Key::Index(times).to_zval())?;
    add(call, THROWS, vec![throws])?;
    give_this(call)
}

/// Throws what `willThrow()` has ordered.
fn ordered(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut throws = list(call, THROWS)?;
    let Some(first) = throws.first() else {
        return Ok(());
    };
    let [exception, times] = parts(first);
    match times.long() {
        Some(more @ 2..) => {
            let left = Key::Index(more - 1).to_zval();
            throws[0] = pair(exception.shallow_clone(), left)?;
        }
        _ => drop(throws.remove(0)),
    }
    keep(call, THROWS, throws)?;
    Err(throw::object(exception))
}

/// Implements `sent()`.
fn sent(call: &mut Call<'_>) -> Result<(), Thrown> {
    let wanted = match call.argument(0).filter(|task| !task.is_null()) {
        Some(_) => Some(glob(call, 0)?),
        None => None,
    };
    let mut all = list(call, SENT)?;
    if let Some(wanted) = wanted {
        all.retain(|sent| wanted.matches(&sent_task::names(sent).1));
    }
    call.give(value::list(all)?);
    Ok(())
}

fn canvases(call: &mut Call<'_>) -> Result<(), Thrown> {
    let all = list(call, CANVASES)?;
    call.give(value::list(all)?);
    Ok(())
}

fn revoked(call: &mut Call<'_>) -> Result<(), Thrown> {
    let ids = call.state::<FakeClient>()?.recorder.revoked();
    let ids = ids.iter().map(|id| value::string(id.as_bytes()));
    call.give(value::list(ids)?);
    Ok(())
}

/// Implements `reset()`: forgets what was sent, and all answers.
fn reset(call: &mut Call<'_>) -> Result<(), Thrown> {
    for place in [ANSWERS, THROWS, CANVASES, SENT] {
        keep(call, place, Vec::new())?;
    }
    let state = call.state::<FakeClient>()?;
    state.recorder.reset();
    state.schedules.borrow_mut().clear();
    Ok(())
}

/// Implements `schedules()`: entries in memory.
fn schedules_of(call: &mut Call<'_>) -> Result<(), Thrown> {
    let entries = Rc::clone(&call.state::<FakeClient>()?.schedules);
    schedules::give(call, Store::Memory(entries))
}

fn signature(call: &mut Call<'_>) -> Result<(), Thrown> {
    let made = signature::bound(call)?;
    call.give(made);
    Ok(())
}

fn send_task(call: &mut Call<'_>) -> Result<(), Thrown> {
    let canvas = signature::of_send_task(call)?;
    ordered(call)?;
    let result = deliver(call, &canvas)?;
    call.give(result);
    Ok(())
}

fn send(call: &mut Call<'_>) -> Result<(), Thrown> {
    let canvas = argument(call, 0);
    ordered(call)?;
    let result = deliver(call, &canvas)?;
    call.give(result);
    Ok(())
}

/// Implements `sendTasks()`.
fn send_tasks(call: &mut Call<'_>) -> Result<(), Thrown> {
    let tasks = argument(call, 0);
    let mut all = Vec::new();
    let wrong = iterable::find(&tasks, |key, canvas| {
        all.push((value::array_key(key), canvas.shallow_clone()));
        (!object::is_instance(canvas, canvas::form::NAME)).then_some(())
    })?;
    if wrong.is_some() {
        return Err(call.refuse(0, "must contain only Celery\\Canvas"));
    }
    ordered(call)?;
    let mut results = Vec::new();
    for (key, canvas) in all {
        results.push((key, deliver(call, &canvas)?));
    }
    let place = place(call)?;
    call.give(make_set(place, value::map(results)?)?);
    Ok(())
}

fn place(call: &mut Call<'_>) -> Result<Place, Thrown> {
    let recorder = &call.state::<FakeClient>()?.recorder;
    Ok(Place::Fake(Rc::clone(recorder)))
}

/// Records what a canvas would publish, and returns its result.
fn deliver(call: &mut Call<'_>, canvas: &Zval) -> Result<Zval, Thrown> {
    let [routes, ..] = places(call)?;
    let config = call.state::<FakeClient>()?.config.clone();
    let config =
        config.ok_or_else(|| Thrown::new(Kind::Error, "This client was not constructed."))?;
    let closures = Closures {
        routes,
        headers: Zval::null(),
    };
    let (plan, _) = sending::plan(&config, &closures, &encode::encode(canvas, "")?)?;
    let result = results(&place(call)?, &plan)?;
    let (mut messages, mut tasks) = (Vec::new(), Vec::new());
    for message in &plan.messages {
        let Sent { message, later } = Sent::read(message)?;
        tasks.push(message.shallow_clone());
        tasks.extend(later);
        messages.push(message);
    }
    add(call, SENT, messages)?;
    add(call, CANVASES, vec![canvas.shallow_clone()])?;
    let answers = list(call, ANSWERS)?;
    let mut all = Vec::new();
    collect(&result, &mut all)?;
    for task in tasks {
        answer(&task, &answers, &all)?;
    }
    Ok(result)
}

/// Collects the results of single tasks in a result, and those before it.
fn collect(result: &Zval, all: &mut Vec<Zval>) -> Result<(), Thrown> {
    let Some(object) = result.object() else {
        return Ok(());
    };
    let parent = if object::is_instance(result, SET) {
        for (_, member) in entries(result)? {
            collect(&member, all)?;
        }
        object::get(object, GROUP_PARENT)
    } else {
        all.push(result.shallow_clone());
        object::get(object, PARENT)
    };
    collect(&parent, all)
}

/// Ends the result of a task as the last matching answer says. Runs PHP code.
fn answer(task: &Zval, answers: &[Zval], results: &[Zval]) -> Result<(), Thrown> {
    let (id, name) = sent_task::names(task);
    let matching = answers.iter().rev().map(parts).find(|[glob, _]| {
        let glob = String::from_utf8_lossy(value::bytes(glob).unwrap_or_default()).into_owned();
        Glob::new(&glob).is_ok_and(|glob| glob.matches(&name))
    });
    let Some([_, answer]) = matching else {
        return Ok(());
    };
    let answer = if object::is_instance(&answer, "Closure") {
        invoke::function(&answer, &[task.shallow_clone()])?
    } else {
        answer
    };
    let has_failed = object::is_instance(&answer, "Celery\\TaskException");
    for result in results {
        let mut result = result.shallow_clone();
        if let Some(object) = result.object_mut()
            && id_of(object) == id
        {
            let state = object::state_of::<State>(object)?;
            state.end = Some(if has_failed {
                End::Exception
            } else {
                End::Value
            });
            state.held = Some(Held::new(answer.shallow_clone()));
        }
    }
    Ok(())
}

/// Returns the argument that is an id.
fn id(call: &Call<'_>) -> Result<String, Thrown> {
    let id = argument(call, 0);
    let id = String::from_utf8_lossy(value::bytes(&id).unwrap_or_default()).into_owned();
    match celery_protocol::names::check_task_id(&id) {
        Ok(()) => Ok(id),
        Err(error) => Err(call.refuse(0, &format!("cannot be used: {error}"))),
    }
}

fn result(call: &mut Call<'_>) -> Result<(), Thrown> {
    let id = id(call)?;
    let made = model::at(place(call)?, &id, None, Zval::null())?;
    call.give(made);
    Ok(())
}

/// Implements `results()`.
fn results_of(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (ids, place) = (argument(call, 0), place(call)?);
    let mut all = Vec::new();
    let refused = iterable::find(&ids, |key, id| {
        let made = match value::bytes(id) {
            Some(id) => {
                let id = String::from_utf8_lossy(id);
                model::at(place.clone(), &id, None, Zval::null())
            }
            None if is_result(id) => Ok(id.shallow_clone()),
            None => Err(call.refuse(0, "must contain only strings and Celery\\Result")),
        };
        match made {
            Ok(result) => {
                all.push((value::array_key(key), result));
                None
            }
            Err(thrown) => Some(thrown),
        }
    })?;
    if let Some(thrown) = refused {
        return Err(thrown);
    }
    call.give(make_set(place, value::map(all)?)?);
    Ok(())
}

/// Implements `groupResult()`: nothing is ever saved.
fn group_result(call: &mut Call<'_>) -> Result<(), Thrown> {
    id(call)?;
    call.give(Zval::null());
    Ok(())
}

/// Implements `flush()`: no answer is outstanding.
fn flush(call: &mut Call<'_>) -> Result<(), Thrown> {
    ordered(call)
}
