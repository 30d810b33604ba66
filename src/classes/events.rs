//! `Events`: a subscription to the events of workers, and `Event`.
//!
//! The subscription has a connection of its own, which no other call uses. While a call waits for
//! an event, a signal handler that asks the same object for one gets an exception.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, Wait};
use celery_protocol::control::Request;
use celery_protocol::events::Received;
use celery_protocol::glob::Glob;
use ext_php_rs::types::Zval;

use super::client::state::Client;
use super::interfaces::DURATION;
use super::{durations, private, remote};
use crate::client::Config;
use crate::control::{Subscription, broadcast};
use crate::errors;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, Property, method, optional};
use crate::ffi::iterator::{self, Iterate, Steps};
use crate::ffi::json::Objects;
use crate::ffi::object::{self, Serializable, state};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::pool::PhpInterrupt;
use crate::values;

const NAME: &str = "Celery\\Events";
pub(super) const TYPE: Type = Type::class(NAME);
const EVENT: &str = "Celery\\Event";

/// The slots of the properties of an event.
const KIND: usize = 0;
const HOSTNAME: usize = 1;
const TIMESTAMP: usize = 2;
const CLOCK: usize = 3;
const UUID: usize = 4;
const FIELDS: usize = 5;

/// The time that `next()` waits where the call names none.
const NEXT: std::time::Duration = std::time::Duration::from_secs(1);

/// The state of an object.
#[derive(Clone, Default)]
pub(crate) struct State {
    open: Option<Rc<Open>>,
}

state!(State, "Celery\\Events");

/// An open subscription.
struct Open {
    client: Rc<Config>,
    /// `None` after `close()`, and while a call waits.
    subscription: RefCell<Option<Subscription>>,
    is_closed: Cell<bool>,
    /// The end of loops.
    deadline: Deadline,
    /// The number of events that loops may still return.
    left: Cell<u64>,
}

/// Declares the classes.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::closed(EVENT)
        .implementing("jsonserializable")
        .having([
            Property::readonly("type", Type::STRING),
            Property::readonly("hostname", Type::STRING),
            Property::readonly("timestamp", Type::FLOAT),
            Property::readonly("clock", Type::INT),
            Property::readonly("uuid", Type::STRING.nullable()),
            Property::readonly("fields", Type::ARRAY),
        ])
        .with([
            private::constructor(),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
        ])
        .declare()?;
    let class = Class::closed(NAME)
        .implementing("iteratoraggregate")
        .with([
            private::constructor(),
            method("getIterator", handler!(get_iterator), []).returning(Type::class("Traversable")),
            method(
                "next",
                handler!(next),
                [optional("timeout", "1.0").typed(DURATION)],
            )
            .returning(Type::class(EVENT).nullable()),
            method("close", handler!(close), []).returning(Type::VOID),
        ])
        .declare()?;
    iterator::iterate::<State>(class);
    object::attach::<State>(class, Serializable::No);
    object::refuse_clones::<State>();
    Ok(())
}

/// Returns the parameters of `Client::events()`.
pub(super) fn parameters() -> Vec<Param> {
    vec![
        optional("types", "'*'").typed(Type::STRING.or(Type::ARRAY)),
        optional("timeout", "null").typed(DURATION.nullable()),
        optional("limit", "null").typed(Type::INT.nullable()),
        optional("enable", "false").typed(Type::BOOL),
    ]
}

/// Implements `Client::events()`: subscribes, and asks the workers for a sign of life.
pub(super) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?.config()?;
    let types = types(call, 0)?;
    let timeout = durations::wait(call, 1)?.or(client.result_timeout());
    let limit = remote::limit(call, 2)?;
    let enable = call.argument(3).is_some_and(Zval::is_true);
    let deadline = Deadline::after(client.command_timeout());
    let mut interrupt = PhpInterrupt;
    let wait = &mut Wait::until(deadline, &mut interrupt);
    let subscription =
        Subscription::open(&client, types, wait).map_err(|error| failed(&client, error))?;
    // A worker that gets this sends a heartbeat at once, as for Celery's own receivers. A user who
    // may not send commands can listen nevertheless.
    let woken = broadcast(&client, &Request::new("heartbeat"));
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    if enable {
        woken?;
        broadcast(&client, &Request::new("enable_events"))?;
    }
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::state_of::<State>(object)?.open = Some(Rc::new(Open {
            client: Rc::clone(&client),
            subscription: RefCell::new(Some(subscription)),
            is_closed: Cell::new(false),
            deadline: Deadline::after(timeout),
            left: Cell::new(
                limit
                    .and_then(|limit| u64::try_from(limit).ok())
                    .unwrap_or(u64::MAX),
            ),
        }));
    }
    call.give(made);
    Ok(())
}

