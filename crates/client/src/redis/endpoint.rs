//! The endpoint of a Redis as a checked value. The module `url` reads it from a URL; `sentinel` and
//! `clustered` have what only a URL of Sentinels or of a cluster has.

mod clustered;
mod list;
mod sentinel;
pub(crate) mod url;

use std::fmt;
use std::path::Path;

use celery_protocol::priorities::{PrioritySteps, Separator};
use celery_protocol::redis_keys::Keys;

#[cfg(feature = "blocking")]
use crate::blocking::stream::Server;
use crate::endpoint::address::Address;
use crate::endpoint::parts::{encode, identity, masked_login};
use crate::endpoint::tls_options::TlsOptions;
use crate::error::ConfigError;
#[cfg(feature = "blocking")]
use crate::error::{ClientError, ServerError};
use crate::redis::cluster::{self, Cluster};
#[cfg(feature = "blocking")]
use crate::redis::mode::CLUSTER;
use crate::redis::sentinel::Sentinels;
use crate::secret::Secret;

/// The port of Redis if none is given.
pub const DEFAULT_PORT: u16 = 6379;

/// Where a Redis is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this address.
    Fixed(Address),
    /// Where Sentinels say.
    Watched(Box<Sentinels>),
    /// On the node of a cluster that owns the slot of the keys.
    Slot(Box<Cluster>),
}

/// The address of a Redis, the login to one of its databases, and the form of its keys.
///
/// ```
/// use celery_client::redis::RedisEndpoint;
///
/// let endpoint = RedisEndpoint::from_url("redis://worker:secret@cache.local/3")?;
/// assert_eq!(endpoint.display_url(), "redis://worker:********@cache.local:6379/3");
/// # Ok::<(), celery_client::error::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisEndpoint {
    pub(crate) place: Place,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: u32,
    pub(crate) key_prefix: String,
    /// The `priority_steps` of kombu, if given.
    pub(crate) priority_steps: Option<PrioritySteps>,
    /// The `sep` of kombu, if given.
    pub(crate) separator: Option<Separator>,
}

impl RedisEndpoint {
    /// Returns the address to connect to: that of the server, of its first Sentinel, or of the first
    /// node of its cluster.
    pub fn address(&self) -> &Address {
        match &self.place {
            Place::Fixed(address) => address,
            Place::Watched(sentinels) => &sentinels.nodes[0],
            Place::Slot(cluster) => &cluster.nodes()[0],
        }
    }

