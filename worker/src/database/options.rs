//! The options of a database's URL. An unknown option is refused with an error that names it. The
//! drivers would ignore it silently, or log its name and value.

use url::form_urlencoded;

use super::Dialect;

/// Options that say how the connection is protected, in the words of both servers.
pub(super) const TLS_MODES: [&str; 2] = ["ssl-mode", "sslmode"];
/// Options that name a file of certificates or keys, as the drivers read them.
pub(super) const TLS_FILES: [&str; 8] = [
    "ssl-ca",
    "sslca",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
];
/// The options in the lists above that the driver of this database does not have.
const NOT_OF_MYSQL: [&str; 2] = ["sslrootcert", "ssl-root-cert"];
const NOT_OF_POSTGRES: [&str; 1] = ["sslca"];
/// Options of Doctrine, whose URLs people share between an application and its worker. They change
/// nothing: the worker asks the server for its version, and what it sends is UTF-8.
const OF_DOCTRINE: [&str; 2] = ["serverVersion", "charset"];

/// Options of libpq that the URLs of providers and of other programs have. Each is accepted with
/// the listed values, because with these it changes nothing here. An empty list means any value.
/// The worker has deadlines and keepalive of its own.
const OF_LIBPQ: [(&str, &[&str]); 9] = [
    ("client_encoding", &["utf8", "utf-8", "auto"]),
    ("connect_timeout", &[]),
    ("keepalives", &[]),
    ("keepalives_count", &[]),
    ("keepalives_idle", &[]),
    ("keepalives_interval", &[]),
    ("gssencmode", &["disable", "prefer"]),
    ("channel_binding", &["disable", "prefer"]),
    ("target_session_attrs", &["any", "read-write"]),
];

/// Returns the names of the options that a URL of this dialect may have.
fn known(dialect: Dialect) -> Vec<&'static str> {
    let tls = |without: &'static [&str]| {
        TLS_MODES
            .into_iter()
            .chain(TLS_FILES)
            .filter(|name| !without.contains(name))
    };
    match dialect {
        Dialect::MySql => tls(&NOT_OF_MYSQL)
            .chain(["socket", "statement-cache-capacity"])
            .chain(OF_DOCTRINE)
            .collect(),
        Dialect::Postgres => tls(&NOT_OF_POSTGRES)
            .chain(["host", "hostaddr", "port", "dbname", "user", "password"])
            .chain(["application_name", "options", "statement-cache-capacity"])
            .chain(OF_DOCTRINE)
            .chain(OF_LIBPQ.map(|(name, _)| name))
            .collect(),
        Dialect::Sqlite => vec!["mode", "cache", "immutable", "vfs", "foreign_keys"],
    }
}

/// Returns what is wrong with the names of the options in a query, or with a character set.
pub(super) fn check(query: &str, dialect: Dialect) -> Result<(), String> {
    let known = known(dialect);
    // The text after a password may belong to it, since the password may hold an `&`.
    let mut may_be_secret = false;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_known = known.contains(&&*name)
            || dialect == Dialect::Postgres && name.starts_with("options[") && name.ends_with(']');
        let named = if may_be_secret || !is_plain(&name) {
            "an option".to_owned()
        } else {
            format!("the option {name}")
        };
        if !is_known {
            let hint = hint(&name, dialect);
            let known = known.join(", ");
            return Err(format!(
                "{named} is not known; the options are {known}{hint}"
            ));
        }
        if name == "charset" && !is_utf8(&value) {
            return Err(format!(
                "{named} is utf8mb4 or utf8: what the worker sends is UTF-8"
            ));
        }
        let accepted = OF_LIBPQ
            .iter()
            .find(|(option, _)| dialect == Dialect::Postgres && *option == name)
            .map_or(&[][..], |(_, values)| values);
        if !accepted.is_empty() && !accepted.iter().any(|is| is.eq_ignore_ascii_case(&value)) {
            let hint = if name == "channel_binding" {
                "; sslmode=verify-full protects against another server as well"
            } else {
                ""
            };
            return Err(format!(
                "{named} can only be {}, since the driver has nothing else{hint}",
                accepted.join(" or ")
            ));
        }
        may_be_secret |= name == "password";
    }
    Ok(())
}

