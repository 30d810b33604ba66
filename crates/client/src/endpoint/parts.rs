//! What the endpoints of all servers have in common: checks of their parts, and how they are shown.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::error::ConfigError;
use crate::secret::{MASK, Secret};

/// Refuses control characters, which could end a line or a string in a later reader.
pub(crate) fn check(name: &'static str, value: &str) -> Result<(), ConfigError> {
    if value.chars().any(char::is_control) {
        return Err(ConfigError::Value {
            name,
            reason: "it contains a control character",
        });
    }
    Ok(())
}

/// Returns a host that is a name or an address, without brackets.
pub(crate) fn host_name(host: &str) -> Result<String, ConfigError> {
    check("host", host)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    // Hosts never contain these characters, and a URL could not contain them either.
    let odd = |c: char| c.is_whitespace() || "/@?#[]<>\\^|%".contains(c);
    if bare.is_empty() {
        return Err(ConfigError::Value {
            name: "host",
            reason: "it is empty",
        });
    }
    if bare.contains(odd) || (bare.contains(':') && bare.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(ConfigError::Value {
            name: "host",
            reason: "it is neither a name, an address, a path nor a URL",
        });
    }
    Ok(bare.to_owned())
}

/// Returns the user of a URL, decoded.
pub(crate) fn username(url: &Url) -> Result<Option<String>, ConfigError> {
    Ok(Some(decode("login", url.username())?).filter(|user| !user.is_empty()))
}

/// Returns the password of a URL, decoded.
pub(crate) fn password(url: &Url) -> Result<Option<Secret>, ConfigError> {
    let text = url
        .password()
        .map(|text| decode("password", text))
        .transpose()?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

/// Decodes a percent-encoded part of a URL. In errors, `name` names the part.
pub(crate) fn decode(name: &'static str, text: &str) -> Result<String, ConfigError> {
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| ConfigError::Value {
            name,
            reason: "it is not UTF-8",
        })?;
    check(name, &text)?;
    Ok(text.into_owned())
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Encodes a text as part of a URL.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Returns the login of a URL with its end, `@`, for display: `user:********@`.
pub(crate) fn masked_login(user: Option<&str>, has_password: bool) -> String {
    match (user, has_password) {
        (None, false) => String::new(),
        // A whole login (`user:password@…`) may have been given as the user by mistake.
        (Some(user), true) if user.contains(':') => format!("{MASK}:{MASK}@"),
        (user, true) => format!("{}:{MASK}@", encode(user.unwrap_or_default())),
        // A password may have been given as the user by mistake.
        (Some(_), false) => format!("{MASK}@"),
    }
}

/// Returns a name for a connection: a hash of the parts that distinguish servers.
pub(crate) fn identity(parts: &[&str]) -> String {
    // No part can contain NUL, so two endpoints never have the same text.
    let text = parts.join("\0");
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    // Half of the hash is enough: 128 bits exclude collisions, and every stored result contains the
    // name.
    hex(&digest.as_ref()[..16])
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}