    /// Returns the endpoint of the server at this address, which Sentinels or a cluster have named.
    #[cfg_attr(
        not(any(feature = "blocking", feature = "aio")),
        allow(dead_code, reason = "only the drivers ask where a server is")
    )]
    pub(crate) fn at(&self, address: Address) -> Self {
        Self {
            place: Place::Fixed(address),
            ..self.clone()
        }
    }

    /// Returns the TLS options if the connection uses TLS.
    pub fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// Returns the user of Redis' ACL. `None` with a password means the password alone (the user
    /// `default`).
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Returns the password.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Returns the number of the database.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// Returns the prefix of every key of the broker (kombu's `global_keyprefix`), which is often
    /// empty.
    pub fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    /// Sets the prefix of the keys, whatever the URL says.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets kombu's `priority_steps`.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] if the URL has other steps.
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
    /// [`ConfigError::Contradiction`] if the URL has another one.
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

    /// Sets kombu's `priority_steps` and `sep` unless they were given.
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

    /// Returns the names of all keys, for results with the prefix of the broker.
    pub fn keys(&self) -> Keys {
        self.keys_with_results(&self.key_prefix)
    }

    /// Returns the names of all keys, for results with a prefix of their own.
    pub fn keys_with_results(&self, prefix: &str) -> Keys {
        Keys::with_prefixes(&self.key_prefix, prefix).with_priorities(
            self.priority_steps.clone().unwrap_or_default(),
            self.separator.clone().unwrap_or_default(),
        )
    }

    /// Sets the authority to trust if the endpoint uses TLS and names none.
    #[must_use]
    pub fn with_default_ca_file(mut self, file: &Path) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.set_default_ca_file(file);
        }
        self
    }

    /// Returns a name for this connection: a hash of scheme, host, port, database and user. It is
    /// equal in every process and for every password.
    pub fn identity(&self) -> String {
        let (host, port) = match &self.place {
            Place::Fixed(Address::Tcp { host, port }) => {
                (host.to_ascii_lowercase(), port.to_string())
            }
            Place::Fixed(Address::Unix(path)) => (path.display().to_string(), String::new()),
            // Any order of the Sentinels leads to the same server.
            Place::Watched(sentinels) => (
                sentinels.list_sorted(),
                sentinels.master.clone().unwrap_or_default(),
            ),
            Place::Slot(cluster) => (
                cluster.list_sorted(),
                self.slot()
                    .map_or_else(|_| String::new(), |slot| slot.to_string()),
            ),
        };
        let database = self.database.to_string();
        let user = self.username.as_deref().unwrap_or_default();
        identity(&[self.scheme(), &host, &port, &database, user])
    }

    /// Returns the URL with a masked password, for messages and logs.
    pub fn display_url(&self) -> String {
        let credentials = masked_login(self.username(), self.password.is_some());
        let scheme = self.scheme();
        let database = self.database;
        match &self.place {
            Place::Fixed(address @ Address::Tcp { .. }) => {
                format!("{scheme}://{credentials}{address}/{database}")
            }
            Place::Fixed(Address::Unix(path)) => {
                let path = path.display();
                format!("{scheme}://{credentials}{path}?virtual_host={database}")
            }
            Place::Watched(sentinels) => {
                let servers = self.list_with_schemes(&sentinels.nodes);
                let name = sentinels.master.as_deref().map(encode);
                let name = name.map(|name| format!("?master_name={name}"));
                let name = name.unwrap_or_default();
                format!("{scheme}://{credentials}{servers}/{database}{name}")
            }
            Place::Slot(cluster) => {
                let servers = self.list_with_schemes(cluster.nodes());
                let prefix = cluster::prefix_parameter(&self.key_prefix);
                format!("{scheme}://{credentials}{servers}/{database}{prefix}")
            }
        }
    }

    /// Returns the addresses of a list, each but the first with the scheme.
    fn list_with_schemes(&self, nodes: &[Address]) -> String {
        let nodes = nodes.iter().map(Address::to_string).collect::<Vec<_>>();
        nodes.join(&format!(";{}://", self.scheme()))
    }

    /// Returns the error for a refusal by this server. If it concerns credentials, the error names
    /// the endpoint.
    #[cfg(feature = "blocking")]
    pub(crate) fn refused(&self, answer: ServerError) -> ClientError {
        if answer.is_cluster() && !matches!(self.place, Place::Slot(_)) {
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
        match (&self.place, &self.tls) {
            (Place::Watched(_), _) => "sentinel",
            (Place::Slot(_), Some(_)) => cluster::TLS_SCHEME,
            (Place::Slot(_), None) => cluster::SCHEME,
            (Place::Fixed(Address::Unix(_)), _) => "redis+socket",
            (_, Some(_)) => "rediss",
            (_, None) => "redis",
        }
    }
}

#[cfg(feature = "blocking")]
impl Server for RedisEndpoint {
    fn place(&self) -> String {
        match &self.place {
            Place::Fixed(address) => address.to_string(),
            Place::Watched(sentinels) => sentinels.to_string(),
            // Each slot may be on another node.
            Place::Slot(cluster) => match self.slot() {
                Ok(slot) => format!("slot {slot} of {cluster}"),
                Err(_) => cluster.to_string(),
            },
        }
    }

    fn address(&self) -> &Address {
        self.address()
    }

    fn tls(&self) -> Option<&TlsOptions> {
        self.tls()
    }

    fn display_url(&self) -> String {
        self.display_url()
    }
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url())
    }
}

impl fmt::Debug for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEndpoint")
            .field("url", &self.display_url())
            .field("tls", &self.tls)
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}

/// Returns the database that a virtual host names.
pub(crate) fn database(vhost: &str) -> Result<u32, ConfigError> {
    let digits = vhost.strip_prefix('/').unwrap_or(vhost);
    if digits.is_empty() {
        return Ok(0);
    }
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    number.ok_or(ConfigError::Value {
        name: "virtual host",
        reason: "Redis' databases are numbers: '', '/', '3' or '/3'",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        for (vhost, number) in [("", 0), ("/", 0), ("0", 0), ("/3", 3), ("3", 3), ("15", 15)] {
            assert_eq!(database(vhost), Ok(number), "{vhost}");
        }
        for vhost in ["x", "-1", "+1", "//3", "3/", "3 ", "99999999999"] {
            assert!(database(vhost).is_err(), "{vhost}");
        }
    }
}