/// Returns what replaces an option of other programs that has no meaning here.
fn hint(name: &str, dialect: Dialect) -> &'static str {
    let plain = name.replace(['-', '_'], "").to_ascii_lowercase();
    match (plain.as_str(), dialect) {
        ("timezone" | "servertimezone" | "loc", _) => {
            "; the time zone of sessions is the setting --database-time-zone"
        }
        ("collation", Dialect::MySql) => {
            "; a session has the server's default collation for utf8mb4, and a statement can name \
             another one with COLLATE"
        }
        ("unixsocket", Dialect::MySql) => "; the path of a unix socket is the option socket",
        ("searchpath" | "schema" | "currentschema", Dialect::Postgres) => {
            "; the search path is options[search_path]"
        }
        _ => "",
    }
}

/// Returns `true` for text that looks like the name of an option: a part of a password may not.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.[]".contains(c);
    !name.is_empty() && name.len() <= 40 && name.chars().all(plain)
}

fn is_utf8(charset: &str) -> bool {
    let sets = ["utf8", "utf-8", "utf8mb3", "utf8mb4"];
    sets.iter().any(|set| charset.eq_ignore_ascii_case(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_or_named() {
        for (query, dialect) in [
            ("", Dialect::MySql),
            ("ssl-mode=disabled&socket=/run/my.sock", Dialect::MySql),
            ("serverVersion=8.0.32&charset=utf8mb4", Dialect::MySql),
            ("serverVersion=16&charset=utf8", Dialect::Postgres),
            (
                "options[search_path]=a&application_name=x",
                Dialect::Postgres,
            ),
            ("sslmode=require&password=x%26y", Dialect::Postgres),
            (
                "connect_timeout=10&keepalives=1&client_encoding=UTF8",
                Dialect::Postgres,
            ),
            (
                "target_session_attrs=read-write&channel_binding=prefer&gssencmode=disable",
                Dialect::Postgres,
            ),
            ("mode=rwc&foreign_keys=on", Dialect::Sqlite),
        ] {
            assert_eq!(check(query, dialect), Ok(()), "{query}");
        }
        for (query, dialect, part) in [
            ("ssl_mod=disabled", Dialect::MySql, "option ssl_mod is"),
            ("foo=1", Dialect::MySql, "options are ssl-mode,"),
            (
                "ssl-mode=disabled&Socket=/x",
                Dialect::MySql,
                "option Socket",
            ),
            ("timezone=UTC", Dialect::MySql, "--database-time-zone"),
            ("time-zone=UTC", Dialect::MySql, "--database-time-zone"),
            ("serverTimezone=UTC", Dialect::MySql, "--database-time-zone"),
            (
                "charset=utf8mb4&collation=utf8mb4_unicode_ci",
                Dialect::MySql,
                "with COLLATE",
            ),
            (
                "Collation=utf8",
                Dialect::MySql,
                "default collation for utf8mb4",
            ),
            ("unix_socket=/run/x", Dialect::MySql, "the option socket"),
            ("currentSchema=a", Dialect::Postgres, "options[search_path]"),
            ("charset=latin1", Dialect::MySql, "utf8mb4"),
            ("sslrootcert=/x", Dialect::MySql, "sslrootcert is not"),
            ("ssl_mode=disable", Dialect::Postgres, "ssl_mode"),
            ("options[x=1", Dialect::Postgres, "options[x is"),
            ("foo", Dialect::Postgres, "option foo"),
            (
                "channel_binding=require",
                Dialect::Postgres,
                "sslmode=verify-full",
            ),
            (
                "target_session_attrs=standby",
                Dialect::Postgres,
                "any or read-write",
            ),
            ("client_encoding=latin1", Dialect::Postgres, "utf8"),
            ("connect_timeout=10", Dialect::MySql, "connect_timeout is"),
            ("mode=rwc&foreign_key=on", Dialect::Sqlite, "foreign_key is"),
            ("journal_mode=wal", Dialect::Sqlite, "mode, cache"),
        ] {
            let cause = check(query, dialect).unwrap_err();
            assert!(cause.contains(part), "{query}: {cause}");
        }
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_shown() {
        for query in [
            "password=a&secret",
            "password=a&secret=b&foo",
            "se/cret",
            "se cret=1",
        ] {
            let cause = check(query, Dialect::Postgres).unwrap_err();
            assert!(cause.starts_with("an option is not known"), "{cause}");
        }
    }
}
