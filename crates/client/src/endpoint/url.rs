//! The parts of a URL that decide which server it is for.

use crate::error::ConfigError;
use crate::mask::is_scheme;

use super::parts::check;

/// Result backends of Celery that may be named without a URL (`BACKEND_ALIASES` in
/// `celery/app/backends.py`, and those of django-celery-results).
const OTHER_BACKENDS: [&str; 22] = [
    "arangodb",
    "azureblockblob",
    "cache",
    "cassandra",
    "consul",
    "cosmosdbsql",
    "couchbase",
    "couchdb",
    "database",
    "db",
    "django-cache",
    "django-db",
    "dynamodb",
    "elasticsearch",
    "file",
    "filesystem",
    "gs",
    "mongodb",
    "riak",
    "rpc",
    "s3",
    "sentinel",
];

/// A URL as text, divided at `://`.
pub(crate) struct UrlText<'t> {
    text: &'t str,
    /// The scheme as it was written.
    written: &'t str,
    /// The scheme in lower case.
    scheme: String,
    /// The text after `://`.
    rest: &'t str,
}

impl<'t> UrlText<'t> {
    /// Divides a text that should be a URL.
    ///
    /// # Errors
    /// [`ConfigError`] if the text is not a URL.
    pub(crate) fn split(text: &'t str) -> Result<Self, ConfigError> {
        // The URL of a file often ends in a line break.
        let text = text.trim();
        // The URL parser would silently drop line breaks inside.
        check("URL", text)?;
        if text.starts_with(['"', '\'']) {
            return Err(ConfigError::Quoted);
        }
        let (written, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            None if OTHER_BACKENDS.contains(&text) => (text, ""),
            _ => return Err(ConfigError::NotAUrl),
        };
        Ok(Self {
            text,
            written,
            scheme: written.to_ascii_lowercase(),
            rest,
        })
    }

    /// Returns the scheme in lower case.
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the whole text, without white space around it.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the text after `://`.
    pub(crate) fn rest(&self) -> &'t str {
        self.rest
    }

    /// Returns the error for a scheme that no server has.
    pub(crate) fn unknown_scheme(&self) -> ConfigError {
        ConfigError::Scheme {
            scheme: self.written.to_owned(),
        }
    }

    /// Returns `true` for several servers: URLs or hosts with `;` or `,` between them.
    pub(crate) fn is_list(&self) -> bool {
        let rest = self.rest;
        let parts = rest.split([';', ',']).skip(1);
        if parts.into_iter().any(|part| part.trim().contains("://")) {
            return true;
        }
        let place = rest.rsplit('@').next().unwrap_or(rest);
        let end = place.find(['?', '#']).unwrap_or(place.len());
        !place.starts_with('/') && place[..end].contains([';', ','])
    }
}
