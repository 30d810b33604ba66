//! A message's body and its metadata, converted into a task.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::{Envelope, Meta, is_null, quoted, string};
use super::{Cause, DecodeError, DeliveryInfo, Embed, Properties, Protocol, Task, TimeLimit};
use crate::fields::{Fields, Reading};
use crate::json::each_member;
use crate::keys::{self, NameError};
use crate::time::Timestamp;

/// The highest of kombu's priorities.
const LEAST_URGENT: f64 = 9.0;

/// What a body says, whatever its protocol.
pub(super) struct BodyParts<'a> {
    pub(super) protocol: Protocol,
    pub(super) args: Cow<'a, RawValue>,
    pub(super) kwargs: Cow<'a, RawValue>,
    pub(super) embed: Embed,
}

impl<'a> BodyParts<'a> {
    /// Reads a body; the metadata in one of protocol 1 goes to `meta`.
    pub(super) fn read(json: &'a str, meta: &mut Meta<'a>) -> Result<Self, DecodeError> {
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'[') if meta.task.is_some() => Self::read_2(json),
            Some(b'[') => Err(DecodeError::new(Cause::NoTask, "no header names the task")),
            Some(b'{') => Self::read_1(json, meta),
            _ => {
                check_json(json)?;
                Err(shape("the body is neither an array nor an object"))
            }
        }
    }

    fn read_2(json: &'a str) -> Result<Self, DecodeError> {
        let (parts, count) = three(json).map_err(|error| not_json(&error))?;
        let ([Some(args), Some(kwargs), Some(embed)], 3) = (parts, count) else {
            return Err(shape(&format!("the body has {count} elements, not 3")));
        };
        check_arguments(args, kwargs)?;
        Ok(Self {
            protocol: Protocol::V2,
            args: Cow::Borrowed(args),
            kwargs: Cow::Borrowed(kwargs),
            embed: read_embed(embed)?,
        })
    }

    fn read_1(json: &'a str, meta: &mut Meta<'a>) -> Result<Self, DecodeError> {
        let hybrid = meta.task.is_some();
        let (mut args, mut kwargs, mut taskset) = (None, None, None);
        let mut embed = Embed::default();
        let members = each_member(json, |name, value| match &*name {
            "args" => args = Some(value),
            "kwargs" => kwargs = Some(value),
            "taskset" => taskset = Some(value),
            "callbacks" => embed.callbacks = present(value),
            "errbacks" => embed.errbacks = present(value),
            // Protocol 1 has no chain: Celery looks at none here.
            "chord" => embed.chord = present(value),
            _ => meta.add(&name, value),
        });
        members.map_err(|error| not_json(&error))?;
        if meta.task.is_none() {
            return Err(DecodeError::new(
                Cause::NoTask,
                "neither a header nor the body names the task",
            ));
        }
        // Celery takes a task of protocol 1 only with both; the mixture may leave them out.
        if !hybrid && (args.is_none() || kwargs.is_none()) {
            return Err(DecodeError::new(
                Cause::Arguments,
                "the body has no args or no kwargs",
            ));
        }
        if meta.group.is_none_or(is_null) {
            meta.group = taskset.or(meta.group);
        }
        let args = args.map_or_else(|| empty("[]"), |args| Ok(Cow::Borrowed(args)))?;
        let kwargs = kwargs.map_or_else(|| empty("{}"), |kwargs| Ok(Cow::Borrowed(kwargs)))?;
        check_arguments(&args, &kwargs)?;
        check_embed(&embed)?;
        Ok(Self {
            protocol: Protocol::V1,
            args,
            kwargs,
            embed,
        })
    }
}

