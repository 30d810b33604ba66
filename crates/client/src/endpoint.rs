//! Where a Redis is, and how to enter it: address, TLS, credentials, database, key prefix.
//!
//! An [`Endpoint`] is a checked value: no part of it contains a control character, its database is a number, and
//! options that contradict one another were refused. It opens nothing; drivers do. Its password is masked in every
//! rendering, and its [`identity`](Endpoint::identity) is a hash of what tells servers apart, never of a password,
//! so that a stored result can name its connection without being able to lead anybody to it.

mod builder;
mod url;

use std::fmt;
use std::path::{Path, PathBuf};

use celery_protocol::keys::Keys;
use celery_protocol::priorities::{PrioritySteps, Separator};

use crate::error::ConfigError;
#[cfg(feature = "blocking")]
use crate::error::{ClientError, ServerError};
#[cfg(feature = "blocking")]
use crate::redis::mode::CLUSTER;
use crate::secret::{MASK, Secret};

pub use builder::EndpointBuilder;

/// Redis' port where none is given.
pub const DEFAULT_PORT: u16 = 6379;

/// The place a connection goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address, and a port.
    Tcp {
        /// A host name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// How to speak TLS. The fields are those of PHP's `ssl` stream context, under Rust names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// PEM file of the authorities to trust (`cafile`, `ssl_ca_certs`); without it and `ca_path`, the system's.
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files of authorities to trust (`capath`).
    pub ca_path: Option<PathBuf>,
    /// PEM file of the client's certificate chain (`local_cert`, `ssl_certfile`), possibly with its key.
    pub local_cert: Option<PathBuf>,
    /// PEM file of the client's private key (`local_pk`, `ssl_keyfile`).
    pub local_pk: Option<PathBuf>,
    /// Passphrase of the private key (`passphrase`), where it is encrypted.
    pub passphrase: Option<Secret>,
    /// Whether the server's certificate is checked at all (`verify_peer`, `ssl_cert_reqs`). On by default.
    pub verify_peer: bool,
    /// Whether the certificate must be for the host (`verify_peer_name`). On by default.
    pub verify_peer_name: bool,
    /// The name expected in the certificate, where it differs from the host (`peer_name`).
    pub peer_name: Option<String>,
    /// Whether a self-signed certificate is accepted (`allow_self_signed`). Off by default.
    pub allow_self_signed: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            ca_path: None,
            local_cert: None,
            local_pk: None,
            passphrase: None,
            verify_peer: true,
            verify_peer_name: true,
            peer_name: None,
            allow_self_signed: false,
        }
    }
}

/// A Redis server and the way into one of its databases.
///
/// ```
/// use celery_client::endpoint::Endpoint;
///
/// let endpoint = Endpoint::from_url("redis://worker:secret@cache.local/3")?;
/// assert_eq!(endpoint.display_url(), "redis://worker:********@cache.local:6379/3");
/// # Ok::<(), celery_client::error::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    tls: Option<TlsOptions>,
    username: Option<String>,
    password: Option<Secret>,
    database: u32,
    key_prefix: String,
    /// kombu's `priority_steps`, if they were given.
    priority_steps: Option<PrioritySteps>,
    /// kombu's `sep`, if it was given.
    separator: Option<Separator>,
}

impl Endpoint {
    /// Starts from separate options, as `new Celery($host, $login, …)` has them.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    /// The place to connect to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// TLS, if it is spoken.
    pub fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// The user of Redis' ACL; `None` with a password means the password alone (the user `default`).
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The number of the database.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// What every key of the broker begins with (kombu's `global_keyprefix`); often empty.
    pub fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    /// The same endpoint with other keys.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets kombu's `priority_steps`.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] if the URL names others.
    pub fn with_priority_steps(mut self, steps: PrioritySteps) -> Result<Self, ConfigError> {
        match self.priority_steps.replace(steps) {
            Some(of_url) if self.priority_steps.as_ref() != Some(&of_url) => {
                Err(ConfigError::Contradiction {
                    what: "priority_steps beside a URL with others",
                })
            }
            _ => Ok(self),
        }
    }

    /// Sets kombu's `sep`.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] if the URL names another.
    pub fn with_separator(mut self, separator: Separator) -> Result<Self, ConfigError> {
        match self.separator.replace(separator) {
            Some(of_url) if self.separator.as_ref() != Some(&of_url) => {
                Err(ConfigError::Contradiction {
                    what: "a sep beside a URL with another one",
                })
            }
            _ => Ok(self),
        }
    }

