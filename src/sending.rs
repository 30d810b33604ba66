//! Sends what a canvas publishes: from its JSON to messages, posts and results.
//!
//! [`celery_protocol::canvas`] decides what is published. This module supplies the client's part:
//! routes, defaults, headers, and the sender's name.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use celery_protocol::RawValue;
use celery_protocol::canvas::{Caller, CanvasError, Options, Outcome, Plan, Signature, json};
use celery_protocol::fields::Fields;
use celery_protocol::message::{EncodeError, Protocol, Task};
use celery_protocol::time::Timestamp;
use ext_php_rs::types::Zval;

use crate::client::{Backend, Config};
use crate::errors::not_sent;
use crate::ffi::invoke;
use crate::ffi::object;
use crate::ffi::room;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value;
use crate::post::Wire;
use crate::process::{self, Sender};
use crate::settings::{self, Settings};
use crate::values::encode;
use crate::{replies, routes, values};

/// The parts of a client that may hold closures.
pub(crate) struct Closures {
    /// An array.
    pub(crate) routes: Zval,
    /// An array, a closure or null.
    pub(crate) headers: Zval,
}

impl Closures {
    /// Returns the client's headers as an object. Runs PHP code if they are a closure.
    fn headers(&self) -> Result<Option<Fields>, Thrown> {
        let headers = if self.headers.is_object() {
            invoke::function(&self.headers, &[])?
        } else {
            self.headers.shallow_clone()
        };
        if headers.is_null() {
            return Ok(None);
        }
        if !headers.is_array() {
            return Err(not_sent("the closure of the headers returned no array."));
        }
        let text = encode::encode_names(&headers, "headers")?;
        fields(&text).map(Some)
    }
}

fn fields(text: &RawValue) -> Result<Fields, Thrown> {
    serde_json::from_str(text.get())
        .map_err(|error| not_sent(format!("the headers cannot be used: {error}.")))
}

/// Returns what is to be published for a canvas, which is Celery's form as JSON, and the tasks whose
/// replies are wanted. Runs PHP code: the closures of routes and headers.
pub(crate) fn plan(
    config: &Config,
    closures: &Closures,
    canvas: &RawValue,
) -> Result<(Plan<Wire>, Vec<String>), Thrown> {
    let signature = Signature::read(canvas).map_err(|error| refused(&error))?;
    let client = Client {
        config,
        routes: &closures.routes,
        headers: closures.headers()?,
        sender: process::sender(),
        settings: settings::current(),
        thrown: RefCell::default(),
        ignored: RefCell::default(),
    };
    let plan = Plan::new(
        &client,
        signature,
        (&[], None, Options::default()),
        Timestamp::from(SystemTime::now()),
        room::most(),
    );
    // The reason of PHP code comes first: the plan only knows that there was one.
    if let Some(thrown) = client.thrown.take() {
        return Err(thrown);
    }
    let plan = plan.map_err(|error| refused(&error))?;
    let mut wanted = Vec::new();
    if config.has_replies() {
        add_tasks(&plan, plan.result, &mut wanted);
        let ignored = client.ignored.take();
        wanted.retain(|id| !ignored.contains(id));
    }
    Ok((plan, wanted))
}

/// Adds the ids of all tasks that lead to a result.
fn add_tasks(plan: &Plan<Wire>, of: Outcome, ids: &mut Vec<String>) {
    let outcomes = &plan.outcomes;
    let mut next = Some(of);
    while let Some(of) = next {
        if outcomes.is_group(of) {
            for member in outcomes.members(of) {
                add_tasks(plan, *member, ids);
            }
        } else {
            ids.push(outcomes.id(of).to_owned());
        }
        next = outcomes.parent(of);
    }
}

fn refused(error: &CanvasError) -> Thrown {
    if throw::is_pending() {
        return Thrown::Pending;
    }
    not_sent(match error {
        CanvasError::Option(_) => format!("an option cannot be used: {error}."),
        _ => format!("{error}."),
    })
}

/// A client as it calls signatures.
struct Client<'a> {
    config: &'a Config,
    routes: &'a Zval,
    headers: Option<Fields>,
    sender: Rc<Sender>,
    settings: Rc<Settings>,
    /// What PHP code has thrown.
    thrown: RefCell<Option<Thrown>>,
    /// The tasks whose results are ignored.
    ignored: RefCell<HashSet<String>>,
}

impl Caller<Wire> for Client<'_> {
    fn new_id(&self) -> String {
        process::new_id().to_string()
    }

    fn reply_to(&self) -> &str {
        &self.sender.reply_to
    }

    fn reply_to_task(&self, task_id: &str) -> Cow<'_, str> {
        let own = self.config.has_replies().then(|| replies::address(task_id));
        match own.flatten() {
            Some(own) => Cow::Owned(own),
            None => Cow::Borrowed(self.reply_to()),
        }
    }

    fn has_results(&self) -> bool {
        !matches!(self.config.backend, Backend::Disabled)
    }

    fn queue_of(&self, _task: &str) -> Arc<str> {
        self.config
            .queue
            .as_deref()
            .unwrap_or(&self.settings.default_queue)
            .into()
    }

    fn links_chains(&self) -> bool {
        let configured = || self.settings.protocol.as_ref().ok().copied();
        self.config.protocol.or_else(configured) == Some(Protocol::V1)
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Wire, EncodeError> {
        if task.ignore_result == Some(true) {
            self.ignored.borrow_mut().insert(task.id.clone());
        }
        let tag = process::new_id().to_string();
        let reply_to = self.reply_to_task(&task.id);
        let options = self
            .sender
            .options(queue, &tag)
            .reply_to(&reply_to)
            .protocol(task.protocol)
            .serializer(task.serializer)
            .compression(task.compression);
        Wire::write(task, &options, &self.config.broker)
    }

    /// Refuses the header. It would be lost without a word.
    fn left_out(&self, header: &str) {
        let why = format!("the header {header} belongs to Celery's protocol: choose another name.");
        self.thrown.replace(Some(not_sent(why)));
    }

    /// Adds the options of the route, then those of the client.
    fn complete(&self, task: &mut Signature) -> Result<(), CanvasError> {
        if task.options.get("queue").is_none() {
            let route = routes::find(self.routes, task).map_err(|thrown| {
                self.thrown.replace(Some(thrown));
                CanvasError::Option("the route cannot be used".to_owned())
            })?;
            if let Some(route) = route {
                add(&mut task.options, &route);
            }
        }
        add(&mut task.options, &self.defaults()?);
        self.put_in_zone(&mut task.options)?;
        self.add_headers(&mut task.options)
    }
}

