//! What only a URL of Sentinels has. It has kombu's form:
//! `sentinel://[user:password@]a:26379;sentinel://b:26379/0?master_name=mymaster`.
//!
//! Login, database and parameters are those of the Redis, and may be with any of the Sentinels. As
//! in Celery, the login to the Sentinels themselves is separate: `sentinel_username` and
//! `sentinel_password`. A parameter `ssl_…` turns TLS on to the Redis, and `sentinel_ssl` turns it
//! on to the Sentinels, with the same options.

use super::list::Kind;
use super::{Place, RedisEndpoint};
use crate::endpoint::parts::check;
use crate::endpoint::tls_options::truth;
use crate::error::ConfigError;
use crate::redis::sentinel::{DEFAULT_PORT, Sentinels};
use crate::secret::Secret;

/// The scheme of kombu's transport.
pub(super) const SCHEME: &str = "sentinel";

/// The list of Sentinels.
pub(super) const NODES: Kind = Kind {
    scheme: SCHEME,
    default_port: DEFAULT_PORT,
    name: "list of Sentinels",
    no_scheme: "each of them needs its scheme, as in sentinel://a:26379;sentinel://b:26379",
    logins: "two Sentinels with different logins",
    databases: "two Sentinels with different databases",
};

/// Sets a parameter that only a URL of Sentinels has.
pub(super) fn set(sentinels: &mut Sentinels, name: &str, value: &str) -> Result<(), ConfigError> {
    let given = || Some(value).filter(|value| !value.is_empty());
    match name {
        "master_name" => sentinels.master = given().map(str::to_owned),
        "sentinel_username" => sentinels.username = given().map(str::to_owned),
        "sentinel_password" => sentinels.password = given().map(Secret::new),
        "sentinel_ssl" => sentinels.tls = truth(name, value)?.then(Default::default),
        _ => {
            return Err(ConfigError::UnknownOption {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

impl RedisEndpoint {
    /// Returns the Sentinels that say where the server is, if it is found by them.
    pub fn sentinels(&self) -> Option<&Sentinels> {
        match &self.place {
            Place::Watched(sentinels) => Some(sentinels),
            Place::Fixed(_) | Place::Slot(_) => None,
        }
    }

    /// Sets the name of the group that the Sentinels watch (kombu's `master_name`), if the URL has
    /// none. A server with a fixed address needs no name.
    ///
    /// # Errors
    /// [`ConfigError::NoMasterName`] if there are Sentinels and neither gives a name.
    /// [`ConfigError::Value`] if the name cannot be used.
    pub fn with_master_name(mut self, name: Option<&str>) -> Result<Self, ConfigError> {
        let Place::Watched(sentinels) = &mut self.place else {
            return Ok(self);
        };
        if sentinels.master.is_none() {
            sentinels.master = name.filter(|name| !name.is_empty()).map(str::to_owned);
        }
        let name = sentinels
            .master
            .as_deref()
            .ok_or(ConfigError::NoMasterName)?;
        check("master_name", name)?;
        Ok(self)
    }

    /// Sets the login to the Sentinels themselves, if there are any and the URL has none.
    #[must_use]
    pub fn with_sentinel_login(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        if let Place::Watched(sentinels) = &mut self.place
            && sentinels.username.is_none()
            && sentinels.password.is_none()
        {
            let given = |text: &&str| !text.is_empty();
            sentinels.username = user.filter(given).map(str::to_owned);
            sentinels.password = password.filter(given).map(Secret::new);
        }
        self
    }

    /// Returns the endpoint of one of these Sentinels itself.
    #[cfg_attr(
        not(any(feature = "blocking", feature = "aio")),
        allow(dead_code, reason = "only the drivers ask where a server is")
    )]
    pub(crate) fn of_sentinel(sentinels: &Sentinels, place: usize) -> Self {
        Self {
            place: Place::Fixed(sentinels.nodes[place].clone()),
            tls: sentinels.tls.clone(),
            username: sentinels.username.clone(),
            password: sentinels.password.clone(),
            database: 0,
            key_prefix: String::new(),
            priority_steps: None,
            separator: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> RedisEndpoint {
        RedisEndpoint::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn the_parts_may_be_with_any_sentinel() {
        let shown = "sentinel://u:********@a:1;sentinel://b:26379;sentinel://[::1]:3/2\
                     ?master_name=my%20master";
        for url in [
            "sentinel://u:p@a:1/2;sentinel://b/2;sentinel://[::1]:3?master_name=my%20master",
            "sentinel://a:1;sentinel://u:p@b;SENTINEL://[::1]:3/2?master_name=my+master",
            "sentinel://u:p@a:1?master_name=my+master; sentinel://u:p@b; sentinel://[::1]:3?db=2",
        ] {
            let endpoint = read(url);
            assert_eq!(endpoint.display_url(), shown, "{url}");
            let sentinels = endpoint.sentinels().unwrap();
            assert_eq!(sentinels.master(), Some("my master"));
            assert_eq!(
                RedisEndpoint::of_sentinel(sentinels, 1).display_url(),
                "redis://b:26379/0"
            );
            assert_eq!(endpoint.tls(), None);
        }
    }

    #[test]
    fn the_sentinels_have_a_login_and_tls_of_their_own() {
        let endpoint = read(
            "sentinel://u:p@a?sentinel_username=watch&sentinel_password=hunter2&sentinel_ssl=1\
             &ssl_cert_reqs=none",
        );
        let of_sentinel = RedisEndpoint::of_sentinel(endpoint.sentinels().unwrap(), 0);
        assert_eq!(
            of_sentinel.display_url(),
            "rediss://watch:********@a:26379/0"
        );
        assert!(!of_sentinel.tls().unwrap().verify_peer);
        assert!(!endpoint.tls().unwrap().verify_peer);
        assert!(!format!("{endpoint:?} {endpoint}").contains("hunter2"));
        let there = endpoint.at(of_sentinel.address().clone());
        assert_eq!(there.display_url(), "rediss://u:********@a:26379/0");
    }

    #[test]
    fn a_name_of_the_master_is_needed() {
        let named = |url, name| read(url).with_master_name(name);
        assert_eq!(named("sentinel://a", None), Err(ConfigError::NoMasterName));
        assert_eq!(
            named("sentinel://a?master_name=", Some("")),
            Err(ConfigError::NoMasterName)
        );
        assert!(named("sentinel://a", Some("a\r\nb")).is_err());
        assert!(named("redis://a", None).is_ok());
        for (url, name) in [
            ("sentinel://a", "b"),
            ("sentinel://a?master_name=b", "other"),
        ] {
            let endpoint = named(url, Some(name)).unwrap();
            assert_eq!(endpoint.sentinels().unwrap().master(), Some("b"));
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for url in [
            "sentinel://a;b",
            "sentinel://a;redis://b",
            "sentinel://a;",
            "sentinel://u:p@a;sentinel://u:q@b",
            "sentinel://a/1;sentinel://b/2",
            "sentinel://a/1?db=2",
            "sentinel://a/x",
            "sentinel://a?service_name=m",
            "sentinel://a?sentinel_ssl=perhaps",
            "sentinel://:a;b@h",
            "sentinel://:a/b@h",
            "redis://a?master_name=m",
        ] {
            let refused = RedisEndpoint::from_url(url).unwrap_err();
            assert!(!refused.to_string().contains("q@"), "{url}: {refused}");
        }
    }

    #[test]
    fn the_identity_does_not_depend_on_the_order() {
        let name = |url| read(url).identity();
        let one = name("sentinel://A;sentinel://b/1?master_name=m");
        assert_eq!(one, name("sentinel://b;sentinel://:pw@a/1?master_name=m"));
        for other in [
            "sentinel://a;sentinel://b/1?master_name=n",
            "sentinel://a;sentinel://b/2?master_name=m",
            "sentinel://a;sentinel://c/1?master_name=m",
        ] {
            assert_ne!(one, name(other), "{other}");
        }
    }
}
