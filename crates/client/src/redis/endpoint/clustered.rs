//! What only a URL of a Redis Cluster has, and the prefix of its keys:
//! `redis+cluster://[user:password@]a:7000;redis+cluster://b:7000?prefix={celery}:`.
//!
//! Python's kombu has no such URL. The nodes are those to ask first; the cluster names the others.
//! `rediss+cluster://` uses TLS to each of them.

use super::list::Kind;
use super::{DEFAULT_PORT, Place, RedisEndpoint};
use crate::endpoint::parts::check;
use crate::error::ConfigError;
use crate::redis::cluster::{Cluster, SCHEME, TLS_SCHEME, slot};

/// The list of the nodes of a cluster.
pub(super) const NODES: Kind = Kind {
    scheme: SCHEME,
    default_port: DEFAULT_PORT,
    name: "list of nodes",
    no_scheme: "each of them needs its scheme, as in redis+cluster://a:7000;redis+cluster://b:7000",
    logins: "two nodes of a cluster with different logins",
    databases: "two nodes of a cluster with different databases",
};

/// The list of the nodes of a cluster with TLS.
pub(super) const TLS_NODES: Kind = Kind {
    scheme: TLS_SCHEME,
    no_scheme: "each of them needs its scheme, as in rediss+cluster://a:7000;rediss+cluster://b:7000",
    ..NODES
};

/// The names of two prefixes that differ.
pub(super) const PREFIXES: &str = "two prefixes in one URL of a cluster";

/// Refuses a database that no cluster has.
pub(super) fn check_database(database: Option<u32>) -> Result<(), ConfigError> {
    match database {
        None | Some(0) => Ok(()),
        Some(_) => Err(ConfigError::Value {
            name: "database",
            reason: "a Redis Cluster has database 0 only",
        }),
    }
}

