//! The address of a database: its kind, the protection of its connection, and its masked form.

use std::net::IpAddr;
use std::str::FromStr;

use celery_client::error::PERCENT_ENCODED;
use celery_client::mask::{cuts_login, is_scheme, mask};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use url::Url;

use super::Dialect;
use super::options;
use super::zone::Zone;

/// A URL that cannot be used for a database. The message never contains the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// The text is not a URL.
    #[error("{0} is not a URL; {PERCENT_ENCODED}")]
    Malformed(String),
    /// The URL has an `@` after the first `/`, `?` or `#`, so the login would end too early.
    #[error("{0} has an @ after the first /, ? or #; {PERCENT_ENCODED}")]
    NotEncoded(String),
    /// The scheme is not supported.
    #[error("{url}: the scheme {scheme} is not supported; use mysql, mariadb, postgres or sqlite")]
    Scheme {
        /// The URL, masked.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// No database is named.
    #[error("{0} names no database")]
    NoDatabase(String),
    /// An option is refused, by the driver or by the worker.
    #[error("{url}: {cause}")]
    Option {
        /// The URL, masked.
        url: String,
        /// The reason.
        cause: String,
    },
}

/// The options with which the driver connects, and the time zone to set in each session.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(super) options: Options,
    /// The zone of sessions. `None` keeps the server's own.
    pub(super) zone: Option<Zone>,
}

/// The options of each driver.
#[derive(Clone, Debug)]
pub(crate) enum Options {
    MySql(MySqlConnectOptions),
    Postgres(PgConnectOptions),
    Sqlite(SqliteConnectOptions),
}

impl Address {
    pub(crate) fn dialect(&self) -> Dialect {
        match self.options {
            Options::MySql(_) => Dialect::MySql,
            Options::Postgres(_) => Dialect::Postgres,
            Options::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Reads a URL. `mysql+pymysql://` and the like, as Python writes them, are read as `mysql://`.
    pub(crate) fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        Options::parse(text).map(|options| Address {
            options,
            zone: None,
        })
    }
}

impl Options {
    fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(DatabaseUrlError::Malformed(mask(text)));
        };
        let option = |error: sqlx::Error| DatabaseUrlError::Option {
            url: mask(text),
            cause: error.to_string(),
        };
        let plain = scheme.split('+').next().unwrap_or(scheme);
        match plain {
            "mysql" | "mariadb" => {
                let url = server(&format!("mysql:{rest}"), text)?;
                check_options(url.query(), Dialect::MySql, text)?;
                check_files(&url, text)?;
                let options = MySqlConnectOptions::from_str(url.as_str()).map_err(option)?;
                let protects = says(&url, &options::TLS_MODES);
                Ok(Options::MySql(as_the_server_has_it(
                    if protects
                        || says(&url, &["socket"])
                        || is_local(url.host_str().unwrap_or_default())
                    {
                        options
                    } else {
                        options.ssl_mode(MySqlSslMode::VerifyIdentity)
                    },
                )))
            }
            "postgres" | "postgresql" => {
                let url = server(&format!("postgres:{rest}"), text)?;
                check_options(url.query(), Dialect::Postgres, text)?;
                check_files(&url, text)?;
                let options = PgConnectOptions::from_str(url.as_str()).map_err(option)?;
                let protects = says(&url, &options::TLS_MODES);
                let options = options.extra_float_digits(None);
                let options = if says(&url, &["statement-cache-capacity"]) {
                    options
                } else {
                    options.statement_cache_capacity(PREPARED)
                };
                // The host may also come from an option of the URL, or from PGHOST.
                let is_local = options.get_socket().is_some() || is_local(options.get_host());
                Ok(Options::Postgres(if protects || is_local {
                    options
                } else {
                    options.ssl_mode(PgSslMode::VerifyFull)
                }))
            }
            "sqlite" => {
                let query = text.split_once('?').map(|(_, query)| query);
                check_options(query, Dialect::Sqlite, text)?;
                let (text, foreign_keys) = without_foreign_keys(text)?;
                let options = SqliteConnectOptions::from_str(&text).map_err(option)?;
                // A worker and a web application share the file: wait for the other's lock rather
                // than fail.
                let options = options.busy_timeout(BUSY);
                Ok(Options::Sqlite(options.foreign_keys(foreign_keys)))
            }
            _ if !is_scheme(scheme) => Err(DatabaseUrlError::Malformed(mask(text))),
            _ => Err(DatabaseUrlError::Scheme {
                url: mask(text),
                scheme: scheme.to_owned(),
            }),
        }
    }
}

