//! Sorts the errors that occur while a connection is made.
//!
//! Before the first statement, an error is not about a task, only about the settings: the user, the
//! login, the database, the protection of the link. An error that stays until the settings change
//! is [`Kind::Refused`], which ends the start of a worker. Every other error counts as an outage.
//! Later in the life of a worker, tasks wait in both cases.

use std::io;

use serde_json::Value;

use super::{DatabaseError, Dialect, Kind};

/// Sorts an error of connecting.
pub(super) fn at_connect(error: sqlx::Error, dialect: Dialect) -> DatabaseError {
    match &error {
        sqlx::Error::Database(_) => of_server(error.into(), dialect),
        sqlx::Error::Protocol(said) => of_protocol(said, dialect),
        sqlx::Error::Tls(cause) => DatabaseError::refused(of_tls(&cause.to_string(), dialect)),
        sqlx::Error::Io(cause) => match cause.kind() {
            // Errors of TLS about certificates and alerts are wrapped like this.
            io::ErrorKind::InvalidData => {
                DatabaseError::refused(of_tls(&cause.to_string(), dialect))
            }
            // A socket in the file system that this user may not open.
            io::ErrorKind::PermissionDenied => DatabaseError::refused(cause.to_string()),
            _ => error.into(),
        },
        _ => error.into(),
    }
}

/// Makes the error for a server whose first bytes the driver cannot read: another kind of server
/// listens there.
pub(super) fn not_understood(dialect: Dialect) -> DatabaseError {
    DatabaseError::refused(format!("the answer is not that of {}", server(dialect)))
}

fn server(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "a MySQL or MariaDB server",
        Dialect::Postgres => "a PostgreSQL server",
        Dialect::Sqlite => "SQLite",
    }
}

/// Sorts an error that the server itself has sent before the first statement of a task.
pub(super) fn of_server(error: DatabaseError, dialect: Dialect) -> DatabaseError {
    if !matches!(error.kind(), Kind::Schema | Kind::Statement) {
        return error;
    }
    let stays = match (dialect, error.code()) {
        // These are the codes of servers; proxies in front of them have others for servers that are
        // away.
        (Dialect::MySql, Some(Value::Number(number))) => number
            .as_u64()
            .is_some_and(|number| matches!(number, 1000..=1999 | 3000..=4999) && number != UNKNOWN),
        // Internal errors of the system or of a pooler.
        (Dialect::Postgres, Some(Value::String(state))) => {
            !matches!(state.get(..2), Some("58" | "XX"))
        }
        (_, Some(_)) => true,
        // An answer that cannot be decoded.
        (_, None) => false,
    };
    error.of_kind(if stays {
        Kind::Refused
    } else {
        Kind::Unavailable
    })
}

/// `ER_UNKNOWN_ERROR`, which has no meaning.
const UNKNOWN: u64 = 1105;

/// Sorts an error of the driver that cannot continue the login.
fn of_protocol(said: &str, dialect: Dialect) -> DatabaseError {
    // After its message, the driver names its own source, once for each layer.
    let said = said.find(" (sqlx_").map_or(said, |end| &said[..end]);
    // The driver gives these errors when the link is closed before any answer, as by a proxy in
    // front of a server that is away.
    if said == "unexpected response from SSLRequest: 0x00" || said == "Packet empty" {
        return DatabaseError::unavailable("the connection was closed");
    }
    let Some(method) = unsupported(said) else {
        let server = server(dialect);
        return DatabaseError::refused(format!("the answer is not that of {server}: {said}"));
    };
    DatabaseError::refused(match dialect {
        Dialect::MySql => format!(
            "the login plugin {method} of this user is not supported; use mysql_native_password, \
             caching_sha2_password or sha256_password"
        ),
        _ => format!(
            "the login method {method} of this user is not supported; use scram-sha-256, md5 or \
             password in pg_hba.conf"
        ),
    })
}

/// Returns the login that is not supported, by the name that administrators give it.
fn unsupported(said: &str) -> Option<String> {
    let after = |words: &str| said.split_once(words).map(|(_, name)| name.trim());
    if let Some(plugin) = after("unknown authentication plugin: ") {
        return Some(match plugin {
            "auth_gssapi_client" => "gssapi".to_owned(),
            "dialog" => "pam (dialog)".to_owned(),
            plugin => {
                let name = plugin.strip_prefix("client_").unwrap_or(plugin);
                name.strip_suffix("_client").unwrap_or(name).to_owned()
            }
        });
    }
    if said == "mysql_cleartext_plugin disabled" {
        return Some("mysql_clear_password (pam or LDAP)".to_owned());
    }
    if let Some(number) = after("unknown authentication method: ") {
        return Some(match number {
            "2" => "Kerberos V5".to_owned(),
            "7" | "8" => "gss (GSSAPI)".to_owned(),
            "9" => "sspi".to_owned(),
            other => format!("number {other}"),
        });
    }
    let method = after("unsupported SASL authentication mechanisms: ")
        .or_else(|| after("unsupported authentication method: "))?;
    Some(method.to_owned())
}

