//! `Value`: a value of a type that Python has and JSON lacks, in kombu's form
//! `{"__type__": …, "__value__": …}` (kombu/utils/json.py).

use ext_php_rs::types::Zval;

use celery_protocol::base64;

use super::private;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, required};
use crate::ffi::invoke;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;

const NAME: &str = "Celery\\Value";

/// The slots of the properties.
const TYPE: usize = 0;
const VALUE: usize = 1;

const STRINGABLE: Type = Type::class("Stringable").or(Type::STRING);
const DATE: Type = Type::class("DateTimeInterface");

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let made = |name, handler, params: Vec<_>| {
        method(name, handler, params)
            .made_static()
            .returning(Type::SELF)
    };
    Class::closed(NAME)
        .implementing("jsonserializable")
        .having([
            Property::readonly("type", Type::STRING),
            Property::readonly("value", Type::MIXED),
        ])
        .with([
            private::constructor(),
            made(
                "bytes",
                handler!(bytes),
                vec![required("bytes").typed(Type::STRING)],
            ),
            made(
                "decimal",
                handler!(decimal),
                vec![required("number").typed(STRINGABLE.or(Type::INT))],
            ),
            made(
                "uuid",
                handler!(uuid),
                vec![required("uuid").typed(STRINGABLE)],
            ),
            made("date", handler!(date), vec![required("date").typed(DATE)]),
            made("time", handler!(time), vec![required("time").typed(DATE)]),
            made(
                "of",
                handler!(of),
                vec![
                    required("type").typed(Type::STRING),
                    required("value").typed(Type::MIXED),
                ],
            ),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
        ])
        .declare()?;
    Ok(())
}

fn give(call: &mut Call<'_>, name: Zval, value: Zval) -> Result<(), Thrown> {
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::init(object, TYPE, name);
        object::init(object, VALUE, value);
    }
    call.give(made);
    Ok(())
}

/// Implements `bytes()`. Like kombu, it writes what is UTF-8 as text, and base64 otherwise.
fn bytes(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let content = value::bytes(&given).unwrap_or_default();
    if std::str::from_utf8(content).is_ok() {
        return give(call, value::string(b"bytes"), given);
    }
    let mut encoded = Vec::with_capacity(content.len().div_ceil(3) * 4);
    base64::encode(&mut encoded, content);
    give(
        call,
        value::string(b"base64"),
        value::large_string(&encoded)?,
    )
}

/// Returns the first argument as text. Runs PHP code (`__toString()`).
fn text(call: &Call<'_>) -> Result<String, Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    Ok(crate::values::text(&given)?.unwrap_or_default())
}

fn decimal(call: &mut Call<'_>) -> Result<(), Thrown> {
    let text = text(call)?;
    if !is_decimal(&text) {
        return Err(call.refuse(0, "must be a decimal number, such as \"19.90\""));
    }
    give(
        call,
        value::string(b"decimal"),
        value::string(text.as_bytes()),
    )
}

/// Returns `true` for a number as Python's `Decimal` reads it: digits with a point, and an exponent.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_exponent = |text: &str| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && digits(text)
    };
    whole.len() + fraction.len() > 0
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(is_exponent)
}

/// Implements `uuid()`. Kombu's form is an object with the hexadecimal digits.
fn uuid(call: &mut Call<'_>) -> Result<(), Thrown> {
    let Ok(uuid) = uuid::Uuid::try_parse(&text(call)?) else {
        return Err(call.refuse(0, "must be a UUID"));
    };
    let hex = value::string(uuid.simple().to_string().as_bytes());
    let value = value::map([(value::string(b"hex"), hex)])?;
    give(call, value::string(b"uuid"), value)
}

fn date(call: &mut Call<'_>) -> Result<(), Thrown> {
    let text = formatted(call, "Y-m-d")?;
    give(call, value::string(b"date"), value::string(text.as_bytes()))
}

fn time(call: &mut Call<'_>) -> Result<(), Thrown> {
    let text = formatted(call, "H:i:s.u")?;
    // Like Python's `isoformat()`.
    let text = text.strip_suffix(".000000").unwrap_or(&text);
    give(call, value::string(b"time"), value::string(text.as_bytes()))
}

/// Returns the date in the first argument as text. Runs PHP code if a subclass overrides `format()`.
fn formatted(call: &Call<'_>, format: &str) -> Result<String, Thrown> {
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let Some(object) = given.object() else {
        return Ok(String::new());
    };
    let text = invoke::method(object, "format", &[value::string(format.as_bytes())])?;
    Ok(crate::values::text(&text)?.unwrap_or_default())
}

fn of(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = |index| {
        call.argument(index)
            .map_or_else(Zval::null, Zval::shallow_clone)
    };
    let (name, value) = (given(0), given(1));
    give(call, name, value)
}

fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let object = call.object()?;
    let (name, value) = (object::get(object, TYPE), object::get(object, VALUE));
    let array = value::map([
        (value::string(b"__type__"), name),
        (value::string(b"__value__"), value),
    ])?;
    call.give(array);
    Ok(())
}
