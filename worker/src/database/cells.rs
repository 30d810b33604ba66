//! Reads the values of a row, as each of the three drivers returns them.
//!
//! A value of a type that is not listed here is an error, which names the column: the statement can
//! cast it to text. Dates and times are text in the form of ISO 8601, as Python's `isoformat` writes
//! them.

use std::fmt::Write as _;

use jiff::civil;
use jiff::{SignedDuration, Timestamp};
use sqlx::mysql::MySqlRow;
use sqlx::postgres::{PgRow, PgTypeInfo, PgTypeKind, PgValueFormat};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Row, TypeInfo as _, ValueRef as _};

use super::cell::Cell;

/// Microseconds from the epoch of Unix to that of PostgreSQL, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Reads a value that is not NULL. `None`: it cannot be read.
type Read = Result<Option<Cell>, sqlx::Error>;

/// Returns the names of the columns of a row.
pub(super) fn names<R: Row>(row: &R) -> Vec<String> {
    let columns = row.columns().iter();
    columns.map(|column| column.name().to_owned()).collect()
}

/// Returns the values of a row of MySQL or MariaDB.
pub(super) fn mysql(row: &MySqlRow) -> Result<Vec<Cell>, sqlx::Error> {
    all(row.len(), |at| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kind = raw.type_info().name().to_owned();
        let read = of_mysql(row, at, &kind)?;
        read.ok_or_else(|| unknown(row.column(at).name(), &kind))
    })
}

fn of_mysql(row: &MySqlRow, at: usize, kind: &str) -> Read {
    let bytes = || row.try_get_unchecked::<Vec<u8>, _>(at);
    Ok(match kind {
        kind if kind.ends_with(" UNSIGNED") || kind == "YEAR" => {
            Some(Cell::Unsigned(row.try_get_unchecked(at)?))
        }
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Some(Cell::Whole(row.try_get_unchecked(at)?))
        }
        "FLOAT" => single(row.try_get_unchecked(at)?),
        "DOUBLE" => Some(Cell::Real(row.try_get_unchecked(at)?)),
        "DECIMAL" => Some(Cell::Exact(row.try_get_unchecked(at)?)),
        "BIT" => {
            let bits = bytes()?.into_iter();
            let bits = bits.fold(0, |bits, byte| bits << 8 | u64::from(byte));
            Some(Cell::Unsigned(bits))
        }
        "DATE" | "DATETIME" | "TIMESTAMP" => {
            Some(Cell::Text(mysql_date(&bytes()?, kind == "DATE")))
        }
        "TIME" => mysql_time(&bytes()?).map(Cell::Text),
        "JSON" => serde_json::from_slice(&bytes()?).ok().map(Cell::Json),
        "CHAR" | "VARCHAR" | "TEXT" | "TINYTEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET" => {
            Some(text(bytes()?))
        }
        "BINARY" | "VARBINARY" | "BLOB" | "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            Some(Cell::Bytes(bytes()?))
        }
        _ => None,
    })
}

/// Reads a date: its length, the year in two bytes, month, day, hour, minute, second, and the
/// microseconds in four bytes. Zeros at the end are missing.
fn mysql_date(bytes: &[u8], is_date: bool) -> String {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let year = u16::from_le_bytes([byte(1), byte(2)]);
    // MySQL has dates such as 0000-00-00, which no calendar has.
    let date = format!("{year:04}-{:02}-{:02}", byte(3), byte(4));
    if is_date {
        return date;
    }
    let micros = u32::from_le_bytes([byte(8), byte(9), byte(10), byte(11)]);
    let [hour, minute, second] = [byte(5), byte(6), byte(7)];
    format!(
        "{date}T{hour:02}:{minute:02}:{second:02}{}",
        fraction(micros)
    )
}

/// Reads a time: its length, 1 if it is negative, the days in four bytes, hour, minute, second, and
/// the microseconds in four bytes.
fn mysql_time(bytes: &[u8]) -> Option<String> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let word = |at| u32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
    let sign = if byte(1) == 1 { "-" } else { "" };
    let hours = word(2).checked_mul(24)?.checked_add(byte(6).into())?;
    let [minute, second] = [byte(7), byte(8)];
    Some(format!(
        "{sign}{hours:02}:{minute:02}:{second:02}{}",
        fraction(word(9))
    ))
}

fn fraction(micros: u32) -> String {
    match micros {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    }
}