/// Returns why a protected link cannot be made, and what to write in the URL.
fn of_tls(cause: &str, dialect: Dialect) -> String {
    let (off, unverified) = match dialect {
        Dialect::Postgres => ("?sslmode=disable", "?sslmode=require"),
        _ => ("?ssl-mode=disabled", "?ssl-mode=required"),
    };
    if cause.contains("does not support TLS") {
        return format!(
            "the server does not offer TLS, which a database on another host must, unless the URL \
             says {off}"
        );
    }
    if cause.contains("certificate") {
        return format!(
            "TLS: {cause}; in the URL, ?ssl-ca=FILE names an authority to trust, {unverified} takes \
             any certificate, {off} uses no TLS"
        );
    }
    format!("TLS: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(said: &str, dialect: Dialect) -> (Kind, String) {
        let error = at_connect(sqlx::Error::Protocol(said.to_owned()), dialect);
        (error.kind(), error.to_string())
    }

    #[test]
    fn a_login_that_is_not_supported_is_named() {
        for (plugin, name) in [
            ("client_ed25519", "plugin ed25519 of"),
            ("auth_gssapi_client", "plugin gssapi of"),
            ("parsec", "plugin parsec of"),
            ("dialog", "plugin pam (dialog) of"),
            (
                "authentication_ldap_sasl_client",
                "plugin authentication_ldap_sasl of",
            ),
            (
                "authentication_webauthn_client",
                "plugin authentication_webauthn of",
            ),
        ] {
            let said =
                format!("unknown authentication plugin: {plugin} (sqlx_mysql::protocol::auth:36)");
            let (kind, text) = protocol(&said, Dialect::MySql);
            assert_eq!(kind, Kind::Refused, "{text}");
            assert!(
                text.contains(name) && text.contains("not supported"),
                "{text}"
            );
            assert!(!text.contains("sqlx"), "{text}");
        }
        for (said, name) in [
            ("unknown authentication method: 7", "method gss (GSSAPI) of"),
            ("unknown authentication method: 9", "method sspi of"),
            ("unknown authentication method: 99", "method number 99 of"),
            (
                "unsupported SASL authentication mechanisms: OAUTHBEARER",
                "method OAUTHBEARER of",
            ),
        ] {
            let said = format!(
                "Postgres protocol error (reading Authentication): {said} \
                 (sqlx_postgres::message::authentication:84) (sqlx_postgres::message:139)"
            );
            let (kind, text) = protocol(&said, Dialect::Postgres);
            assert_eq!(kind, Kind::Refused, "{text}");
            assert!(!text.contains("sqlx"), "{text}");
            assert!(
                text.contains(name) && text.contains("not supported"),
                "{text}"
            );
        }
        let (kind, text) = protocol("mysql_cleartext_plugin disabled", Dialect::MySql);
        assert!(
            kind == Kind::Refused && text.contains("mysql_clear_password"),
            "{text}"
        );
    }

    #[test]
    fn another_kind_of_server_is_a_mistake_and_a_closed_link_is_not() {
        for (said, kind) in [
            (
                "unexpected response from SSLRequest: 0x4a (sqlx_postgres::connection::tls:88)",
                Kind::Refused,
            ),
            (
                "unexpected packet 0x02 during authentication",
                Kind::Refused,
            ),
            (
                "unexpected response from SSLRequest: 0x00 (sqlx_postgres::connection::tls:88)",
                Kind::Unavailable,
            ),
            ("Packet empty", Kind::Unavailable),
        ] {
            assert_eq!(protocol(said, Dialect::Postgres).0, kind, "{said}");
        }
    }

    #[test]
    fn tls_errors_name_the_options_of_the_url() {
        for (dialect, off) in [
            (Dialect::MySql, "?ssl-mode=disabled"),
            (Dialect::Postgres, "?sslmode=disable"),
        ] {
            let without = at_connect(
                sqlx::Error::Tls("server does not support TLS".into()),
                dialect,
            );
            assert_eq!(without.kind(), Kind::Refused);
            assert!(without.to_string().contains(off), "{without}");
            let unknown = io::Error::new(
                io::ErrorKind::InvalidData,
                "invalid peer certificate: UnknownIssuer",
            );
            let unknown = at_connect(sqlx::Error::Io(unknown), dialect);
            assert_eq!(unknown.kind(), Kind::Refused);
            assert!(unknown.to_string().contains("?ssl-ca=FILE"), "{unknown}");
        }
    }

    #[test]
    fn a_link_that_cannot_be_made_now_is_an_outage() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NotFound,
            io::ErrorKind::UnexpectedEof,
        ] {
            let error = at_connect(sqlx::Error::Io(kind.into()), Dialect::MySql);
            assert_eq!(error.kind(), Kind::Unavailable, "{kind}");
        }
        let denied = at_connect(
            sqlx::Error::Io(io::ErrorKind::PermissionDenied.into()),
            Dialect::MySql,
        );
        assert_eq!(denied.kind(), Kind::Refused);
    }
}