/// Adds options that a task does not have.
fn add(options: &mut Options, more: &Options) {
    for (name, value) in more.iter() {
        if options.get(name).is_none() {
            options.insert(name, Arc::clone(value));
        }
    }
}

impl Client<'_> {
    /// Returns the client's own options.
    fn defaults(&self) -> Result<Options, CanvasError> {
        let config = self.config;
        let mut options = Options::default();
        if let Some(serializer) = config.serializer {
            options.set("serializer", serializer.name())?;
        }
        if let Some(compression) = config.compression {
            options.set("compression", compression.content_type())?;
        }
        if let Some(priority) = config.priority {
            options.set("priority", &priority)?;
        }
        if let Some(ignore) = config.ignore_result {
            options.set("ignore_result", &ignore)?;
        }
        let configured = || self.settings.protocol.clone();
        let protocol = config.protocol.map_or_else(configured, Ok);
        if protocol.map_err(CanvasError::Option)? == Protocol::V1 {
            options.set("task_protocol", &1)?;
        }
        Ok(options)
    }

    /// Writes times that are counted from now in the client's zone, as Celery does in its own.
    fn put_in_zone(&self, options: &mut Options) -> Result<(), CanvasError> {
        let Some(zone) = &self.config.timezone else {
            return Ok(());
        };
        for (relative, absolute) in [("countdown", "eta"), ("expires", "expires")] {
            let is_text = |text: &RawValue| text.get().starts_with(['"', '{']);
            let given = options.get(relative).filter(|given| !is_text(given));
            let Some(seconds) = given.and_then(|_| options.number(relative)) else {
                continue;
            };
            // As in Celery, a countdown of zero is none.
            if relative == "countdown" && seconds == 0.0 {
                continue;
            }
            let time = in_zone(zone, seconds).map_err(|thrown| {
                self.thrown.replace(Some(thrown));
                CanvasError::Option("the time cannot be written".to_owned())
            })?;
            options.remove(&[relative]);
            options.set(absolute, &time)?;
        }
        Ok(())
    }

    /// Adds the client's headers to those of a task, which count more.
    fn add_headers(&self, options: &mut Options) -> Result<(), CanvasError> {
        let Some(headers) = &self.headers else {
            return Ok(());
        };
        let mut all: Fields = match options.get("headers") {
            Some(own) => serde_json::from_str(own.get())?,
            None => Fields::new(),
        };
        for (name, value) in headers.iter() {
            if all.get(name).is_none() {
                all.insert(name, value.to_owned());
            }
        }
        options.insert("headers", json(&all)?);
        Ok(())
    }
}

/// Returns the time at this number of seconds from now, as text in a time zone.
fn in_zone(zone: &str, seconds: f64) -> Result<String, Thrown> {
    let zone = object::construct("DateTimeZone", &[value::string(zone.as_bytes())])?;
    let now = object::construct("DateTimeImmutable", &[value::string(b"now"), zone])?;
    let change = format!("+{:.0} microseconds", seconds * 1e6);
    let time = match now.object() {
        Some(now) => invoke::method(now, "modify", &[value::string(change.as_bytes())])?,
        None => return Ok(String::new()),
    };
    time.object().map_or_else(|| Ok(String::new()), encode::iso)
}

/// Returns Celery's form of a call as JSON.
pub(crate) fn call_form(
    task: &str,
    args: &RawValue,
    kwargs: &RawValue,
    options: &Zval,
) -> Result<Box<RawValue>, Thrown> {
    let options = encode::encode_names(options, "options")?;
    let task = serde_json::to_string(task).map_err(|error| not_sent(format!("{error}.")))?;
    values::raw(format!(
        "{{\"task\":{task},\"args\":{},\"kwargs\":{},\"options\":{}}}",
        args.get(),
        kwargs.get(),
        options.get()
    ))
}

/// Returns `true` if nothing but name, arguments and queue decides the messages of a client, and
/// templates write them.
pub(crate) fn are_plain(config: &Config, closures: &Closures) -> bool {
    !config.broker.is_rabbitmq()
        && config.serializer.is_none()
        && config.compression.is_none()
        && config.priority.is_none()
        && config.ignore_result.is_none()
        && config.protocol != Some(Protocol::V1)
        && closures.headers.is_null()
        && closures
            .routes
            .array()
            .is_none_or(ext_php_rs::types::ZendHashTable::is_empty)
        && (config.protocol.is_some() || settings::current().protocol == Ok(Protocol::V2))
}
