//! An endpoint from separate options: host, port, login, password, virtual host, TLS.
//!
//! The rules are those of the connection arguments of celery-php's constructor. The host may be a
//! name, an address, a path, or a whole URL. Empty options do not count, and an option that
//! contradicts the URL is an error.

mod amqp;

use std::path::PathBuf;
use std::sync::Arc;

use celery_protocol::priorities::{PrioritySteps, Separator};

use super::address::Address;
use super::any::Endpoint;
use super::parts::{check, host_name};
use super::tls_options::TlsOptions;
use crate::error::ConfigError;
use crate::redis::{DEFAULT_PORT, Place, RedisEndpoint, database};
use crate::secret::Secret;

/// Collects the options, which [`build`](Self::build) checks. Each method documents the rules of
/// its option.
#[derive(Clone, Debug, Default)]
pub struct EndpointBuilder {
    host: String,
    /// Whether a host that is not a URL is a RabbitMQ.
    is_rabbitmq: bool,
    port: Option<u16>,
    login: Option<String>,
    password: Option<Secret>,
    vhost: Option<String>,
    tls: Option<TlsOptions>,
    key_prefix: String,
    priority_steps: Option<PrioritySteps>,
    separator: Option<Separator>,
}

impl Endpoint {
    /// Returns a builder that takes separate options, as `new Celery($host, $login, …)` does.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }
}

impl EndpointBuilder {
    /// Sets a name, an address, `/path`, `unix:///path`, or a whole URL. Beside a URL, the other
    /// options must agree with it.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Makes a host that is not a URL that of a RabbitMQ. Without this, it is that of a Redis.
    #[must_use]
    pub fn rabbitmq(mut self) -> Self {
        self.is_rabbitmq = true;
        self
    }

    /// Sets the port. It has no effect if the host is a path. Default: 6379; for RabbitMQ 5672, or
    /// 5671 with TLS.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets the user. An empty user means that there is only a password.
    #[must_use]
    pub fn login(mut self, login: impl Into<String>) -> Self {
        self.login = Some(login.into()).filter(|login| !login.is_empty());
        self
    }

