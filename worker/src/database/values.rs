//! Decides how a JSON value of a message is bound.
//!
//! kombu wraps Python's dates, decimals, UUIDs and bytes as `{"__type__": …, "__value__": …}`; they
//! are bound as the original values. Inside a list or an object that is bound as JSON they become
//! text, as Python's `str()` writes them.

use celery_protocol::json::Special;
use celery_protocol::time::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Number, Value};

use super::zone::Zone;

/// The treatment of dates that PHP wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dates {
    /// Text stays text. A task in Rust binds exactly its own values.
    Kept,
    /// RFC 3339 text, and a `DateTime` as PHP's `json_encode` writes it, are points in time.
    Converted,
}

/// A value for a placeholder.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Null,
    Bool(bool),
    Whole(i64),
    Real(f64),
    /// The digits of a decimal, or of an integer beyond 64 bits.
    Exact(String),
    Text(String),
    /// A point in time in Unix microseconds. It is sent to the database in the time zone of the
    /// session. If the message has the time as text, the text is kept, too: it is bound unchanged
    /// where the database is known to take text.
    Moment(i64, Option<String>),
    Bytes(Vec<u8>),
    /// A list or an object.
    Json(Value),
}

impl Bound {
    /// Reads a value. The error completes the sentence "the parameter :name …".
    pub(super) fn read(value: &Value, dates: Dates) -> Result<Self, String> {
        Ok(match value {
            Value::Null => Bound::Null,
            Value::Bool(value) => Bound::Bool(*value),
            Value::Number(number) => self::number(number),
            Value::String(text) => match rfc3339(text).filter(|_| dates == Dates::Converted) {
                Some(moment) => Bound::Moment(moment, Some(text.clone())),
                None => Bound::Text(text.clone()),
            },
            Value::Object(_) => {
                if let Some(special) = special(value)? {
                    return wrapped(special);
                }
                match php_date(value).filter(|_| dates == Dates::Converted) {
                    Some(moment) => Bound::Moment(moment?, None),
                    None => Bound::Json(without_wrappers(value)?),
                }
            }
            Value::Array(_) => Bound::Json(without_wrappers(value)?),
        })
    }

    /// Returns about how many bytes are sent to the server.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Bound::Null | Bound::Bool(_) | Bound::Whole(_) | Bound::Real(_) => 0,
            Bound::Exact(text) | Bound::Text(text) => text.len(),
            Bound::Moment(..) => "2026-01-02 03:04:05.678901+00:00".len(),
            Bound::Bytes(bytes) => bytes.len(),
            Bound::Json(json) => json.to_string().len(),
        }
    }
}

fn number(number: &Number) -> Bound {
    if let Some(whole) = number.as_i64() {
        return Bound::Whole(whole);
    }
    let text = number.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    match number.as_f64() {
        Some(real) if digits.bytes().any(|c| !c.is_ascii_digit()) => Bound::Real(real),
        _ => Bound::Exact(text),
    }
}

/// Reads a wrapper of kombu; `None` if the value is not one.
fn special(value: &Value) -> Result<Option<Special>, String> {
    let unknown = || {
        let kind = value.get("__type__").unwrap_or(&Value::Null);
        format!(
            "has the __type__ {kind}, which is unknown or does not fit the __value__; the known types are \
            datetime, date, time, decimal, uuid, bytes and base64"
        )
    };
    Special::from_value(value)
        .transpose()
        .map_err(|_| unknown())
}

fn wrapped(special: Special) -> Result<Bound, String> {
    Ok(match special {
        Special::Datetime(time) if time.offset().is_some() => {
            Bound::Moment(time.unix_micros(), None)
        }
        Special::Datetime(time) => Bound::Text(naive(&time)),
        Special::Time(text) if has_offset(&text) => {
            return Err(format!(
                "is the time {text}, whose offset means nothing without a date"
            ));
        }
        Special::Date(text) | Special::Time(text) => Bound::Text(text),
        Special::Decimal(text) => Bound::Exact(text),
        Special::Uuid(hex) => Bound::Text(hyphenated(&hex)),
        Special::Bytes(bytes) => Bound::Bytes(bytes),
        other => return Err(format!("holds {other:?}, which cannot be bound")),
    })
}