impl RedisEndpoint {
    /// Returns the cluster whose node has the keys, if they are in one.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.place {
            Place::Slot(cluster) => Some(cluster),
            Place::Fixed(_) | Place::Watched(_) => None,
        }
    }

    /// Sets the prefix of the keys: the one that is `given` beside the URL, else that of the URL, else
    /// `default`.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] if the URL has another one than is given.
    /// [`ConfigError::NoHashTag`] if the keys are in a cluster, and not all in one slot.
    /// [`ConfigError::Value`] if the prefix cannot be used.
    pub fn complete_key_prefix(
        mut self,
        given: Option<&str>,
        default: &str,
    ) -> Result<Self, ConfigError> {
        let of_url = !self.key_prefix.is_empty();
        match given {
            Some(given) if of_url && given != self.key_prefix => {
                return Err(ConfigError::Contradiction {
                    what: "a key prefix beside a URL with another one",
                });
            }
            None if of_url => {}
            _ => given.unwrap_or(default).clone_into(&mut self.key_prefix),
        }
        check("key prefix", &self.key_prefix)?;
        if self.cluster().is_some() {
            self.slot()?;
        }
        Ok(self)
    }

    /// Returns the slot of the keys in a cluster.
    ///
    /// # Errors
    /// [`ConfigError::NoHashTag`] if they are not all in one.
    pub(crate) fn slot(&self) -> Result<u16, ConfigError> {
        slot(&self.key_prefix).ok_or(ConfigError::NoHashTag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Address;

    fn read(url: &str) -> RedisEndpoint {
        RedisEndpoint::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn the_parts_may_be_with_any_node() {
        let shown = "redis+cluster://u:********@a:7000;redis+cluster://b:6379;\
                     redis+cluster://[::1]:3/0?prefix=my%20{shop}:";
        for url in [
            "redis+cluster://u:p@a:7000/0;redis+cluster://b;redis+cluster://[::1]:3?prefix=my+{shop}:",
            "redis+cluster://a:7000;REDIS+CLUSTER://u:p@b;redis+cluster://[::1]:3/?prefix=my%20%7Bshop%7D%3A",
            "redis+cluster://u:p@a:7000?prefix=my+{shop}:;redis+cluster://b?prefix=;redis+cluster://[::1]:3?prefix=my+{shop}:",
            "Redis+Cluster://u:p@a:7000?prefix=my+{shop}:; redis+cluster://u:p@b; redis+cluster://[::1]:3?db=0",
        ] {
            let endpoint = read(url);
            assert_eq!(endpoint.display_url(), shown, "{url}");
            let cluster = endpoint.cluster().unwrap();
            assert_eq!(cluster.nodes().len(), 3, "{url}");
            assert_eq!(endpoint.address(), &cluster.nodes()[0]);
            assert_eq!((endpoint.tls(), endpoint.sentinels()), (None, None));
            assert_eq!(endpoint.keys().unacked(), "my {shop}:unacked");
            assert_eq!(endpoint.slot(), Ok(slot("{shop}").unwrap()));
            assert!(!format!("{endpoint:?} {endpoint}").contains(":p@"));
        }
        let shown = read(shown).display_url();
        assert_eq!(read(&shown).display_url(), shown);
    }

    #[test]
    fn tls_is_in_the_scheme() {
        let endpoint =
            read("rediss+cluster://:p@a;rediss+cluster://b?ssl_cert_reqs=none&prefix={a}");
        assert!(!endpoint.tls().unwrap().verify_peer);
        let node = endpoint.at(Address::Tcp {
            host: "c".to_owned(),
            port: 7001,
        });
        assert_eq!(node.display_url(), "rediss://:********@c:7001/0");
        assert_eq!(node.key_prefix(), "{a}");
    }

    #[test]
    fn a_prefix_with_a_hash_tag_is_needed() {
        let complete = |url, given, default| {
            let complete = read(url).complete_key_prefix(given, default);
            complete.map(|endpoint| endpoint.key_prefix().to_owned())
        };
        let (plain, cluster) = ("redis://a", "redis+cluster://a");
        for (url, given, default, prefix) in [
            (plain, None, "", ""),
            (plain, None, "d:", "d:"),
            (plain, Some(""), "d:", ""),
            (plain, Some("g:"), "d:", "g:"),
            (cluster, None, "{d}:", "{d}:"),
            (cluster, Some("{g}:"), "d:", "{g}:"),
            ("redis+cluster://a?prefix={u}:", None, "d:", "{u}:"),
            ("redis+cluster://a?prefix={u}:", Some("{u}:"), "", "{u}:"),
        ] {
            assert_eq!(
                complete(url, given, default),
                Ok(prefix.to_owned()),
                "{url} {given:?}"
            );
        }
        for (url, given, default) in [
            (cluster, None, ""),
            (cluster, None, "celery:"),
            (cluster, Some(""), "{d}:"),
            ("redis+cluster://a?prefix=shop:", None, "{d}:"),
            ("redis+cluster://a?prefix={}:", None, ""),
        ] {
            assert_eq!(
                complete(url, given, default),
                Err(ConfigError::NoHashTag),
                "{url} {given:?}"
            );
        }
        let other = complete("redis+cluster://a?prefix={u}:", Some("{g}:"), "");
        assert!(
            matches!(other, Err(ConfigError::Contradiction { .. })),
            "{other:?}"
        );
        assert!(complete(plain, Some("a\nb"), "").is_err());
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for url in [
            "redis+cluster://a;b",
            "redis+cluster://a;redis://b",
            "redis+cluster://a;rediss+cluster://b",
            "rediss+cluster://a;redis+cluster://b",
            "redis+cluster://a;",
            "redis+cluster://u:p@a;redis+cluster://u:q@b",
            "redis+cluster://a/1",
            "redis+cluster://a?db=1",
            "redis+cluster://a/x",
            "redis+cluster://a?master_name=m",
            "redis+cluster://a?ssl_cert_reqs=none",
            "redis+cluster://a?prefix=a%0Ab",
            "redis+cluster://a?prefix={a}&prefix={b}",
            "redis+cluster://a?prefix={a};redis+cluster://b?prefix={b}",
            "redis+cluster://:a;b@h",
            "redis+cluster://:a/b@h",
            "redis://a?prefix={a}",
            "sentinel://a?prefix={a}",
        ] {
            let refused = RedisEndpoint::from_url(url).unwrap_err();
            assert!(!refused.to_string().contains("q@"), "{url}: {refused}");
        }
    }

    #[test]
    fn the_identity_is_that_of_the_slot_and_does_not_depend_on_the_order() {
        let name = |url| read(url).identity();
        let one = name("redis+cluster://A;redis+cluster://b?prefix={x}:");
        assert_eq!(
            one,
            name("redis+cluster://b;redis+cluster://:pw@a?prefix=y{x}")
        );
        for other in [
            "redis+cluster://a;redis+cluster://b?prefix={y}:",
            "redis+cluster://a;redis+cluster://c?prefix={x}:",
            "rediss+cluster://a;rediss+cluster://b?prefix={x}:",
            "redis+cluster://u:p@a;redis+cluster://b?prefix={x}:",
        ] {
            assert_ne!(one, name(other), "{other}");
        }
    }
}
