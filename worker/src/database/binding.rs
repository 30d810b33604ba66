//! Writes a statement for its database, and its values for the driver.
//!
//! Dates, decimals and UUIDs are bound as text, which each database reads exactly. Where binding as
//! text would change the meaning, the placeholder names another type: MySQL compares decimals with
//! text as floating point, and PostgreSQL refuses text in a place of another type.

use super::Dialect;
use super::params::{ParamError, Placed, Statement};
use super::places::Place;
use super::session::SessionZone;
use super::types;
use super::values::Bound;
use super::zone::Zone;

/// MySQL's limits for a decimal: all digits, and those after the point.
const MOST_DIGITS: usize = 65;
const MOST_DECIMALS: usize = 30;

/// A statement that is ready to run.
pub(super) struct Ready {
    pub(super) sql: String,
    /// The values of its placeholders, in their order.
    pub(super) values: Vec<Plain>,
    pub(super) kept: bool,
}

/// A value that all three drivers can bind.
#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Whole(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Makes a statement ready for MySQL, MariaDB or SQLite.
pub(super) fn untyped(
    statement: Statement,
    dialect: Dialect,
    zone: &SessionZone,
) -> Result<Ready, ParamError> {
    finish(statement, |_, placed| {
        let Placed { name, place, value } = placed;
        if let (Bound::Json(json), Place::Argument | Place::Array) = (&value, place)
            && json.is_array()
        {
            return Err(ParamError::list(&name, "as an argument"));
        }
        if let (Bound::Json(json), Place::Compared) = (&value, place) {
            return Err(ParamError::compared(&name, json, dialect));
        }
        if let (Bound::Json(_), Place::In { .. } | Place::AmongOthers) = (&value, place) {
            return Err(ParamError::object(&name, "inside IN (…)"));
        }
        if (place, dialect) == (Place::Count, Dialect::MySql) {
            let count = rows(&value).ok_or_else(|| {
                ParamError::value(
                    &name,
                    "stands behind LIMIT or OFFSET, which take a whole number from 0",
                )
            })?;
            return Ok(("?".to_owned(), Plain::Whole(count)));
        }
        let plain = |value| Ok(("?".to_owned(), value));
        match value {
            Bound::Exact(digits) if dialect == Dialect::MySql => {
                let (precision, decimals) =
                    size(&digits).map_err(|cause| ParamError::value(&name, cause))?;
                let sql = format!("CAST(? AS DECIMAL({precision}, {decimals}))");
                Ok((sql, Plain::Text(digits)))
            }
            Bound::Moment(moment, _) => {
                plain(Plain::Text(shown(moment, known(zone, &name)?, &name)?))
            }
            value => plain(as_it_is(value)),
        }
    })
}

/// Makes a statement ready for PostgreSQL, which expects `types` at the placeholders.
pub(super) fn typed(
    statement: Statement,
    types: &[String],
    zone: &SessionZone,
) -> Result<Ready, ParamError> {
    finish(statement, |at, placed| {
        let Placed { name, place, value } = placed;
        let number = at + 1;
        let of = types.get(at).map_or(types::TEXT, String::as_str);
        let declared = |of: &str, value| Ok((format!("(${number}::{of})"), value));
        // The server reads the text like a string literal in the statement.
        let read_as = |of: &str, text| {
            let sql = match of {
                types::TEXT => format!("(${number}::text)"),
                of => format!("(${number}::text::{of})"),
            };
            Ok((sql, text))
        };
        match value {
            Bound::Bool(_) => declared("bool", as_it_is(value)),
            Bound::Whole(_) => declared("int8", as_it_is(value)),
            Bound::Real(_) => declared("float8", as_it_is(value)),
            Bound::Exact(digits) => read_as("numeric", Plain::Text(digits)),
            Bound::Bytes(_) if of == types::BYTES => declared(of, as_it_is(value)),
            Bound::Bytes(_) => Err(ParamError::value(
                &name,
                format!("holds bytes, and its place takes {of}"),
            )),
            Bound::Json(json) if of.ends_with("[]") && json.is_array() => {
                read_as(of, Plain::Text(types::array(&json)))
            }
            Bound::Json(json)
                if json.is_array()
                    && !types::is_json(of)
                    && matches!(place, Place::Argument | Place::Array) =>
            {
                Err(ParamError::list(
                    &name,
                    &format!("as an argument that is {of}"),
                ))
            }
            Bound::Json(json) if types::is_single(of) && place == Place::Compared => {
                Err(ParamError::compared(&name, &json, Dialect::Postgres))
            }
            Bound::Json(_)
                if !types::is_json(of)
                    && matches!(place, Place::In { .. } | Place::AmongOthers) =>
            {
                Err(ParamError::object(&name, "inside IN (…)"))
            }
            Bound::Moment(moment, text) => {
                let text = match (types::Clock::of(of), text) {
                    (Some(types::Clock::Utc), _) => shown(moment, &Zone::utc(), &name)? + "+00",
                    (None, Some(text)) => text,
                    (Some(types::Clock::Session) | None, _) => {
                        shown(moment, known(zone, &name)?, &name)?
                    }
                };
                read_as(of, Plain::Text(text))
            }
            value => read_as(of, as_it_is(value)),
        }
    })
}