/// Returns the values of a row of PostgreSQL.
pub(super) fn postgres(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
    all(row.len(), |at| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kind = of_domain(&raw.type_info()).clone();
        let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
        let read = match (raw.format(), kind.kind()) {
            (PgValueFormat::Text, _) | (_, PgTypeKind::Enum(_)) => Some(text(bytes.to_vec())),
            _ => of_postgres(kind.name(), bytes),
        };
        read.ok_or_else(|| unknown(row.column(at).name(), kind.name()))
    })
}

/// Returns the type that a domain is made of.
fn of_domain(kind: &PgTypeInfo) -> &PgTypeInfo {
    let mut kind = kind;
    while let PgTypeKind::Domain(inner) = kind.kind() {
        kind = inner;
    }
    kind
}

fn of_postgres(kind: &str, bytes: &[u8]) -> Option<Cell> {
    match kind {
        "BOOL" => Some(Cell::Bool(bytes == [1])),
        "INT2" => Some(Cell::Whole(
            i16::from_be_bytes(bytes.try_into().ok()?).into(),
        )),
        "INT4" => Some(Cell::Whole(
            i32::from_be_bytes(bytes.try_into().ok()?).into(),
        )),
        "INT8" => Some(Cell::Whole(i64::from_be_bytes(bytes.try_into().ok()?))),
        "OID" => Some(Cell::Whole(
            u32::from_be_bytes(bytes.try_into().ok()?).into(),
        )),
        "FLOAT4" => single(f32::from_be_bytes(bytes.try_into().ok()?)),
        "FLOAT8" => Some(Cell::Real(f64::from_be_bytes(bytes.try_into().ok()?))),
        "NUMERIC" => numeric(bytes).map(Cell::Exact),
        "TEXT" | "VARCHAR" | "CHAR" | "\"CHAR\"" | "NAME" | "UNKNOWN" | "CITEXT" | "citext" => {
            Some(text(bytes.to_vec()))
        }
        "BYTEA" => Some(Cell::Bytes(bytes.to_vec())),
        "JSON" => serde_json::from_slice(bytes).ok().map(Cell::Json),
        // The first byte is the version of the format.
        "JSONB" => serde_json::from_slice(bytes.get(1..)?).ok().map(Cell::Json),
        "UUID" => Some(Cell::Text(
            uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string(),
        )),
        "DATE" => postgres_date(i32::from_be_bytes(bytes.try_into().ok()?)).map(Cell::Text),
        "TIMESTAMP" => moment(bytes, "").map(Cell::Text),
        "TIMESTAMPTZ" => moment(bytes, "+00:00").map(Cell::Text),
        "TIME" => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            let time = civil::Time::midnight().checked_add(SignedDuration::from_micros(micros));
            time.ok().map(|time| Cell::Text(time.to_string()))
        }
        _ => None,
    }
}