    /// Sets the password. An empty password counts as not given.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into())
            .filter(|password| !password.is_empty())
            .map(Secret::new);
        self
    }

    /// Sets the database as Celery's virtual host: `''` and `'/'` are 0, `'3'` and `'/3'` are 3.
    /// For RabbitMQ, it is the name of the virtual host as it is, and `''` is `/`.
    #[must_use]
    pub fn vhost(mut self, vhost: impl Into<String>) -> Self {
        self.vhost = Some(vhost.into()).filter(|vhost| !vhost.is_empty());
        self
    }

    /// Turns TLS on (connector `rediss` or `amqps`), with the options set so far or the defaults.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Turns TLS on and sets an option by its name in PHP's `ssl` stream context: `cafile`,
    /// `capath`, `local_cert`, `local_pk`, `passphrase`, `verify_peer`, `verify_peer_name`,
    /// `peer_name`, `allow_self_signed`.
    ///
    /// # Errors
    /// [`ConfigError`] for any other name, and for an unknown truth value. Known are `1`, `true`,
    /// `yes`, `on`, `0`, `false`, `no`, `off` and the empty text.
    pub fn tls_option(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let tls = self.tls.get_or_insert_default();
        tls.set_option(name, value)?;
        Ok(self)
    }

    /// Sets the prefix of every key. The URL of a Redis Cluster may have it instead.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets kombu's `priority_steps`, which must be equal in every program that uses the queues.
    #[must_use]
    pub fn priority_steps(mut self, steps: PrioritySteps) -> Self {
        self.priority_steps = Some(steps);
        self
    }

    /// Sets kombu's `sep`, which must be equal in every program that uses the queues.
    #[must_use]
    pub fn separator(mut self, separator: Separator) -> Self {
        self.separator = Some(separator);
        self
    }

    /// Checks all options and returns the endpoint.
    ///
    /// # Errors
    /// [`ConfigError`] names the option that cannot be used, or that contradicts the URL given as
    /// host.
    pub fn build(self) -> Result<Endpoint, ConfigError> {
        check("login", self.login.as_deref().unwrap_or_default())?;
        check(
            "password",
            self.password
                .as_ref()
                .map(Secret::reveal)
                .unwrap_or_default(),
        )?;
        check("key prefix", &self.key_prefix)?;
        if let Some(name) = self.tls.as_ref().and_then(|tls| tls.peer_name.as_deref()) {
            check("peer_name", name)?;
        }
        if self.host.contains("://") {
            return self.build_from_url();
        }
        if self.is_rabbitmq {
            return self.build_amqp();
        }
        let database = database(self.vhost.as_deref().unwrap_or_default())?;
        let address = if self.host.starts_with('/') {
            check("host", &self.host)?;
            if self.tls.is_some() {
                return Err(ConfigError::Contradiction {
                    what: "TLS over a unix socket",
                });
            }
            Address::Unix(PathBuf::from(self.host))
        } else {
            Address::Tcp {
                host: host_name(&self.host)?,
                port: self.port.unwrap_or(DEFAULT_PORT),
            }
        };
        let endpoint = RedisEndpoint {
            place: Place::Fixed(address),
            tls: self.tls,
            username: self.login,
            password: self.password,
            database,
            key_prefix: self.key_prefix,
            priority_steps: self.priority_steps,
            separator: self.separator,
        };
        Ok(endpoint.into())
    }

    /// Builds the endpoint of a URL. Other options must agree with it. The exception: TLS options
    /// may be added to a URL that uses TLS and has no TLS options.
    fn build_from_url(self) -> Result<Endpoint, ConfigError> {
        let endpoint = match Endpoint::from_url(&self.host)? {
            Endpoint::Redis(endpoint) => endpoint,
            Endpoint::Amqp(endpoint) => return self.beside_amqp(endpoint),
        };
        let mut endpoint = Arc::unwrap_or_clone(endpoint);
        let differs = |what| Err(ConfigError::Contradiction { what });
        if let (Some(port), Place::Fixed(Address::Tcp { port: of_url, .. })) =
            (self.port, &endpoint.place)
            && port != *of_url
        {
            return differs("a port beside a URL with another one");
        }
        if self.login.is_some() && self.login != endpoint.username {
            return differs("a login beside a URL with another one");
        }
        if self.password.is_some() && self.password != endpoint.password {
            return differs("a password beside a URL with another one");
        }
        if let Some(vhost) = &self.vhost
            && database(vhost)? != endpoint.database
        {
            return differs("a virtual host beside a URL with another one");
        }
        if let Some(tls) = self.tls {
            // No scheme turns TLS on for a server that Sentinels name.
            if let Place::Watched(sentinels) = &mut endpoint.place {
                endpoint.tls.get_or_insert_default();
                let of_sentinels = &mut sentinels.tls;
                *of_sentinels = of_sentinels.take().map(|_| tls.clone());
            }
            match &mut endpoint.tls {
                None => return differs("TLS options beside a URL without TLS"),
                Some(of_url) if *of_url == TlsOptions::default() => *of_url = tls,
                Some(of_url) if tls != TlsOptions::default() && tls != *of_url => {
                    return differs("TLS options beside a URL with others");
                }
                Some(_) => {}
            }
        }
        if let Some(steps) = self.priority_steps {
            endpoint = endpoint.with_priority_steps(steps)?;
        }
        if let Some(separator) = self.separator {
            endpoint = endpoint.with_separator(separator)?;
        }
        // Without a prefix, the caller may still complete it by a default.
        let prefix = Some(self.key_prefix).filter(|prefix| !prefix.is_empty());
        let endpoint = match prefix {
            Some(prefix) => endpoint.complete_key_prefix(Some(&prefix), "")?,
            None => endpoint,
        };
        Ok(endpoint.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(host: &str) -> EndpointBuilder {
        Endpoint::builder().host(host)
    }

    fn redis(builder: EndpointBuilder) -> Arc<RedisEndpoint> {
        match builder.build().unwrap() {
            Endpoint::Redis(redis) => redis,
            Endpoint::Amqp(rabbitmq) => panic!("{rabbitmq} is not a Redis"),
        }
    }

    #[test]
    fn empty_options_count_as_not_given() {
        let endpoint = build("redis")
            .login("")
            .password("")
            .vhost("")
            .build()
            .unwrap();
        assert_eq!(endpoint, Endpoint::from_url("redis://redis").unwrap());
    }

    #[test]
    fn a_path_is_a_unix_socket_whatever_the_port() {
        let plain = redis(build("/run/redis.sock").port(6380).vhost("/3"));
        let url = redis(build("unix:///run/redis.sock").port(6380));
        assert_eq!(plain.address(), &Address::Unix("/run/redis.sock".into()));
        assert_eq!(plain.database(), 3);
        assert_eq!(url.address(), plain.address());
    }

    #[test]
    fn other_options_must_not_contradict_a_url() {
        let url = "redis://u:p@h:7000/2";
        assert!(
            build(url)
                .port(7000)
                .login("u")
                .password("p")
                .vhost("2")
                .build()
                .is_ok()
        );
        assert!(build(url).port(7001).build().is_err());
        assert!(build(url).login("v").build().is_err());
        assert!(build(url).password("q").build().is_err());
        assert!(build(url).vhost("3").build().is_err());
        assert!(build(url).tls().build().is_err());
        let options = |url: &str, steps: &str, separator: &str| {
            let builder = build(url).priority_steps(steps.parse().unwrap());
            builder.separator(separator.parse().unwrap()).build()
        };
        assert!(options("redis://h?priority_steps=0,9&sep=:", "0,9", ":").is_ok());
        assert!(options("redis://h?priority_steps=0,9", "0,3", ":").is_err());
        assert!(options("redis://h?sep=-", "0,9", ":").is_err());
        assert!(build("rediss://h").tls().build().is_ok());
        let cluster = "redis+cluster://u:p@h:7000;redis+cluster://i?prefix={a}:";
        assert!(build(cluster).port(1).login("u").vhost("0").build().is_ok());
        assert!(build(cluster).vhost("1").build().is_err());
        assert!(build(cluster).tls().build().is_err());
        assert!(build(cluster).key_prefix("{b}:").build().is_err());
        assert_eq!(redis(build(cluster)).key_prefix(), "{a}:");
        let sentinels = redis(build("sentinel://h?sentinel_ssl=1").tls());
        assert!(sentinels.tls().is_some());
    }

    #[test]
    fn unusable_hosts_are_refused() {
        for host in [
            "", "a b", "a/b", "u@h", "a\r\nb", "h\0", "a:b:c", "/run\n/x",
        ] {
            assert!(build(host).build().is_err(), "{host:?}");
        }
        assert!(build("h").login("a\r\n").build().is_err());
        assert!(build("h").password("a\0").build().is_err());
        let six = build("[::1]").build().unwrap();
        assert_eq!(six.display_url(), "redis://[::1]:6379/0");
    }

    #[test]
    fn tls_options_have_phps_names() {
        let builder = build("h")
            .tls_option("cafile", "/ca.pem")
            .and_then(|b| b.tls_option("verify_peer_name", ""))
            .and_then(|b| b.tls_option("passphrase", "hunter2"));
        let endpoint = redis(builder.unwrap());
        let tls = endpoint.tls().unwrap();
        assert_eq!(
            tls.ca_file.as_deref(),
            Some(std::path::Path::new("/ca.pem"))
        );
        assert!(tls.verify_peer && !tls.verify_peer_name);
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert!(build("h").tls_option("ciphers", "x").is_err());
        assert!(build("h").tls_option("verify_peer", "maybe").is_err());
    }
}