fn empty<'a>(json: &str) -> Result<Cow<'a, RawValue>, DecodeError> {
    RawValue::from_string(json.to_owned())
        .map(Cow::Owned)
        .map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> DecodeError {
    DecodeError::new(Cause::Body, format!("the body is not JSON: {error}"))
}

fn shape(detail: &str) -> DecodeError {
    DecodeError::new(Cause::BodyShape, detail)
}

fn check_json(json: &str) -> Result<(), DecodeError> {
    serde_json::from_str::<IgnoredAny>(json)
        .map(drop)
        .map_err(|error| not_json(&error))
}

fn check_arguments(args: &RawValue, kwargs: &RawValue) -> Result<(), DecodeError> {
    if !args.get().starts_with('[') {
        return Err(DecodeError::new(
            Cause::Arguments,
            "Task arguments is not a list",
        ));
    }
    if !kwargs.get().starts_with('{') {
        return Err(DecodeError::new(
            Cause::Arguments,
            "Task keyword arguments is not a mapping",
        ));
    }
    Ok(())
}

/// The first three elements of an array, and how many it has.
fn three(json: &str) -> Result<([Option<&RawValue>; 3], usize), serde_json::Error> {
    struct Three;
    impl<'de> Visitor<'de> for Three {
        type Value = ([Option<&'de RawValue>; 3], usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut parts = [None; 3];
            let mut count = 0;
            for part in &mut parts {
                *part = seq.next_element::<&RawValue>()?;
                count += usize::from(part.is_some());
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok((parts, count))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parts = deserializer.deserialize_seq(Three)?;
    deserializer.end()?;
    Ok(parts)
}

fn present(value: &RawValue) -> Option<Box<RawValue>> {
    (!is_null(value)).then(|| value.to_owned())
}

fn read_embed(json: &RawValue) -> Result<Embed, DecodeError> {
    let mut embed = Embed::default();
    if is_null(json) {
        return Ok(embed);
    }
    let mut extra = Reading::default();
    let members = each_member(json.get(), |name, value| match &*name {
        "callbacks" => embed.callbacks = present(value),
        "errbacks" => embed.errbacks = present(value),
        "chain" => embed.chain = present(value),
        "chord" => embed.chord = present(value),
        _ => extra.take(name, value),
    });
    members.map_err(|error| shape(&format!("the body's third element is no object: {error}")))?;
    embed.extra = extra
        .end()
        .map_err(|error| error.of("the body's third element"))?;
    check_embed(&embed)?;
    Ok(embed)
}

fn check_embed(embed: &Embed) -> Result<(), DecodeError> {
    for (name, value, open) in [
        ("callbacks", &embed.callbacks, '['),
        ("errbacks", &embed.errbacks, '['),
        ("chain", &embed.chain, '['),
        ("chord", &embed.chord, '{'),
    ] {
        if value
            .as_deref()
            .is_some_and(|value| !value.get().starts_with(open))
        {
            return Err(shape(&format!("{name} is not of the kind Celery writes")));
        }
    }
    Ok(())
}

impl Meta<'_> {
    /// The task that metadata, body and envelope make together.
    pub(super) fn task(
        &self,
        parts: BodyParts<'_>,
        headers: Fields,
        envelope: &Envelope<'_>,
    ) -> Result<Task, DecodeError> {
        let name = required(self.task, "task", Cause::NoTask, keys::check_task_name)?;
        let id = required(self.id, "id", Cause::NoId, keys::check_task_id)?;
        let mut task = Task::new(id, name, parts.args.into_owned(), parts.kwargs.into_owned());
        task.protocol = parts.protocol;
        task.embed = parts.embed;
        task.eta = time(self.eta, "eta")?;
        task.expires = time(self.expires, "expires")?;
        task.group = text(self.group, "group")?;
        task.retries = retries(self.retries)?;
        task.time_limit = time_limit(self.timelimit)?;
        task.ignore_result = self.ignore_result.and_then(parse::<bool>);
        // What only informs is dropped where it is of another kind than Python writes.
        task.group_index = self.group_index.and_then(parse);
        task.shadow = informative(self.shadow);
        task.root_id = informative(self.root_id);
        task.parent_id = informative(self.parent_id);
        task.argsrepr = informative(self.argsrepr);
        task.kwargsrepr = informative(self.kwargsrepr);
        task.lang = informative(self.lang);
        task.origin = informative(self.origin);
        task.replaced_task_nesting = self.replaced_task_nesting.and_then(parse).unwrap_or(0);
        task.stamped_headers = self.stamped_headers.and_then(parse);
        task.stamps = stamps(self.stamps)?;
        task.headers = headers;
        task.redelivered = [self.redelivered, envelope.redelivered]
            .into_iter()
            .flatten()
            .any(|value| value.get() == "true");
        task.delivery_tag = envelope.delivery_tag();
        task.properties = properties(envelope);
        task.delivery_info = DeliveryInfo {
            exchange: informative(envelope.exchange).unwrap_or_default(),
            routing_key: informative(envelope.routing_key).unwrap_or_default(),
        };
        Ok(task)
    }
}

fn stamps(value: Option<&RawValue>) -> Result<Fields, DecodeError> {
    let Some(value) = value.filter(|value| value.get().starts_with('{')) else {
        return Ok(Fields::new());
    };
    let mut stamps = Reading::default();
    let members = each_member(value.get(), |name, value| stamps.take(name, value));
    members.map_err(|_| bad_field("stamps", value))?;
    stamps.end().map_err(|error| error.of("the stamps"))
}

fn properties(envelope: &Envelope<'_>) -> Properties {
    Properties {
        correlation_id: informative(envelope.correlation_id),
        reply_to: informative(envelope.reply_to),
        delivery_mode: envelope.delivery_mode.and_then(parse),
        priority: envelope.priority.and_then(priority),
        expiration: informative(envelope.expiration),
        extra: envelope.extra.clone(),
    }
}

/// A priority as kombu reads it: what Python's `int()` makes of a number or of a string of digits. Beyond the
/// ends it counts as the ends; anything else is none.
pub(super) fn priority(value: &RawValue) -> Option<u8> {
    let number: f64 = match string(value) {
        Some(text) => integer(text.trim())?,
        None => value.get().parse().ok()?,
    };
    number
        .is_finite()
        .then(|| number.clamp(0.0, LEAST_URGENT) as u8)
}

/// A string of digits with or without a sign.
fn integer(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits_only.then(|| text.parse().ok()).flatten()
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    // Several fields of every message are null: that is no error, which would be costly to make.
    match value.get() {
        "null" => None,
        json => serde_json::from_str(json).ok(),
    }
}

fn informative(value: Option<&RawValue>) -> Option<String> {
    value.and_then(string).map(Cow::into_owned)
}

fn required(
    value: Option<&RawValue>,
    name: &str,
    missing: Cause,
    check: impl Fn(&str) -> Result<(), NameError>,
) -> Result<String, DecodeError> {
    match value.and_then(string) {
        Some(text) if !text.is_empty() => match check(&text) {
            Ok(()) => Ok(text.into_owned()),
            Err(error) => Err(DecodeError::new(Cause::Field, error.to_string())),
        },
        _ => Err(DecodeError::new(
            missing,
            format!("{name} is missing, empty or not a string"),
        )),
    }
}

fn bad_field(name: &str, value: &RawValue) -> DecodeError {
    DecodeError::new(
        Cause::Field,
        format!("invalid {name} value {}", quoted(value.get())),
    )
}

fn text(value: Option<&RawValue>, name: &str) -> Result<Option<String>, DecodeError> {
    match value.filter(|value| !is_null(value)) {
        None => Ok(None),
        Some(value) => match string(value) {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(bad_field(name, value)),
        },
    }
}

fn time(value: Option<&RawValue>, name: &str) -> Result<Option<Timestamp>, DecodeError> {
    match value.filter(|value| !is_null(value)) {
        None => Ok(None),
        Some(value) => match string(value).map(|text| Timestamp::parse(&text)) {
            Some(Ok(time)) => Ok(Some(time)),
            _ => Err(bad_field(name, value)),
        },
    }
}

fn retries(value: Option<&RawValue>) -> Result<u32, DecodeError> {
    match value.filter(|value| !is_null(value)) {
        None => Ok(0),
        Some(value) => parse(value).ok_or_else(|| bad_field("retries", value)),
    }
}

fn time_limit(value: Option<&RawValue>) -> Result<TimeLimit, DecodeError> {
    match value.filter(|value| !is_null(value)) {
        None => Ok(TimeLimit::default()),
        Some(value) => match parse::<(Option<f64>, Option<f64>)>(value) {
            Some((hard, soft)) => Ok(TimeLimit { hard, soft }),
            None => Err(bad_field("timelimit", value)),
        },
    }
}