/// Returns a number of rows, which may be text. MySQL would read anything else as 0.
fn rows(value: &Bound) -> Option<i64> {
    let count = match value {
        Bound::Whole(count) => *count,
        Bound::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    (count >= 0).then_some(count)
}

fn finish(
    statement: Statement,
    mut placeholder: impl FnMut(usize, Placed) -> Result<(String, Plain), ParamError>,
) -> Result<Ready, ParamError> {
    let Statement {
        texts,
        rest,
        values,
        kept,
        ..
    } = statement;
    let mut sql = String::with_capacity(texts.iter().map(String::len).sum::<usize>() + rest.len());
    let mut plain = Vec::with_capacity(values.len());
    for (at, (text, value)) in texts.iter().zip(values).enumerate() {
        let (placeholder, value) = placeholder(at, value)?;
        sql.push_str(text);
        sql.push_str(&placeholder);
        plain.push(value);
    }
    sql.push_str(&rest);
    Ok(Ready {
        sql,
        values: plain,
        kept,
    })
}

fn as_it_is(value: Bound) -> Plain {
    match value {
        Bound::Null => Plain::Null,
        Bound::Bool(value) => Plain::Bool(value),
        Bound::Whole(value) => Plain::Whole(value),
        Bound::Real(value) => Plain::Real(value),
        Bound::Exact(text) | Bound::Text(text) | Bound::Moment(_, Some(text)) => Plain::Text(text),
        Bound::Moment(moment, None) => Plain::Text(moment.to_string()),
        Bound::Bytes(bytes) => Plain::Bytes(bytes),
        Bound::Json(json) => Plain::Text(json.to_string()),
    }
}

fn known<'z>(zone: &'z SessionZone, name: &str) -> Result<&'z Zone, ParamError> {
    let unknown = |error: &super::ZoneError| {
        ParamError::value(name, format!("is a date with an offset, but {error}"))
    };
    zone.as_ref().map_err(unknown)
}

/// Returns a point in time as `YYYY-MM-DD hh:mm:ss.ffffff` on the clock of a zone.
fn shown(moment: i64, zone: &Zone, name: &str) -> Result<String, ParamError> {
    let clock = zone.clock(moment).map(|(clock, _)| clock);
    let shown = clock.map(|clock| clock.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string());
    shown.ok_or_else(|| ParamError::value(name, "is a date beyond the years that databases have"))
}

/// Returns how many digits a decimal has, in all and after the point, or why MySQL cannot hold it.
fn size(digits: &str) -> Result<(usize, usize), String> {
    let wrong = |why| format!("is the decimal {}, which {why}", excerpt(digits));
    let unsigned = digits.trim_start_matches(['+', '-']);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || mantissa.len() <= mantissa.matches('.').count()
    {
        return Err(wrong("is not a finite number"));
    }
    let too_long = || wrong("has more digits than the database holds");
    let exponent: isize = exponent.parse().map_err(|_| too_long())?;
    let length = |text: &str| isize::try_from(text.len()).map_err(|_| too_long());
    let whole = length(whole.trim_start_matches('0'))?
        .saturating_add(exponent)
        .max(0);
    let decimals = length(decimals)?.saturating_sub(exponent).max(0);
    match (
        usize::try_from(whole.saturating_add(decimals)),
        usize::try_from(decimals),
    ) {
        (Ok(all), Ok(decimals)) if all <= MOST_DIGITS && decimals <= MOST_DECIMALS => {
            Ok((all.max(1), decimals))
        }
        _ => Err(too_long()),
    }
}

/// Returns the beginning of a text that may be long.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MOST_DIGITS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_the_size_that_it_needs() {
        for (digits, expected) in [
            ("1.10", (3, 2)),
            ("-0.001", (3, 3)),
            ("+12345678901234567890.12", (22, 2)),
            ("18446744073709551616", (20, 0)),
            ("0", (1, 0)),
            ("1E+5", (6, 0)),
            ("1.5e-3", (4, 4)),
            (".5", (1, 1)),
        ] {
            assert_eq!(size(digits), Ok(expected), "{digits}");
        }
        for digits in [
            "NaN",
            "Infinity",
            "-sNaN",
            "",
            ".",
            "-",
            "1E+65",
            "1E-31",
            "1e99999999999999999999",
        ] {
            assert!(size(digits).is_err(), "{digits}");
        }
        assert!(size(&"9".repeat(66)).unwrap_err().contains("more digits"));
    }

    #[test]
    fn a_moment_is_shown_by_the_clock_of_the_session() {
        let second = 1_777_683_845_000_007;
        for (zone, expected) in [
            ("UTC", "2026-05-02 01:04:05.000007"),
            ("Europe/Berlin", "2026-05-02 03:04:05.000007"),
            ("-03:30", "2026-05-01 21:34:05.000007"),
        ] {
            assert_eq!(
                shown(second, &zone.parse().unwrap(), "a").unwrap(),
                expected
            );
        }
        assert!(shown(i64::MAX, &Zone::utc(), "a").is_err());
    }
}
