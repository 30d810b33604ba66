//! An endpoint from separate options: host, port, login, password, virtual host, TLS.
//!
//! The rules are those of the connection arguments of celery-php's constructor. The host may be a
//! name, an address, a path, or a whole URL. Empty options do not count, and an option that
//! contradicts the URL is an error.

use std::path::PathBuf;

use celery_protocol::priorities::{PrioritySteps, Separator};

use super::address::{Address, DEFAULT_PORT, TlsOptions};
use super::server::Endpoint;
use crate::error::ConfigError;
use crate::secret::Secret;

/// Collects the options, which [`build`](Self::build) checks. Each method documents the rules of
/// its option.
#[derive(Clone, Debug, Default)]
pub struct EndpointBuilder {
    host: String,
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

    /// Sets the port. It has no effect if the host is a path. Default: 6379.
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
    #[must_use]
    pub fn vhost(mut self, vhost: impl Into<String>) -> Self {
        self.vhost = Some(vhost.into()).filter(|vhost| !vhost.is_empty());
        self
    }

    /// Turns TLS on (connector `rediss`), with the options set so far or the defaults.
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
        match name {
            "cafile" => tls.ca_file = path(value),
            "capath" => tls.ca_path = path(value),
            "local_cert" => tls.local_cert = path(value),
            "local_pk" => tls.local_pk = path(value),
            "passphrase" => tls.passphrase = Some(value).filter(|v| !v.is_empty()).map(Secret::new),
            "verify_peer" => tls.verify_peer = truth(name, value)?,
            "verify_peer_name" => tls.verify_peer_name = truth(name, value)?,
            "peer_name" => tls.peer_name = Some(value.to_owned()).filter(|v| !v.is_empty()),
            "allow_self_signed" => tls.allow_self_signed = truth(name, value)?,
            _ => {
                return Err(ConfigError::UnknownOption {
                    name: name.to_owned(),
                });
            }
        }
        Ok(self)
    }

    /// Sets the prefix of every key.
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
        Ok(Endpoint {
            address,
            tls: self.tls,
            username: self.login,
            password: self.password,
            database,
            key_prefix: self.key_prefix,
            priority_steps: self.priority_steps,
            separator: self.separator,
        })
    }

    /// Builds the endpoint of a URL. Other options must agree with it. The exception: TLS options
    /// may be added to a URL that uses TLS and names none.
    fn build_from_url(self) -> Result<Endpoint, ConfigError> {
        let mut endpoint = Endpoint::from_url(&self.host)?;
        let differs = |what| Err(ConfigError::Contradiction { what });
        if let (Some(port), Address::Tcp { port: of_url, .. }) = (self.port, &endpoint.address)
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
        Ok(endpoint.with_key_prefix(self.key_prefix))
    }
}

/// Returns a host that is a name or an address, without brackets.
pub(super) fn host_name(host: &str) -> Result<String, ConfigError> {
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

/// Returns the database that a virtual host names.
pub(super) fn database(vhost: &str) -> Result<u32, ConfigError> {
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

/// Refuses control characters, which could end a line or a string in a later reader.
pub(super) fn check(name: &'static str, value: &str) -> Result<(), ConfigError> {
    if value.chars().any(char::is_control) {
        return Err(ConfigError::Value {
            name,
            reason: "it contains a control character",
        });
    }
    Ok(())
}

pub(super) fn path(value: &str) -> Option<PathBuf> {
    Some(value)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

pub(super) fn truth(name: &str, value: &str) -> Result<bool, ConfigError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::NotATruthValue {
            name: name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(host: &str) -> EndpointBuilder {
        Endpoint::builder().host(host)
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
        let plain = build("/run/redis.sock")
            .port(6380)
            .vhost("/3")
            .build()
            .unwrap();
        let url = build("unix:///run/redis.sock").port(6380).build().unwrap();
        assert_eq!(plain.address(), &Address::Unix("/run/redis.sock".into()));
        assert_eq!(plain.database(), 3);
        assert_eq!(url.address(), plain.address());
    }

    #[test]
    fn databases() {
        for (vhost, number) in [("", 0), ("/", 0), ("0", 0), ("/3", 3), ("3", 3), ("15", 15)] {
            assert_eq!(database(vhost), Ok(number), "{vhost}");
        }
        for vhost in ["x", "-1", "+1", "//3", "3/", "3 ", "99999999999"] {
            assert!(database(vhost).is_err(), "{vhost}");
        }
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
        let endpoint = build("h")
            .tls_option("cafile", "/ca.pem")
            .and_then(|b| b.tls_option("verify_peer_name", ""))
            .and_then(|b| b.tls_option("passphrase", "hunter2"))
            .unwrap()
            .build()
            .unwrap();
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
