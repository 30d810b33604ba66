//! Converts a message's body and metadata into a task.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::envelope::{Envelope, Meta, is_falsy, is_null, quoted, string};
use super::{Cause, DecodeError, DeliveryInfo, Embed, Properties, Protocol, Task, TimeLimit};
use crate::fields::{Fields, Reading};
use crate::json::{Special, each_member, unique_members};
use crate::names::{self, NameError};
use crate::time::Timestamp;

/// The highest of kombu's priorities.
const LEAST_URGENT: f64 = 9.0;

/// The contents of a body, whatever its protocol.
pub(super) struct BodyParts<'a> {
    pub(super) protocol: Protocol,
    pub(super) args: Cow<'a, RawValue>,
    pub(super) kwargs: Cow<'a, RawValue>,
    pub(super) embed: Embed,
}

impl<'a> BodyParts<'a> {
    /// Reads a body; moves the metadata in a body of protocol 1 to `meta`.
    pub(super) fn read(json: &'a str, meta: &mut Meta<'a>) -> Result<Self, DecodeError> {
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'[') if meta.task.is_some() => Self::read_2(json, meta.is_grouped()),
            Some(b'[') => Err(DecodeError::new(Cause::NoTask, "no header names the task")),
            Some(b'{') => Self::read_1(json, meta),
            _ => {
                check_json(json)?;
                Err(shape("the body is neither an array nor an object"))
            }
        }
    }

    fn read_2(json: &'a str, grouped: bool) -> Result<Self, DecodeError> {
        let (parts, count) = three(json).map_err(|error| not_json(&error))?;
        let ([Some(args), Some(kwargs), Some(embed)], 3) = (parts, count) else {
            return Err(shape(&format!("the body has {count} elements, not 3")));
        };
        check_kwargs(kwargs)?;
        Ok(Self {
            protocol: Protocol::V2,
            args: list(Cow::Borrowed(args))?,
            kwargs: Cow::Borrowed(kwargs),
            embed: read_embed(embed, grouped)?,
        })
    }

    fn read_1(json: &'a str, meta: &mut Meta<'a>) -> Result<Self, DecodeError> {
        let (mut args, mut kwargs, mut taskset) = (None, None, None);
        let mut embed = Embed::default();
        let members = each_member(json, |name, value| match &*name {
            "args" => args = Some(value),
            "kwargs" => kwargs = Some(value),
            "taskset" => taskset = Some(value),
            "callbacks" => embed.callbacks = present(value),
            "errbacks" => embed.errbacks = present(value),
            // Protocol 1 has no chain. As in Celery, a member of that name is ignored.
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
        if meta.group.is_none_or(is_null) {
            meta.group = taskset.or(meta.group);
        }
        let args = args.map_or_else(|| empty("[]"), |args| Ok(Cow::Borrowed(args)))?;
        let kwargs = kwargs.map_or_else(|| empty("{}"), |kwargs| Ok(Cow::Borrowed(kwargs)))?;
        check_kwargs(&kwargs)?;
        put_right(&mut embed, meta.is_grouped())?;
        Ok(Self {
            protocol: Protocol::V1,
            args: list(args)?,
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

fn check_kwargs(kwargs: &RawValue) -> Result<(), DecodeError> {
    if kwargs.get().starts_with('{') {
        Ok(())
    } else {
        Err(DecodeError::new(
            Cause::Arguments,
            "Task keyword arguments is not a mapping",
        ))
    }
}

/// Returns the positional arguments as Python passes them: if `args` is an object, the arguments
/// are its names; if it is a text, they are its characters.
fn list(args: Cow<'_, RawValue>) -> Result<Cow<'_, RawValue>, DecodeError> {
    let elements: Vec<Cow<'_, str>> = match args.get().as_bytes().first() {
        Some(b'[') => return Ok(args),
        Some(b'{') => {
            let members = unique_members(&args).map_err(|error| not_json(&error))?;
            members.into_iter().map(|(name, _)| name).collect()
        }
        Some(b'"') => {
            let text = string(&args).unwrap_or_default();
            text.chars().map(|one| one.to_string().into()).collect()
        }
        _ => {
            return Err(DecodeError::new(
                Cause::Arguments,
                "Task arguments is not a list",
            ));
        }
    };
    to_raw_value(&elements)
        .map(Cow::Owned)
        .map_err(|error| not_json(&error))
}

/// Returns the first three elements of an array and the number of its elements.
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

fn read_embed(json: &RawValue, grouped: bool) -> Result<Embed, DecodeError> {
    let mut embed = Embed::default();
    if is_falsy(json) {
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
    members.map_err(|error| {
        shape(&format!(
            "the body's third element is not an object: {error}"
        ))
    })?;
    embed.extra = extra
        .end()
        .map_err(|error| error.of("the body's third element"))?;
    put_right(&mut embed, grouped)?;
    Ok(embed)
}

/// Normalises the signatures as Celery does. A member that Python takes for false counts as
/// missing. A single error callback counts as a list. The body of a chord is ignored without a
/// group.
fn put_right(embed: &mut Embed, grouped: bool) -> Result<(), DecodeError> {
    let members = [
        &mut embed.callbacks,
        &mut embed.errbacks,
        &mut embed.chain,
        &mut embed.chord,
    ];
    for member in members {
        *member = member.take().filter(|value| !is_falsy(value));
    }
    if !is(embed.chord.as_deref(), '{') && !grouped {
        embed.chord = None;
    }
    if !is(embed.errbacks.as_deref(), '[') {
        let list = to_raw_value(&[&embed.errbacks]).map_err(|error| not_json(&error))?;
        embed.errbacks = Some(list);
    }
    for (name, value, open) in [
        ("callbacks", &embed.callbacks, '['),
        ("chain", &embed.chain, '['),
        ("chord", &embed.chord, '{'),
    ] {
        if !is(value.as_deref(), open) {
            return Err(shape(&format!(
                "{name} is not of the type that Celery writes"
            )));
        }
    }
    Ok(())
}

/// Returns `true` if the value is missing or its text begins with `open`.
fn is(value: Option<&RawValue>, open: char) -> bool {
    value.is_none_or(|value| value.get().starts_with(open))
}

impl Meta<'_> {
    /// Returns `true` if the task is a member of a group.
    fn is_grouped(&self) -> bool {
        self.group.is_some_and(|group| !is_falsy(group))
    }

    /// Builds the task from metadata, body and envelope.
    pub(super) fn task(
        &self,
        parts: BodyParts<'_>,
        headers: Fields,
        envelope: &Envelope<'_>,
    ) -> Result<Task, DecodeError> {
        let name = required(self.task, "task", Cause::NoTask, names::check_task_name)?;
        let id = required(self.id, "id", Cause::NoId, names::check_task_id)?;
        let mut task = Task::new(id, name, parts.args.into_owned(), parts.kwargs.into_owned());
        task.protocol = parts.protocol;
        task.embed = parts.embed;
        task.eta = time(self.eta, "eta")?;
        task.expires = time(self.expires, "expires")?;
        task.group = self.group.and_then(name_of);
        task.retries = self.retries.map_or(0, retries);
        task.time_limit = time_limit(self.timelimit)?;
        let ignore_result = self.ignore_result.filter(|value| !is_null(value));
        task.ignore_result = ignore_result.map(|value| !is_falsy(value));
        // Informative members are dropped if they are not of the type that Python writes.
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

/// Reads a priority as kombu does: Python's `int()` of a number or of a string of digits. A value
/// beyond the ends counts as the nearest end; any other value counts as missing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`clamp` leaves 0 to 9"
)]
pub(super) fn priority(value: &RawValue) -> Option<u8> {
    let number: f64 = match string(value) {
        Some(text) => integer(text.trim())?,
        None => value.get().parse().ok()?,
    };
    number
        .is_finite()
        .then(|| number.clamp(0.0, LEAST_URGENT) as u8)
}

/// Reads a string of digits with an optional sign.
fn integer(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits_only.then(|| text.parse().ok()).flatten()
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    // Several fields of every message are null. To treat null as an error first would be slow,
    // because making an error is costly.
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

/// Returns the text of a string or number.
fn name_of(value: &RawValue) -> Option<String> {
    let is_number = value
        .get()
        .starts_with(|byte: char| byte == '-' || byte.is_ascii_digit());
    string(value)
        .or_else(|| is_number.then_some(Cow::Borrowed(value.get())))
        .map(Cow::into_owned)
}

/// Reads a time as text or as the datetime that kombu wraps.
fn time(value: Option<&RawValue>, name: &str) -> Result<Option<Timestamp>, DecodeError> {
    let Some(value) = value.filter(|value| !is_null(value)) else {
        return Ok(None);
    };
    let time = match string(value) {
        Some(text) => Timestamp::parse(&text).ok(),
        None => parse(value).and_then(|value| match Special::from_value(&value)? {
            Ok(Special::Datetime(time)) => Some(time),
            _ => None,
        }),
    };
    time.map(Some).ok_or_else(|| bad_field(name, value))
}

/// Returns the number of a value as Python's `float()` reads it, with `true` as 1.
fn number(value: &RawValue) -> Option<f64> {
    let number: f64 = match string(value) {
        Some(text) => text.trim().parse().ok()?,
        None if value.get() == "true" => 1.0,
        None => value.get().parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// Reads the number of retries. Celery uses it only to retry a task, so a value that is not a
/// number counts as 0 here.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn retries(value: &RawValue) -> u32 {
    number(value).map_or(0, |number| number as u32)
}

/// Reads the two time limits; a value that is not a number is not a limit. Celery accepts any two
/// values.
fn time_limit(value: Option<&RawValue>) -> Result<TimeLimit, DecodeError> {
    let Some(value) = value.filter(|value| !is_falsy(value)) else {
        return Ok(TimeLimit::default());
    };
    let limits: Vec<&RawValue> = match value.get().as_bytes().first() {
        Some(b'[') => parse(value).unwrap_or_default(),
        _ => Vec::new(),
    };
    let others = match value.get().as_bytes().first() {
        Some(b'"') => string(value).map_or(0, |text| text.chars().take(3).count()),
        Some(b'{') => unique_members(value).map_or(0, |members| members.len()),
        _ => 0,
    };
    match (limits.as_slice(), others) {
        ([hard, soft], _) => Ok(TimeLimit {
            hard: number(hard),
            soft: number(soft),
        }),
        (_, 2) => Ok(TimeLimit::default()),
        _ => Err(bad_field("timelimit", value)),
    }
}
