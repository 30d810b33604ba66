//! Shows text that may hold a URL without its password.
//!
//! Every setting that may hold a URL is displayed through this module, in the worker and in the
//! extension. It splits the text by hand for two reasons. A text that no parser accepts must be
//! masked as well, and a password that was not percent-encoded misleads every parser.

use std::borrow::Cow;

/// The text shown in place of a hidden part, as in Celery's own output.
const HIDDEN: &str = "**";
/// Query parameters that hold no secret and help to understand a connection.
const SHOWN: [&str; 12] = [
    "charset",
    "collation",
    "db",
    "heartbeat",
    "master_name",
    "priority_steps",
    "socket",
    "ssl-mode",
    "ssl_cert_reqs",
    "sslmode",
    "timezone",
    "virtual_host",
];

/// Returns a URL, or a text that should be one, without the parts that may be a password.
///
/// It hides these parts:
///
/// * everything from the first colon after `//` to the last `@`;
/// * a user without a password, which may be a token;
/// * every query parameter from the first that is not known to be harmless;
/// * the text after an `@` in a query.
///
/// ```
/// use celery_client::mask::mask;
/// assert_eq!(mask("mysql://app:p#a/s@s@db:3306/shop"), "mysql://app:**@db:3306/shop");
/// assert_eq!(mask("postgres://db/shop?sslmode=require&password=x"), "postgres://db/shop?sslmode=require&**");
/// assert_eq!(mask("no URL"), "**");
/// ```
pub fn mask(text: &str) -> String {
    let text = text.trim();
    match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => match rest.rsplit_once('@') {
            // The `@` may belong to a value in the query. Then the text after the `@` is part of
            // the value, and may be secret, too.
            Some((login, _)) if has_value(login) => format!("{scheme}://{}", user(login)),
            Some((login, place)) => format!("{scheme}://{}@{}", user(login), shown(place)),
            None => format!("{scheme}://{}", shown(rest)),
        },
        _ => match text.split_once(':') {
            Some((scheme, place)) if scheme.eq_ignore_ascii_case("sqlite") => {
                format!("{scheme}:{}", without_query(place))
            }
            Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}:{HIDDEN}"),
            _ => HIDDEN.to_owned(),
        },
    }
}

/// Returns a text that should not be a URL, masked if it may be one with a login.
///
/// ```
/// use celery_client::mask::mask_misplaced;
/// assert_eq!(mask_misplaced("/etc/ssl/ca.pem"), "/etc/ssl/ca.pem");
/// assert_eq!(mask_misplaced("redis://:secret@h"), "redis://:**@h");
/// ```
pub fn mask_misplaced(text: &str) -> Cow<'_, str> {
    if text.contains('@') || text.contains("://") {
        mask(text).into()
    } else {
        text.into()
    }
}

/// Returns `true` if this may be a URL with a login or a query, either of which may hold a
/// password.
pub fn is_secret_url(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.contains(['@', '?']))
}