fn has_offset(time: &str) -> bool {
    time.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

/// Returns `YYYY-MM-DD hh:mm:ss.ffffff` of a datetime without a zone.
fn naive(time: &Timestamp) -> String {
    let text = time.to_string().replacen('T', " ", 1);
    if text.contains('.') {
        text
    } else {
        text + ".000000"
    }
}

/// Returns a UUID as databases write it.
fn hyphenated(hex: &str) -> String {
    uuid::Uuid::try_parse(hex).map_or_else(|_| hex.to_owned(), |uuid| uuid.to_string())
}

/// Replaces each wrapper of kombu in a value by text: dates in ISO 8601, the digits of a decimal, a
/// UUID with hyphens, bytes as text or else in base64.
fn without_wrappers(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Array(list) => list
            .iter()
            .map(without_wrappers)
            .collect::<Result<_, _>>()?,
        Value::Object(members) => match special(value)? {
            None => {
                let members = members.iter();
                let members =
                    members.map(|(name, value)| Ok((name.clone(), without_wrappers(value)?)));
                Value::Object(members.collect::<Result<_, String>>()?)
            }
            Some(Special::Uuid(hex)) => hyphenated(&hex).into(),
            Some(special) => {
                let mut wrapper = special.to_value();
                wrapper
                    .get_mut("__value__")
                    .map(Value::take)
                    .unwrap_or_default()
            }
        },
        plain => plain.clone(),
    })
}

/// Returns the point in time of a text such as `2026-05-02T01:04:05.000000Z` or `2026-05-02
/// 03:04:05+02:00`.
///
/// Date, time and offset must be complete, without any other text. The offset may lack its colon,
/// as in PHP's `DATE_ISO8601`.
fn rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let at = |at: usize| bytes.get(at).copied();
    let shape = at(4) == Some(b'-')
        && at(7) == Some(b'-')
        && matches!(at(10), Some(b'T' | b't' | b' '))
        && at(13) == Some(b':')
        && at(16) == Some(b':')
        && matches!(at(19), Some(b'.' | b'Z' | b'z' | b'+' | b'-'));
    let rest = bytes.get(19..).filter(|_| shape)?;
    let sign = |from: usize| {
        let at = rest.len().checked_sub(from)?;
        rest.get(at).filter(|sign| matches!(sign, b'+' | b'-'))
    };
    let zone = matches!(rest.last(), Some(b'Z' | b'z'))
        || (sign(6).is_some() && rest.get(rest.len() - 3) == Some(&b':'))
        || sign(5).is_some();
    let time = Timestamp::parse(text).ok().filter(|_| zone)?;
    time.offset().map(|_| time.unix_micros())
}

/// Returns the point in time of a `DateTime` as PHP's `json_encode` writes it: `{"date":
/// "2026-05-02 03:04:05.000000", "timezone_type": 3, "timezone": "Europe/Berlin"}`.
fn php_date(value: &Value) -> Option<Result<i64, String>> {
    let members = value.as_object().filter(|members| members.len() == 3)?;
    let date = members.get("date")?.as_str()?;
    let kind = members.get("timezone_type")?.as_u64()?;
    let zone = members.get("timezone")?.as_str()?;
    Some(php_moment(date, kind, zone))
}