    /// Sets kombu's `priority_steps` and `sep` where they were not given.
    #[must_use]
    pub fn with_default_priorities(
        mut self,
        steps: Option<PrioritySteps>,
        separator: Option<Separator>,
    ) -> Self {
        self.priority_steps = self.priority_steps.or(steps);
        self.separator = self.separator.or(separator);
        self
    }

    /// Returns kombu's `priority_steps`, if they were given.
    pub fn priority_steps(&self) -> Option<&PrioritySteps> {
        self.priority_steps.as_ref()
    }

    /// Returns kombu's `sep`, if it was given.
    pub fn separator(&self) -> Option<&Separator> {
        self.separator.as_ref()
    }

    /// Returns the names of all keys, if results lie in the same place.
    pub fn keys(&self) -> Keys {
        self.keys_with_results(&self.key_prefix)
    }

    /// Returns the names of all keys, if the keys of results have a prefix of their own.
    pub fn keys_with_results(&self, prefix: &str) -> Keys {
        Keys::with_prefixes(&self.key_prefix, prefix).with_priorities(
            self.priority_steps.clone().unwrap_or_default(),
            self.separator.clone().unwrap_or_default(),
        )
    }

    /// The same endpoint with an authority to trust, where TLS is spoken and none was named.
    #[must_use]
    pub fn with_default_ca_file(mut self, file: &Path) -> Self {
        if let Some(tls) = &mut self.tls
            && tls.ca_file.is_none()
            && tls.ca_path.is_none()
        {
            tls.ca_file = Some(file.to_owned());
        }
        self
    }

    /// A name for this connection: a hash of scheme, host, port, database and user, equal in every process and
    /// for every password.
    pub fn identity(&self) -> String {
        let (host, port) = match &self.address {
            Address::Tcp { host, port } => (host.to_ascii_lowercase(), port.to_string()),
            Address::Unix(path) => (path.display().to_string(), String::new()),
        };
        let database = self.database.to_string();
        let user = self.username.as_deref().unwrap_or_default();
        // No part can contain NUL, so that no two endpoints have the same text.
        let text = [self.scheme(), &host, &port, &database, user].join("\0");
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        // Half of it: 128 bits are beyond collision, and the name is written into every stored result.
        hex(&digest.as_ref()[..16])
    }

    /// The URL with the password masked: for messages and logs.
    pub fn display_url(&self) -> String {
        let credentials = match (&self.username, &self.password) {
            (None, None) => String::new(),
            (user, password) => {
                let user = user.as_deref().unwrap_or_default();
                match password {
                    // A whole login may stand in the place of the user.
                    Some(_) if user.contains(':') => format!("{MASK}:{MASK}@"),
                    Some(_) => format!("{}:{MASK}@", url::encode(user)),
                    // It may be a password in the wrong place.
                    None => format!("{MASK}@"),
                }
            }
        };
        let scheme = self.scheme();
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => {
                format!("{scheme}://{credentials}[{host}]:{port}/{}", self.database)
            }
            Address::Tcp { host, port } => {
                format!("{scheme}://{credentials}{host}:{port}/{}", self.database)
            }
            Address::Unix(path) => {
                format!(
                    "{scheme}://{credentials}{}?virtual_host={}",
                    path.display(),
                    self.database
                )
            }
        }
    }

    /// What this server answered, as an error; where credentials were wanted or refused, it says by whom.
    #[cfg(feature = "blocking")]
    pub(crate) fn refused(&self, answer: ServerError) -> ClientError {
        if answer.is_cluster() {
            return self.unsupported(CLUSTER);
        }
        if answer.is_auth() {
            ClientError::Auth {
                endpoint: self.display_url(),
                answer,
            }
        } else {
            ClientError::Server(answer)
        }
    }

    /// Returns the error for a server of a kind that cannot be used.
    #[cfg(feature = "blocking")]
    pub(crate) fn unsupported(&self, kind: &'static str) -> ClientError {
        ClientError::Unsupported {
            endpoint: self.display_url(),
            kind,
        }
    }

    fn scheme(&self) -> &'static str {
        match (&self.address, &self.tls) {
            (Address::Unix(_), _) => "redis+socket",
            (_, Some(_)) => "rediss",
            (_, None) => "redis",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.display_url())
            .field("tls", &self.tls)
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}