/// Returns `true` if this may be the scheme of a URL, which may be displayed.
pub fn is_scheme(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Returns `true` if the text after `//` has an `@` after its first `/`, `?` or `#`.
///
/// A URL parser then cuts the login short: the password was not percent-encoded.
pub fn cuts_login(behind_scheme: &str) -> bool {
    let end = behind_scheme.find(['/', '?', '#']);
    end.is_some_and(|end| behind_scheme[end..].contains('@'))
}

/// Returns the user of a login with a password, and masks the password.
fn user(login: &str) -> String {
    match login.split_once(':') {
        // With any of these characters, the text belongs to a path or a query.
        Some((user, _)) if !user.contains(['/', '?', '#', '&', ';', '=']) => {
            format!("{user}:{HIDDEN}")
        }
        _ => HIDDEN.to_owned(),
    }
}

/// Returns `true` if the text seems to have a query with a value.
fn has_value(login: &str) -> bool {
    login
        .split_once('?')
        .is_some_and(|(_, query)| query.contains('='))
}

/// Returns host, port and path, and the harmless part of the query.
fn shown(place: &str) -> String {
    let end = place.find(['/', '?', '#', '&', ';']).unwrap_or(place.len());
    let (authority, rest) = place.split_at(end);
    match authority.rsplit_once(':') {
        Some((host, port)) if !is_port(port) && !authority.ends_with(']') => {
            format!("{host}:{HIDDEN}")
        }
        _ => format!("{authority}{}", without_query(rest)),
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_query(text: &str) -> String {
    let Some(end) = text.find(['?', '#', '&', ';']) else {
        return text.to_owned();
    };
    let (path, query) = text.split_at(end);
    let Some(pairs) = query.strip_prefix('?') else {
        return format!("{path}{}{HIDDEN}", &query[..1]);
    };
    let harmless = |pair: &&str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,/+".contains(c);
            SHOWN.contains(&name) && value.chars().all(plain)
        })
    };
    let all: Vec<&str> = pairs.split('&').collect();
    let mut kept: Vec<&str> = all.iter().copied().take_while(harmless).collect();
    if kept.len() < all.len() {
        kept.push(HIDDEN);
    }
    format!("{path}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_whatever_they_contain() {
        for (text, masked) in [
            ("mysql://u:p@h/d", "mysql://u:**@h/d"),
            ("mysql://u:p#x@h:3306/d", "mysql://u:**@h:3306/d"),
            ("mysql://u:p?x@h/d", "mysql://u:**@h/d"),
            ("mysql://u:p@ss/w@h/d", "mysql://u:**@h/d"),
            ("mysql+pymysql://u:#p@h/d", "mysql+pymysql://u:**@h/d"),
            ("redis://:p@h/0;redis://:q@i/0", "redis://:**@i/0"),
            ("redis://h/0;redis://:q@i/0", "redis://**@i/0"),
            ("redis://token@h", "redis://**@h"),
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://[::1]:7/1", "redis://[::1]:7/1"),
            ("redis://[::1]/1", "redis://[::1]/1"),
            ("redis://h:secret/0", "redis://h:**"),
            ("redis://:secret", "redis://:**"),
            ("redis:u:secret@h", "redis:**"),
            ("redis:/u:secret@h", "redis:**"),
            ("//u:secret@h", "**"),
            ("u:secret@h", "u:**"),
            ("secret@redis://h", "**"),
            ("\"redis://:secret@h\"", "**"),
            ("secret", "**"),
            ("", "**"),
            ("sqlite:///tmp/x.db", "sqlite:///tmp/x.db"),
            ("sqlite:x.db?mode=rwc", "sqlite:x.db?**"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn only_harmless_parameters_of_a_query_are_shown() {
        for (text, masked) in [
            (
                "mysql://h/d?ssl-mode=DISABLED",
                "mysql://h/d?ssl-mode=DISABLED",
            ),
            ("postgres://h/d?user=u&password=p", "postgres://h/d?**"),
            (
                "postgres://h/d?sslmode=x&password=p&q",
                "postgres://h/d?sslmode=x&**",
            ),
            ("postgres://h/d?user=a:b@c&password=d", "postgres://**"),
            ("postgres://h/d?password=p@q&password=r", "postgres://**"),
            ("redis://u:p@h/0?a=b:c@d", "redis://u:**"),
            ("redis://h:1/0?ssl_keyfile=a:b@c", "redis://h:**"),
            ("redis://h?password=a@b@c", "redis://**"),
            ("mysql://u:p@h/d?ssl-mode=a#b", "mysql://u:**@h/d?**"),
            ("mysql://u:p@h/d#secret", "mysql://u:**@h/d#**"),
            ("redis://h?db=1;secret", "redis://h?**"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn a_login_that_a_parser_would_cut_is_found() {
        for cut in [
            "u:p/q@h",
            "u:p?q@h",
            "u:p#q@h",
            ":#@h",
            "u:p@h/x@y",
            "h/0?a=b@c",
        ] {
            assert!(cuts_login(cut), "{cut}");
        }
        for whole in ["h", "u:p@h/0", "u:p@q@h", "u:p%2Fq@h/0?x=y", ""] {
            assert!(!cuts_login(whole), "{whole}");
        }
    }
}