/// Statements that a PostgreSQL session keeps prepared: the driver's 100, and as many that were
/// only prepared to learn their types.
const PREPARED: usize = 200;
/// How long a SQLite statement waits for another process's lock.
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Stops the driver from changing the session; see [`session`](super::session).
fn as_the_server_has_it(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
}

/// Takes `foreign_keys=on` or `off` out of a SQLite URL. Default: off, as in SQLite itself.
fn without_foreign_keys(text: &str) -> Result<(String, bool), DatabaseUrlError> {
    let Some((place, query)) = text.split_once('?') else {
        return Ok((text.to_owned(), false));
    };
    let mut on = false;
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("foreign_keys", "on" | "true" | "1")) => on = true,
            Some(("foreign_keys", "off" | "false" | "0")) => on = false,
            Some(("foreign_keys", other)) => {
                return Err(DatabaseUrlError::Option {
                    url: mask(text),
                    cause: format!("foreign_keys is on or off, not {other:?}"),
                });
            }
            _ => rest.push(part),
        }
    }
    let text = if rest.is_empty() {
        place.to_owned()
    } else {
        format!("{place}?{}", rest.join("&"))
    };
    Ok((text, on))
}

fn server(url: &str, text: &str) -> Result<Url, DatabaseUrlError> {
    if url
        .split_once("://")
        .is_some_and(|(_, rest)| cuts_login(rest))
    {
        return Err(DatabaseUrlError::NotEncoded(mask(text)));
    }
    let url = Url::parse(url).map_err(|_| DatabaseUrlError::Malformed(mask(text)))?;
    // Only PostgreSQL's driver has the option.
    if url.path().trim_matches('/').is_empty() && !says(&url, &["dbname"]) {
        return Err(DatabaseUrlError::NoDatabase(mask(text)));
    }
    if url.fragment().is_some() {
        return Err(DatabaseUrlError::Option {
            url: mask(text),
            cause:
                "a # ends the URL, and no database has a use for what follows; in a name write %23"
                    .to_owned(),
        });
    }
    Ok(url)
}

fn check_options(
    query: Option<&str>,
    dialect: Dialect,
    text: &str,
) -> Result<(), DatabaseUrlError> {
    options::check(query.unwrap_or_default(), dialect).map_err(|cause| DatabaseUrlError::Option {
        url: mask(text),
        cause,
    })
}

/// Checks that the files in a URL can be read. The driver's error about an unreadable file looks
/// like its error about a server that is away.
fn check_files(url: &Url, text: &str) -> Result<(), DatabaseUrlError> {
    for (name, file) in url.query_pairs() {
        // The drivers also accept the text of a certificate.
        if options::TLS_FILES.contains(&&*name)
            && !file.trim_start().starts_with("-----BEGIN")
            && let Err(error) = std::fs::File::open(&*file)
        {
            return Err(DatabaseUrlError::Option {
                url: mask(text),
                cause: format!("{name}: {file}: {error}"),
            });
        }
    }
    Ok(())
}

/// Returns `true` if the URL has one of these options.
fn says(url: &Url, names: &[&str]) -> bool {
    url.query_pairs().any(|(name, _)| names.contains(&&*name))
}