/// Reads a number of days since PostgreSQL's epoch.
fn postgres_date(days: i32) -> Option<String> {
    match days {
        i32::MAX => return Some("infinity".to_owned()),
        i32::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let since = jiff::Span::new().try_days(days).ok()?;
    let date = civil::date(2000, 1, 1).checked_add(since).ok()?;
    Some(date.to_string())
}

/// Reads a number of microseconds since PostgreSQL's epoch.
fn moment(bytes: &[u8], offset: &str) -> Option<String> {
    let micros = i64::from_be_bytes(bytes.try_into().ok()?);
    match micros {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let moment = Timestamp::from_microsecond(micros.checked_add(POSTGRES_EPOCH)?).ok()?;
    let clock = moment.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let micros = u32::try_from(clock.subsec_nanosecond() / 1_000).unwrap_or(0);
    let seconds = clock.strftime("%Y-%m-%dT%H:%M:%S");
    Some(format!("{seconds}{}{offset}", fraction(micros)))
}

/// Reads a decimal of PostgreSQL: the number of its digits to the base of 10,000, the weight of the
/// first, the sign, the number of decimals to show, and the digits.
fn numeric(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| {
        let bytes = bytes.get(2 * at..2 * at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let count = i32::from(word(0)?);
    let weight = i32::from(word(1)?.cast_signed());
    let decimals = usize::from(word(3)?);
    let sign = match word(2)? {
        0 => "",
        0x4000 => "-",
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return Some("NaN".to_owned()),
    };
    // The digit that counts 10,000 to this power.
    let digit = |power: i32| match weight - power {
        at if (0..count).contains(&at) => usize::try_from(at + 4).ok().and_then(word),
        _ => Some(0),
    };
    let mut text = String::from(sign);
    // Writing into a string cannot fail.
    let _ = write!(text, "{}", digit(weight.max(0))?);
    for power in (0..weight).rev() {
        let _ = write!(text, "{:04}", digit(power)?);
    }
    if decimals > 0 {
        let mut after = String::new();
        let mut power = -1;
        while after.len() < decimals {
            let _ = write!(after, "{:04}", digit(power)?);
            power -= 1;
        }
        after.truncate(decimals);
        text.push('.');
        text.push_str(&after);
    }
    Some(text)
}

/// Returns the values of a row of SQLite, where each value has a type of its own.
pub(super) fn sqlite(row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
    all(row.len(), |at| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kind = raw.type_info().name().to_owned();
        Ok(match &*kind {
            "INTEGER" | "BOOLEAN" => Cell::Whole(row.try_get_unchecked(at)?),
            "REAL" => Cell::Real(row.try_get_unchecked(at)?),
            "BLOB" => Cell::Bytes(row.try_get_unchecked(at)?),
            _ => text(row.try_get_unchecked(at)?),
        })
    })
}

fn all(
    count: usize,
    read: impl FnMut(usize) -> Result<Cell, sqlx::Error>,
) -> Result<Vec<Cell>, sqlx::Error> {
    (0..count).map(read).collect()
}

/// Returns a number of single precision with the digits that it shows.
fn single(number: f32) -> Option<Cell> {
    number.to_string().parse().ok().map(Cell::Real)
}

/// Returns text, or bytes if they are not UTF-8: the session chooses the character set.
fn text(bytes: Vec<u8>) -> Cell {
    String::from_utf8(bytes).map_or_else(|error| Cell::Bytes(error.into_bytes()), Cell::Text)
}

fn unknown(column: &str, kind: &str) -> sqlx::Error {
    let why = format!("values of the type {kind} are not read; cast them to text");
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_with_all_digits() {
        let words = |words: &[u16]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        for (parts, expected) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 7], "7"),
            (&[2, 1, 0x4000, 0, 1, 2], "-10002"),
            (&[2, 0, 0, 2, 12, 3400], "12.34"),
            (&[1, 0xFFFF, 0, 3, 50], "0.005"),
            (&[1, 0xFFFE, 0, 8, 1], "0.00000001"),
            (&[1, 2, 0, 1, 5], "500000000.0"),
            (&[0, 0, 0xC000, 0], "NaN"),
        ] {
            assert_eq!(numeric(&words(parts)).as_deref(), Some(expected));
        }
        assert_eq!(numeric(&words(&[1, 0, 0])), None);
    }

    #[test]
    fn dates_are_read_as_the_servers_send_them() {
        for (bytes, expected) in [
            (&[4, 234, 7, 5, 2][..], "2026-05-02T00:00:00"),
            (&[7, 234, 7, 5, 2, 3, 4, 5], "2026-05-02T03:04:05"),
            (
                &[11, 234, 7, 5, 2, 3, 4, 5, 7, 0, 0, 0],
                "2026-05-02T03:04:05.000007",
            ),
            (&[0], "0000-00-00T00:00:00"),
        ] {
            assert_eq!(mysql_date(bytes, false), expected);
        }
        assert_eq!(mysql_date(&[4, 234, 7, 5, 2], true), "2026-05-02");
        for (bytes, expected) in [
            (&[8, 0, 0, 0, 0, 0, 3, 4, 5][..], "03:04:05"),
            (&[8, 1, 2, 0, 0, 0, 3, 4, 5], "-51:04:05"),
            (&[0], "00:00:00"),
        ] {
            assert_eq!(mysql_time(bytes).as_deref(), Some(expected));
        }
        let micros = |micros: i64| moment(&micros.to_be_bytes(), "+00:00").unwrap();
        assert_eq!(micros(0), "2000-01-01T00:00:00+00:00");
        assert_eq!(micros(-1), "1999-12-31T23:59:59.999999+00:00");
        assert_eq!(micros(i64::MAX), "infinity");
        assert_eq!(postgres_date(9_618).as_deref(), Some("2026-05-02"));
    }
}