/// Returns the patterns of types.
fn types(call: &Call<'_>, index: usize) -> Result<Vec<Glob>, Thrown> {
    let Some(given) = call.argument(index) else {
        return Ok(Glob::new("*").into_iter().collect());
    };
    let types = remote::texts(given).filter(|types| !types.is_empty());
    let Some(types) = types else {
        let why = "must be a pattern of types of events, or a list of them";
        return Err(call.refuse(index, why));
    };
    let glob = |pattern: &String| {
        Glob::new(pattern).map_err(|error| call.refuse(index, &error.to_string()))
    };
    types.iter().map(glob).collect()
}

fn failed(client: &Config, error: ClientError) -> Thrown {
    errors::command("listen to events", &client.broker, error)
}

impl Open {
    /// Waits for the next event until `deadline`.
    fn wait(&self, deadline: Deadline) -> Result<Option<Received>, Thrown> {
        if self.is_closed.get() {
            return Ok(None);
        }
        let taken = self.subscription.borrow_mut().take();
        let Some(mut subscription) = taken else {
            return Err(Thrown::new(
                Kind::Logic,
                "Another call is waiting for the next of these events.",
            ));
        };
        let mut interrupt = PhpInterrupt;
        let next = subscription.next(&mut Wait::until(deadline, &mut interrupt));
        if !self.is_closed.get() {
            *self.subscription.borrow_mut() = Some(subscription);
        }
        if throw::is_pending() {
            return Err(Thrown::Pending);
        }
        next.map_err(|error| failed(&self.client, error))
    }
}

/// Creates the object of an event.
fn event(received: &Received) -> Result<Zval, Thrown> {
    let mut made = object::new(EVENT)?;
    let fields = serde_json::to_string(&received.members)
        .map_err(|error| Thrown::celery(format!("An event cannot be read: {error}.")))?;
    let fields = values::decode_as(&fields, Objects::AsArrays)?;
    let text = |text: &str| value::string(text.as_bytes());
    let mut timestamp = Zval::new();
    timestamp.set_double(received.number("timestamp").unwrap_or(0.0));
    let mut clock = Zval::new();
    let ticks = received.members.get("clock");
    clock.set_long(ticks.and_then(serde_json::Value::as_i64).unwrap_or(0));
    if let Some(object) = made.object_mut() {
        object::init(object, KIND, text(&received.kind));
        object::init(object, HOSTNAME, text(&received.hostname));
        object::init(object, TIMESTAMP, timestamp);
        object::init(object, CLOCK, clock);
        let uuid = received.text("uuid").map_or_else(Zval::null, text);
        object::init(object, UUID, uuid);
        object::init(object, FIELDS, fields);
    }
    Ok(made)
}

fn opened(object: &mut ext_php_rs::types::ZendObject) -> Result<Rc<Open>, Thrown> {
    let open = object::state_of::<State>(object)?.open.clone();
    open.ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))
}

/// The events of a loop.
struct Loop {
    open: Rc<Open>,
    key: i64,
}

impl Steps for Loop {
    fn next(&mut self) -> Result<Option<(Zval, Zval)>, Thrown> {
        let left = self.open.left.get();
        if left == 0 || self.open.deadline.has_passed() {
            return Ok(None);
        }
        let Some(received) = self.open.wait(self.open.deadline)? else {
            return Ok(None);
        };
        self.open.left.set(left - 1);
        let mut key = Zval::new();
        key.set_long(self.key);
        self.key += 1;
        Ok(Some((key, event(&received)?)))
    }

    /// A loop goes on where an earlier one has ended.
    fn rewind(&mut self) -> Result<(), Thrown> {
        Ok(())
    }
}

impl Iterate for State {
    fn steps(object: &Zval) -> Result<Box<dyn Steps>, Thrown> {
        let mut object = object.shallow_clone();
        let object = object
            .object_mut()
            .ok_or_else(|| Thrown::new(Kind::Error, "Events are an object."))?;
        let open = opened(object)?;
        Ok(Box::new(Loop { open, key: 0 }))
    }
}

/// Implements `getIterator()`.
fn get_iterator(call: &mut Call<'_>) -> Result<(), Thrown> {
    let open = opened(call.object()?)?;
    iterator::give(call, Box::new(Loop { open, key: 0 }))
}

/// Implements `next()`, whose time does not depend on that of loops.
fn next(call: &mut Call<'_>) -> Result<(), Thrown> {
    let timeout = durations::wait(call, 0)?.or(NEXT);
    let open = opened(call.object()?)?;
    if let Some(received) = open.wait(Deadline::after(timeout))? {
        call.give(event(&received)?);
    }
    Ok(())
}

/// Implements `close()`.
fn close(call: &mut Call<'_>) -> Result<(), Thrown> {
    let open = opened(call.object()?)?;
    open.is_closed.set(true);
    drop(open.subscription.borrow_mut().take());
    Ok(())
}

/// Implements `Event::jsonSerialize()`.
fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let fields = object::get(call.object()?, FIELDS);
    call.give(fields);
    Ok(())
}
