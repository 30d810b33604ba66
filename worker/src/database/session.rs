//! The settings of a session; the worker changes as few as it can.
//!
//! A statement must mean the same as in the database's own client. The drivers change settings of
//! the session. This module undoes that, sets the zone if the user gave one, and finds out in which
//! zone the session's clock runs.
//!
//! * MySQL, MariaDB: `sql_mode` and `time_zone` stay as the server has them. Text is sent as UTF-8.
//! * PostgreSQL: `TimeZone` and `DateStyle` have the values of the role, the database, or the
//!   server's file, if the role may read it.
//! * SQLite: `foreign_keys` is off unless the URL says otherwise. Its clock shows UTC.

use sqlx::{AssertSqlSafe, Executor, Row};

use super::connection::Raw;
use super::grammar::Grammar;
use super::zone::{Zone, ZoneError};
use super::{DatabaseError, Dialect};

/// The zone in which a session reads and shows dates. An error names a zone without known rules.
pub(super) type SessionZone = Result<Zone, ZoneError>;

/// The settings of a session that the worker needs to know.
pub(super) struct Settings {
    pub(super) zone: SessionZone,
    pub(super) grammar: Grammar,
}

/// Selects the settings that decide the meaning of a statement, one column each.
///
/// The last two are the server's clock at midnight (UTC) of 1 January and 1 July 2026. They show
/// whether an abbreviation such as EST stands for the zone with that name.
const MYSQL_SETTINGS: &str = "SELECT @@session.time_zone, @@system_time_zone, \
    @@session.sql_mode, @@global.sql_mode, @@character_set_client, @@init_connect, \
    CAST(FROM_UNIXTIME(1767225600) AS CHAR), CAST(FROM_UNIXTIME(1782864000) AS CHAR)";
/// The two points in time of [`MYSQL_SETTINGS`], in Unix microseconds.
const MOMENTS: [i64; 2] = [1_767_225_600_000_000, 1_782_864_000_000_000];

/// Selects the settings of role and database, the most specific first. The driver overrides them in
/// each session, and the server has no command to undo that.
const POSTGRES_SETTINGS: &str = "SELECT split_part(one, '=', 1), substr(one, strpos(one, '=') + 1) \
    FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS one \
    WHERE setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database \
        WHERE datname = current_database())) \
    AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)) \
    AND lower(split_part(one, '=', 1)) IN ('timezone', 'datestyle') \
    ORDER BY setrole = 0, setdatabase = 0";
/// Selects whether the role may read the server's file of settings, and how strings are read.
const POSTGRES_RIGHT_AND_STRINGS: &str = "SELECT CAST(has_function_privilege('pg_show_all_file_settings()', 'execute') AS text), \
    current_setting('standard_conforming_strings')";
const POSTGRES_FILE: &str = "SELECT name, setting FROM pg_catalog.pg_file_settings \
    WHERE applied AND lower(name) IN ('timezone', 'datestyle')";
/// The settings of PostgreSQL that the driver overrides.
const OVERRIDDEN: [&str; 2] = ["timezone", "datestyle"];

/// Prepares a new session, and returns its settings.
pub(super) async fn prepare(raw: &mut Raw, zone: Option<&Zone>) -> Result<Settings, DatabaseError> {
    match raw {
        Raw::MySql(open) => mysql(open, zone).await,
        Raw::Postgres(open) => postgres(open, zone).await,
        Raw::Sqlite(_) => Ok(Settings {
            zone: Ok(zone.cloned().unwrap_or_else(Zone::utc)),
            grammar: Dialect::Sqlite.into(),
        }),
    }
}