/// Returns a point in time from PHP's date and zone. `kind` says whether the zone is an offset (1),
/// an abbreviation (2), or a name (3).
fn php_moment(date: &str, kind: u64, name: &str) -> Result<i64, String> {
    let unknown = |why: &str| format!("has the time zone {name:?}, which {why}");
    let zone = match kind {
        2 if ["Z", "UTC", "GMT"].contains(&name) => Zone::utc(),
        // PHP's CET has no summer time, but the zone of that name has.
        2 => return Err(unknown("is an abbreviation; use an offset or an IANA name")),
        _ => name
            .parse()
            .map_err(|_| unknown("is neither an IANA time zone name nor an offset"))?,
    };
    let clock = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", date)
        .map_err(|_| format!("has the date {date:?}, which is not YYYY-MM-DD hh:mm:ss.ffffff"))?;
    zone.moment(clock)
        .ok_or_else(|| format!("is {date}, which does not exist in {name}: the clock skips it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Bound, String> {
        Bound::read(value, Dates::Converted)
    }

    fn of_kombu(kind: &str, value: impl Into<Value>) -> Value {
        json!({ "__type__": kind, "__value__": value.into() })
    }

    #[test]
    fn wrappers_of_kombu_are_read_as_the_original_values() {
        let text = |text: &str| Bound::Text(text.to_owned());
        let second = 1_777_683_845_000_000;
        for (kind, value, expected) in [
            (
                "datetime",
                json!("2026-05-02T03:04:05+02:00"),
                Bound::Moment(second, None),
            ),
            (
                "datetime",
                json!("2026-05-02T01:04:05Z"),
                Bound::Moment(second, None),
            ),
            (
                "datetime",
                json!("2026-05-02T01:04:05.000007+00:00"),
                Bound::Moment(second + 7, None),
            ),
            (
                "datetime",
                json!("2026-05-02T03:04:05"),
                text("2026-05-02 03:04:05.000000"),
            ),
            (
                "datetime",
                json!("2026-05-02T03:04:05.5"),
                text("2026-05-02 03:04:05.500000"),
            ),
            ("date", json!("2026-05-02"), text("2026-05-02")),
            ("time", json!("03:04:05.678901"), text("03:04:05.678901")),
            ("decimal", json!("1.10"), Bound::Exact("1.10".to_owned())),
            (
                "decimal",
                json!("-1E+400"),
                Bound::Exact("-1E+400".to_owned()),
            ),
            (
                "uuid",
                json!({"hex": "0123456789abcdef0123456789abcdef"}),
                text("01234567-89ab-cdef-0123-456789abcdef"),
            ),
            ("bytes", json!("ab\u{0}c"), Bound::Bytes(b"ab\0c".to_vec())),
            (
                "base64",
                json!("/wBhYmM="),
                Bound::Bytes(b"\xff\0abc".to_vec()),
            ),
        ] {
            assert_eq!(read(&of_kombu(kind, value)), Ok(expected), "{kind}");
        }
        for (kind, value, part) in [
            ("complex", json!("1j"), "\"complex\""),
            ("date", json!("soon"), "\"date\""),
            ("time", json!("03:04:05+02:00"), "+02:00"),
            ("base64", json!("?"), "\"base64\""),
        ] {
            for value in [
                of_kombu(kind, value.clone()),
                json!([of_kombu(kind, value)]),
            ] {
                match read(&value) {
                    Err(error) => assert!(error.contains(part), "{error}"),
                    // Inside a list, a time with an offset becomes text: there the statement may
                    // combine it with a date.
                    Ok(bound) => assert_eq!(bound, Bound::Json(json!(["03:04:05+02:00"]))),
                }
            }
        }
    }

    #[test]
    fn inside_json_wrappers_become_text() {
        let value = json!({
            "at": of_kombu("datetime", "2026-05-02T03:04:05+02:00"),
            "list": [of_kombu("decimal", "1.10"), {"day": of_kombu("date", "2026-05-02")}],
            "id": of_kombu("uuid", json!({"hex": "0123456789abcdef0123456789abcdef"})),
            "raw": [of_kombu("bytes", "abc"), of_kombu("base64", "/w==")],
            "text": "2026-05-02T01:04:05Z",
            "three": {"__type__": "date", "__value__": "x", "more": 1},
        });
        let expected = json!({
            "at": "2026-05-02T03:04:05+02:00",
            "list": ["1.10", {"day": "2026-05-02"}],
            "id": "01234567-89ab-cdef-0123-456789abcdef",
            "raw": ["abc", "/w=="],
            "text": "2026-05-02T01:04:05Z",
            "three": {"__type__": "date", "__value__": "x", "more": 1},
        });
        assert_eq!(read(&value), Ok(Bound::Json(expected)));
    }

    #[test]
    fn only_a_whole_date_with_an_offset_is_a_moment() {
        let second = 1_777_683_845_000_000;
        for text in [
            "2026-05-02T01:04:05Z",
            "2026-05-02T01:04:05.000000Z",
            "2026-05-02t01:04:05z",
            "2026-05-02T03:04:05+02:00",
            "2026-05-02T03:04:05+0200",
            "2026-05-01 20:04:05.000-05:00",
        ] {
            assert_eq!(rfc3339(text), Some(second), "{text}");
            let value = json!(text);
            assert_eq!(
                read(&value),
                Ok(Bound::Moment(second, Some(text.to_owned())))
            );
            let kept = Bound::read(&value, Dates::Kept);
            assert_eq!(kept, Ok(Bound::Text(text.to_owned())));
        }
        for text in [
            "2026-05-02",
            "2026-05-02 03:04:05",
            "2026-05-02T03:04:05.678901",
            "20260502T010405Z",
            "2026-05-02T01:04Z",
            " 2026-05-02T01:04:05Z",
            "2026-05-02T01:04:05Z.",
            "at 2026-05-02T01:04:05Z",
            "2026-05-02T01:04:05+02",
            "2026-05-02T01:04:05,5Z",
            "2026-02-30T01:04:05Z",
            "2026-05-02T01:04:05+2:00",
            "２026-05-02T01:04:05Z",
            "",
        ] {
            assert_eq!(read(&json!(text)), Ok(Bound::Text(text.to_owned())));
        }
    }

    #[test]
    fn dates_of_php_are_moments() {
        let date = |date: &str, kind: u8, zone: &str| {
            read(&json!({"date": date, "timezone_type": kind, "timezone": zone}))
        };
        let second = 1_777_683_845_000_000;
        for (clock, kind, zone) in [
            ("2026-05-02 03:04:05.000000", 3, "Europe/Berlin"),
            ("2026-05-02 03:04:05.000000", 1, "+02:00"),
            ("2026-05-02 01:04:05.000000", 3, "UTC"),
            ("2026-05-02 01:04:05.000000", 2, "Z"),
            ("2026-05-01 21:04:05.000000", 3, "US/Eastern"),
        ] {
            assert_eq!(
                date(clock, kind, zone),
                Ok(Bound::Moment(second, None)),
                "{zone}"
            );
        }
        for (clock, kind, zone, part) in [
            (
                "2026-05-02 03:04:05.000000",
                3,
                "Europe/Berlinn",
                "\"Europe/Berlinn\"",
            ),
            ("2026-05-02 03:04:05.000000", 2, "CEST", "\"CEST\""),
            ("2026-05-02 03:04:05.000000", 2, "CET", "\"CET\""),
            ("2026-05-02 03:04:05.000000", 1, "+99:00", "\"+99:00\""),
            (
                "2026-03-29 02:30:00.000000",
                3,
                "Europe/Berlin",
                "does not exist in Europe/Berlin",
            ),
            (
                "2026-03-08 02:00:00.000000",
                3,
                "America/New_York",
                "does not exist in America",
            ),
            ("2026-02-30 02:30:00.000000", 3, "UTC", "2026-02-30"),
        ] {
            let error = date(clock, kind, zone).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        // An object with three other members, or with these members and other values, is a plain
        // object.
        for value in [
            json!({"date": "x", "timezone_type": "3", "timezone": "UTC"}),
            json!({"date": 1, "timezone_type": 3, "timezone": "UTC"}),
            json!({"timezone_type": 3, "timezone": "UTC"}),
        ] {
            assert_eq!(read(&value), Ok(Bound::Json(value)));
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let parsed = |text: &str| read(&serde_json::from_str(text).unwrap());
        assert_eq!(parsed("9223372036854775807"), Ok(Bound::Whole(i64::MAX)));
        assert_eq!(
            parsed("18446744073709551615"),
            Ok(Bound::Exact("18446744073709551615".to_owned()))
        );
        assert_eq!(parsed("1.5"), Ok(Bound::Real(1.5)));
        assert_eq!(parsed("1e3"), Ok(Bound::Real(1_000.0)));
    }
}