/// Returns `true` if a connection to `host` cannot be overheard: loopback, a folder of sockets, or no
/// host at all, which means loopback.
fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.is_empty()
        || host == "localhost"
        || host.starts_with('/')
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_unless_local_or_set_otherwise() {
        let mode = |url| match Options::parse(url) {
            Ok(Options::MySql(options)) => format!("{:?}", options.get_ssl_mode()),
            other => format!("{other:?}"),
        };
        assert_eq!(mode("mysql://u:p@127.0.0.1/d"), "Preferred");
        assert_eq!(mode("mysql+pymysql://u:p@localhost/d"), "Preferred");
        assert_eq!(mode("mariadb://u:p@db.example/d"), "VerifyIdentity");
        assert_eq!(
            mode("mysql://u:p@db.example/d?ssl-mode=DISABLED"),
            "Disabled"
        );
        assert_eq!(
            mode("mysql://u:p@db.example/d?socket=/run/my.sock"),
            "Preferred"
        );
    }

    #[test]
    fn tls_of_postgresql_follows_the_host_that_the_driver_connects_to() {
        let mode = |url| match Options::parse(url) {
            Ok(Options::Postgres(options)) => format!("{:?}", options.get_ssl_mode()),
            other => format!("{other:?}"),
        };
        for local in [
            "postgres://u:p@127.0.0.1/d",
            "postgres://u:p@[::1]/d",
            "postgresql://u:p@localhost?dbname=d",
            "postgres://u:p@%2Frun%2Fpostgresql/d",
            "postgres://u:p@db.example/d?host=/run/postgresql",
            "postgres://u:p@db.example/d?host=localhost",
        ] {
            assert_eq!(mode(local), "Prefer", "{local}");
        }
        for remote in [
            "postgres://u:p@db.example/d",
            "postgres:///d?host=db.example&user=u",
            "postgres://u:p@localhost/d?host=db.example",
            "postgres://u:p@localhost/d?hostaddr=10.0.0.5",
        ] {
            assert_eq!(mode(remote), "VerifyFull", "{remote}");
        }
        assert_eq!(
            mode("postgres://u:p@localhost/d?host=db.example&sslmode=disable"),
            "Disable"
        );
    }

    #[test]
    fn wrong_urls_are_named_without_their_password() {
        for (url, part) in [
            ("oracle://u:secret@h/d", "oracle"),
            ("mysql://u:secret@h", "names no database"),
            ("mysql://u:secret@h/app#foo", "%23"),
            ("postgres://u:secret@h/app#", "%23"),
            ("mysql://u:secret@h/app?ssl-mode=disabled#foo", "%23"),
            ("nonsense", "not a url"),
            ("mysql://u:se#cret@h/d", "percent-encoded"),
            ("mysql://u:se?secret@h:3306/d", "percent-encoded"),
            ("postgres://u:1/secret@h/d", "percent-encoded"),
            ("mysql://u:1#secret@h/d", "percent-encoded"),
            ("mysql+pymysql://u:#secret@h/d", "percent-encoded"),
            ("u:secret@mysql://h/d", "is not supported"),
            (":secret@mysql://h/d", "not a url"),
            ("mysql://u:secret@h:99999999/d", "not a url"),
            ("mysql://u:secret@h/d?ssl-mode=MAYBE", "ssl"),
            (
                "mysql://u:secret@h/d?ssl-ca=/nowhere/ca.pem",
                "/nowhere/ca.pem",
            ),
            ("mysql://u:secret@h/d?sslkey=/nowhere/key", "sslkey"),
            (
                "mysql://u:secret@h/d?ssl_mod=disabled",
                "ssl_mod is not known",
            ),
            ("mariadb://u:secret@h/d?foo=secret", "foo is not known"),
            ("mysql://h/d?password=secret", "password is not known"),
            ("postgres://u:p@h/d?sslmod=secret", "sslmod is not known"),
            ("postgres://h/d?password=x&secret", "an option is not known"),
            ("sqlite:///x.db?journal=secret", "journal is not known"),
            ("sqlite::memory:?foo=secret", "foo is not known"),
            (
                "postgres://u:secret@h/d?sslrootcert=/nowhere/ca.pem",
                "no such file",
            ),
        ] {
            let text = Address::parse(url).unwrap_err().to_string();
            assert!(text.to_lowercase().contains(part), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