async fn mysql(
    open: &mut sqlx::MySqlConnection,
    zone: Option<&Zone>,
) -> Result<Settings, DatabaseError> {
    let row = sqlx::raw_sql(MYSQL_SETTINGS).fetch_one(&mut *open).await?;
    // The server sends each as bytes or text.
    let text = |at: usize| -> Result<String, sqlx::Error> {
        let bytes: Option<Vec<u8>> = row.try_get(at)?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    let mut changes = Vec::new();
    // The driver adds the mode `IGNORE_SPACE` when it connects. It is removed again, unless the
    // server has it.
    let (mode, servers) = (text(2)?, text(3)?);
    if let Some(mode) = without_ignore_space(&mode, &servers) {
        changes.push(format!("sql_mode = {}", quoted(&mode)));
    }
    // The worker sends UTF-8. The collation of literals is then the server's default for UTF-8, as
    // in a client; `init_connect` may have chosen another.
    if text(5)?.is_empty() || !text(4)?.starts_with("utf8") {
        changes.push("NAMES utf8mb4".to_owned());
    }
    if !changes.is_empty() {
        let change = format!("SET {}", changes.join(", "));
        open.execute(AssertSqlSafe(change)).await?;
    }
    let settings = |zone| {
        let grammar = Grammar::of_sql_mode(&mode);
        Ok(Settings { zone, grammar })
    };
    if let Some(zone) = zone {
        // Named zones need tables that many servers lack; UTC can be written as an offset.
        let name = if zone.is_utc() {
            "+00:00".to_owned()
        } else {
            zone.to_string()
        };
        let change = format!("SET time_zone = {}", quoted(&name));
        let set = open.execute(AssertSqlSafe(change)).await;
        set.map_err(|error| unknown_zone(zone, error))?;
        return settings(Ok(zone.clone()));
    }
    let name = text(0)?;
    if !name.eq_ignore_ascii_case("SYSTEM") {
        return settings(name.parse());
    }
    settings(of_the_machine(&text(1)?, [&text(6)?, &text(7)?]))
}

/// Returns the mode without the driver's addition, or `None` if the server has the mode itself.
fn without_ignore_space(mode: &str, servers: &str) -> Option<String> {
    let ignores = |mode: &str| mode.split(',').any(|part| part == "IGNORE_SPACE");
    if !ignores(mode) || ignores(servers) {
        return None;
    }
    let rest: Vec<&str> = mode
        .split(',')
        .filter(|part| *part != "IGNORE_SPACE")
        .collect();
    Some(rest.join(","))
}

/// Returns the zone of the server's machine, from its abbreviation and its clock at two points in
/// time.
fn of_the_machine(abbreviation: &str, clocks: [&str; 2]) -> SessionZone {
    let unknown = || ZoneError::of_a_machine(abbreviation);
    let zone = Zone::named(abbreviation).map_err(|_| unknown())?;
    let fits = MOMENTS.iter().zip(clocks).all(|(moment, shown)| {
        let clock = zone.clock(*moment);
        clock.is_some_and(|(clock, _)| clock.strftime("%F %T").to_string() == shown)
    });
    if fits { Ok(zone) } else { Err(unknown()) }
}

async fn postgres(
    open: &mut sqlx::PgConnection,
    zone: Option<&Zone>,
) -> Result<Settings, DatabaseError> {
    let mut settings = pairs(open, POSTGRES_SETTINGS).await?;
    let said = pairs(open, POSTGRES_RIGHT_AND_STRINGS).await?;
    let (may_read, conform) = said
        .first()
        .map_or(("", ""), |(may, conform)| (may, conform));
    let grammar = Grammar::of_conforming_strings(conform != "off");
    if may_read == "true" {
        // The settings in the file are the least specific.
        settings.extend(pairs(open, POSTGRES_FILE).await?);
    }
    let mut known = Ok(Zone::utc());
    for name in OVERRIDDEN {
        let found = settings
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name));
        let Some((name, value)) = found else {
            continue;
        };
        let change = format!(
            "SELECT set_config({}, {}, false)",
            quoted(name),
            quoted(value)
        );
        open.execute(AssertSqlSafe(change)).await?;
        if name.eq_ignore_ascii_case("timezone") {
            known = Zone::named(value);
        }
    }
    let Some(zone) = zone else {
        return Ok(Settings {
            zone: known,
            grammar,
        });
    };
    // PostgreSQL reads the sign of an offset in text the opposite way.
    let change = if zone.is_offset() {
        format!("SET TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE")
    } else {
        format!("SET TIME ZONE {}", quoted(&zone.to_string()))
    };
    let set = open.execute(AssertSqlSafe(change)).await;
    set.map_err(|error| unknown_zone(zone, error))?;
    Ok(Settings {
        zone: Ok(zone.clone()),
        grammar,
    })
}

/// Returns the rows of a query with two columns of text.
async fn pairs(
    open: &mut sqlx::PgConnection,
    sql: &'static str,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let rows = sqlx::raw_sql(sql).fetch_all(open).await?;
    let pair = |row: sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    Ok(rows
        .into_iter()
        .map(pair)
        .collect::<Result<_, sqlx::Error>>()?)
}

/// Returns a string literal. The text comes from the server or is the name of a zone: it has no
/// backslash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Makes the error for a server that refuses a zone by its name.
fn unknown_zone(zone: &Zone, error: sqlx::Error) -> DatabaseError {
    match error {
        sqlx::Error::Database(said) => DatabaseError::refused(format!(
            "the database does not know the time zone {zone}: {}. Give an offset, such as +00:00, or \
            load the zones into the server (mysql_tzinfo_to_sql)",
            said.message()
        )),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mode_of_the_driver_is_undone() {
        let taken = |mode, servers| without_ignore_space(mode, servers);
        assert_eq!(
            taken("IGNORE_SPACE,STRICT_TRANS_TABLES", "STRICT_TRANS_TABLES").as_deref(),
            Some("STRICT_TRANS_TABLES")
        );
        assert_eq!(taken("IGNORE_SPACE", "").as_deref(), Some(""));
        assert_eq!(taken("STRICT_ALL_TABLES", ""), None);
        assert_eq!(taken("IGNORE_SPACE,ANSI", "IGNORE_SPACE,ANSI"), None);
    }

    #[test]
    fn an_abbreviation_counts_only_where_its_zone_shows_the_servers_clock() {
        let utc = ["2026-01-01 00:00:00", "2026-07-01 00:00:00"];
        let paris = ["2026-01-01 01:00:00", "2026-07-01 02:00:00"];
        let new_york = ["2025-12-31 19:00:00", "2026-06-30 20:00:00"];
        assert!(of_the_machine("UTC", utc).is_ok());
        assert!(of_the_machine("CET", paris).is_ok());
        for (name, clocks) in [
            ("EST", new_york),
            ("CEST", paris),
            ("UTC", paris),
            ("+03", utc),
        ] {
            let error = of_the_machine(name, clocks).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
