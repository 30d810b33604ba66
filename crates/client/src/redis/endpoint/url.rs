//! The endpoint of a Redis from a URL in Celery's form.
//!
//! The schemes are `redis://`, `rediss://`, `redis+socket://` (also `unix://` and `redis+unix://`),
//! `sentinel://`, `redis+cluster://` and `rediss+cluster://`. The URL may have `user:password@`, the
//! database as path or as `virtual_host=`, and Celery's `ssl_…` parameters. All parts are
//! percent-decoded. Parameters that tune redis-py's sockets have no meaning here and are ignored;
//! any other unknown parameter is an error.

use celery_protocol::priorities::{PrioritySteps, Separator};
use url::Url;

use super::list::{Kind, agree};
use super::{DEFAULT_PORT, Place, RedisEndpoint, clustered, database, sentinel};
use crate::endpoint::address::Address;
use crate::endpoint::parts::{check, decode, host_name, password, username};
use crate::endpoint::tls_options::TlsOptions;
use crate::endpoint::url::UrlText;
use crate::error::ConfigError;
use crate::mask::cuts_login;
use crate::redis::cluster::{self, Cluster};
use crate::redis::sentinel::Sentinels;
use crate::secret::Secret;

/// Parameters of redis-py and kombu that are ignored, because a URL may be shared with Python.
///
/// They have no meaning here: every call has its own deadline, and the process pools its
/// connections.
const PASSED_OVER: [&str; 8] = [
    "client_name",
    "health_check_interval",
    "max_connections",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
    "timeout",
];

/// The schemes of URLs of a Redis: TCP, TCP with TLS, four names of a unix socket, Sentinels, and a
/// cluster without and with TLS.
pub(crate) const SCHEMES: [&str; 9] = [
    "redis",
    "rediss",
    "redis+socket",
    "redis+unix",
    "unix",
    "socket",
    sentinel::SCHEME,
    cluster::SCHEME,
    cluster::TLS_SCHEME,
];

/// The parts of a URL, checked. What the URL does not have is `None`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RedisUrl {
    /// The name or address of the server.
    pub host: Option<String>,
    /// The port of the server.
    pub port: Option<u16>,
    /// The path of a unix socket, in place of a host.
    pub socket: Option<String>,
    /// The user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database, from the path or the query.
    pub database: Option<u32>,
    /// The TLS options if the connection uses TLS.
    pub tls: Option<TlsOptions>,
    /// The TLS options that the URL sets, by their names in PHP's `ssl` stream context. The values
    /// of those that are true or false are `1` and the empty text.
    pub tls_given: Vec<(&'static str, String)>,
    /// kombu's `priority_steps`.
    pub priority_steps: Option<PrioritySteps>,
    /// kombu's `sep`.
    pub separator: Option<Separator>,
    /// The Sentinels that say where the server is, in place of a host.
    pub sentinels: Option<Box<Sentinels>>,
    /// The cluster that has the keys, in place of a host.
    pub cluster: Option<Box<Cluster>>,
    /// The prefix of all keys, which only the URL of a cluster may have.
    pub key_prefix: Option<String>,
}

impl RedisEndpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ConfigError`] says what cannot be used. It never repeats the URL, which may hold a
    /// password.
    pub fn from_url(text: &str) -> Result<Self, ConfigError> {
        RedisUrl::parse(text).map(RedisUrl::endpoint)
    }
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ConfigError`] says what cannot be used. It never repeats the URL, which may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let url = UrlText::split(text)?;
        if SCHEMES.contains(&url.scheme()) {
            Self::read(&url)
        } else {
            Err(url.unknown_scheme())
        }
    }

    /// Reads a URL of one of the [`SCHEMES`].
    pub(crate) fn read(url: &UrlText<'_>) -> Result<Self, ConfigError> {
        match url.scheme() {
            sentinel::SCHEME => watched(url.rest()),
            cluster::SCHEME => in_cluster(url.rest(), &clustered::NODES, false),
            cluster::TLS_SCHEME => in_cluster(url.rest(), &clustered::TLS_NODES, true),
            _ if url.is_list() => Err(ConfigError::SeveralServers),
            "redis" => tcp(url.rest(), false),
            "rediss" => tcp(url.rest(), true),
            _ => unix(url.rest()),
        }
    }

    /// Returns the endpoint, with the defaults of Redis for what the URL does not have.
    pub(crate) fn endpoint(self) -> RedisEndpoint {
        let place = match (self.sentinels, self.cluster, self.socket) {
            (Some(sentinels), ..) => Place::Watched(sentinels),
            (None, Some(cluster), _) => Place::Slot(cluster),
            (None, None, Some(path)) => Place::Fixed(Address::Unix(path.into())),
            (None, None, None) => Place::Fixed(address(self.host, self.port, DEFAULT_PORT)),
        };
        RedisEndpoint {
            place,
            tls: self.tls,
            username: self.username,
            password: self.password,
            database: self.database.unwrap_or_default(),
            key_prefix: self.key_prefix.unwrap_or_default(),
            priority_steps: self.priority_steps,
            separator: self.separator,
        }
    }

    fn read_query(&mut self, url: &Url) -> Result<(), ConfigError> {
        for (name, value) in url.query_pairs() {
            if name == "sep" {
                // The default of kombu has control characters, so this value is not checked for
                // them.
                self.separator = Some(value.parse()?);
                continue;
            }
            check("URL", &value)?;
            match &*name {
                "priority_steps" => self.priority_steps = Some(value.parse()?),
                "virtual_host" | "db" => self.database = Some(database(&value)?),
                name if name.starts_with("ssl_") => {
                    let options = self.tls()?.set_parameter(name, &value)?;
                    self.tls_given.extend(options);
                }
                "prefix" if self.cluster.is_some() => {
                    if !value.is_empty() {
                        agree(
                            &mut self.key_prefix,
                            value.into_owned(),
                            clustered::PREFIXES,
                        )?;
                    }
                }
                name if PASSED_OVER.contains(&name) => {}
                name => match &mut self.sentinels {
                    Some(sentinels) => sentinel::set(sentinels, name, &value)?,
                    None => return Err(unknown(name)),
                },
            }
        }
        Ok(())
    }

    /// Returns the TLS options. No scheme turns TLS on for a server that Sentinels name, so its
    /// parameters do.
    fn tls(&mut self) -> Result<&mut TlsOptions, ConfigError> {
        if self.sentinels.is_some() {
            return Ok(self.tls.get_or_insert_default());
        }
        self.tls.as_mut().ok_or(ConfigError::Contradiction {
            what: "ssl_ parameters in a URL that is not rediss://",
        })
    }
}

/// Returns the error for a parameter that no URL has.
fn unknown(name: &str) -> ConfigError {
    ConfigError::UnknownOption {
        name: name.to_owned(),
    }
}

/// Returns an address, with the defaults for what the URL does not have.
fn address(host: Option<String>, port: Option<u16>, default_port: u16) -> Address {
    Address::Tcp {
        host: host.unwrap_or_else(|| "localhost".to_owned()),
        port: port.unwrap_or(default_port),
    }
}

/// Reads the text after `://` of a URL of a server. Returns it with its host.
fn server(rest: &str) -> Result<(Url, Option<String>), ConfigError> {
    if cuts_login(rest) {
        return Err(ConfigError::NotEncoded);
    }
    // The scheme is `redis` for all, because the URL standard has no special rules for it.
    let url = Url::parse(&format!("redis://{rest}")).map_err(|_| ConfigError::NotAUrl)?;
    let host = match url.host_str() {
        None | Some("") => None,
        Some(host) => Some(host_name(&decode("host", host)?)?),
    };
    Ok((url, host))
}

fn tcp(rest: &str, secure: bool) -> Result<RedisUrl, ConfigError> {
    let (url, host) = server(rest)?;
    let mut parts = RedisUrl {
        host,
        port: url.port(),
        tls: secure.then(TlsOptions::default),
        username: username(&url)?,
        password: password(&url)?,
        ..RedisUrl::default()
    };
    parts.read_query(&url)?;
    parts.database = one_database(&decode("path", url.path())?, parts.database)?;
    Ok(parts)
}

/// Reads the text after the first `sentinel://`.
fn watched(rest: &str) -> Result<RedisUrl, ConfigError> {
    let mut parts = RedisUrl {
        sentinels: Some(Box::default()),
        ..RedisUrl::default()
    };
    let nodes = list(rest, &sentinel::NODES, &mut parts)?;
    if let Some(sentinels) = &mut parts.sentinels {
        sentinels.nodes = nodes;
        if let (Some(own), Some(tls)) = (&mut sentinels.tls, &parts.tls) {
            *own = tls.clone();
        }
    }
    Ok(parts)
}

/// Reads the text after the first scheme of a cluster.
fn in_cluster(rest: &str, kind: &Kind, secure: bool) -> Result<RedisUrl, ConfigError> {
    let mut parts = RedisUrl {
        cluster: Some(Box::default()),
        tls: secure.then(TlsOptions::default),
        ..RedisUrl::default()
    };
    let nodes = list(rest, kind, &mut parts)?;
    clustered::check_database(parts.database)?;
    parts.cluster = Some(Box::new(Cluster::new(nodes)));
    Ok(parts)
}

/// Reads the nodes of a list, and the parts that any of them may have. Returns their addresses.
fn list(rest: &str, kind: &Kind, parts: &mut RedisUrl) -> Result<Vec<Address>, ConfigError> {
    let mut nodes = Vec::new();
    let mut login = None;
    let mut path = None;
    for (index, node) in rest.split(';').enumerate() {
        let node = match index {
            0 => node,
            _ => kind.own_scheme(node)?,
        };
        let (url, host) = server(node)?;
        nodes.push(address(host, url.port(), kind.default_port));
        parts.read_query(&url)?;
        let of_node = (username(&url)?, password(&url)?);
        if of_node != (None, None) {
            agree(&mut login, of_node, kind.logins)?;
        }
        let of_node = decode("path", url.path())?;
        if !of_node.trim_matches('/').is_empty() {
            agree(&mut path, of_node, kind.databases)?;
        }
    }
    (parts.username, parts.password) = login.unwrap_or_default();
    parts.database = one_database(path.as_deref().unwrap_or_default(), parts.database)?;
    Ok(nodes)
}

fn unix(rest: &str) -> Result<RedisUrl, ConfigError> {
    // `user:password@/path` has no host, which the URL standard does not allow with credentials.
    let with_host = match rest.split_once('/') {
        Some((authority, path)) if authority.is_empty() || authority.ends_with('@') => {
            // A login that begins with a slash looks like the beginning of the path.
            if authority.contains(['?', '#']) || path.contains("@/") {
                return Err(ConfigError::NotEncoded);
            }
            format!("redis://{authority}localhost/{path}")
        }
        _ => {
            if cuts_login(rest) {
                return Err(ConfigError::NotEncoded);
            }
            return Err(ConfigError::Value {
                name: "URL",
                reason: "a unix socket needs an absolute path",
            });
        }
    };
    let url = Url::parse(&with_host).map_err(|_| ConfigError::NotAUrl)?;
    let mut parts = RedisUrl {
        socket: Some(decode("path", url.path())?),
        username: username(&url)?,
        password: password(&url)?,
        ..RedisUrl::default()
    };
    parts.read_query(&url)?;
    Ok(parts)
}

fn one_database(path: &str, of_query: Option<u32>) -> Result<Option<u32>, ConfigError> {
    // The virtual host follows the first slash. It may begin with a slash itself, as in kombu.
    let path = path.strip_prefix('/').unwrap_or(path);
    let of_path = database(path)?;
    let names_one = !path.trim_matches('/').is_empty();
    match of_query {
        Some(number) if names_one && number != of_path => Err(ConfigError::Contradiction {
            what: "a path and a virtual_host that name different databases",
        }),
        Some(number) => Ok(Some(number)),
        None => Ok(names_one.then_some(of_path)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn endpoint(url: &str) -> RedisEndpoint {
        RedisEndpoint::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn absent_parts_have_the_defaults_of_redis() {
        let local = Address::Tcp {
            host: "localhost".into(),
            port: 6379,
        };
        for url in [
            "redis://",
            "redis:///",
            "redis://localhost",
            "REDIS://localhost:6379/0",
            "redis://localhost?db=0",
        ] {
            let endpoint = endpoint(url);
            assert_eq!(endpoint.address(), &local, "{url}");
            assert_eq!(
                (
                    endpoint.database(),
                    endpoint.username(),
                    endpoint.password()
                ),
                (0, None, None),
                "{url}"
            );
        }
    }

    #[test]
    fn parts_that_a_url_lacks_are_absent() {
        let parts = |url| RedisUrl::parse(url).unwrap();
        for url in ["redis://", "redis:///", "rediss://?timeout=1"] {
            let bare = parts(url);
            assert_eq!(
                (bare.host, bare.port, bare.socket),
                (None, None, None),
                "{url}"
            );
            assert_eq!((bare.username, bare.database), (None, None), "{url}");
            assert!(
                bare.password.is_none() && bare.tls_given.is_empty(),
                "{url}"
            );
            assert_eq!(bare.tls.is_some(), url.starts_with("rediss"), "{url}");
        }
        for (url, database) in [
            ("redis://h/0", Some(0)),
            ("redis://h?db=0", Some(0)),
            ("redis://h//", None),
            ("unix:///r.sock?virtual_host=2", Some(2)),
        ] {
            assert_eq!(parts(url).database, database, "{url}");
        }
        let full = parts("rediss://h:1?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem");
        assert_eq!((full.host.as_deref(), full.port), (Some("h"), Some(1)));
        let options = [
            ("verify_peer", ""),
            ("verify_peer_name", ""),
            ("cafile", "/ca.pem"),
        ];
        assert_eq!(
            full.tls_given,
            options.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn credentials_are_decoded_and_masked() {
        let endpoint = endpoint("redis://us%40er:p%2Fa%3Ass@h:1/9");
        assert_eq!(endpoint.username(), Some("us@er"));
        assert_eq!(endpoint.password().map(Secret::reveal), Some("p/a:ss"));
        assert_eq!(endpoint.display_url(), "redis://us%40er:********@h:1/9");
        assert!(!format!("{endpoint:?} {endpoint}").contains("a:ss"));
    }

    #[test]
    fn a_password_without_a_user() {
        let endpoint = endpoint("redis://:secret@h");
        assert_eq!(
            (endpoint.username(), endpoint.password().map(Secret::reveal)),
            (None, Some("secret"))
        );
    }

    #[test]
    fn unix_sockets() {
        for url in [
            "redis+socket:///run/r%20s.sock?virtual_host=2",
            "unix:///run/r%20s.sock?db=2",
            "redis+unix:///run/r s.sock?virtual_host=/2",
        ] {
            let endpoint = endpoint(url);
            assert_eq!(
                (endpoint.address(), endpoint.database()),
                (&Address::Unix("/run/r s.sock".into()), 2),
                "{url}"
            );
        }
        let with_password = endpoint("redis+socket://:pw@/run/x");
        assert_eq!(with_password.password().map(Secret::reveal), Some("pw"));
        assert!(RedisEndpoint::from_url("unix://run/x").is_err());
    }

    #[test]
    fn tls_parameters_of_celery() {
        let endpoint = endpoint(
            "rediss://h/1?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        );
        let tls = endpoint.tls().unwrap();
        assert!(tls.verify_peer && tls.verify_peer_name);
        assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(tls.local_cert.as_deref(), Some(Path::new("/c.pem")));
        assert_eq!(tls.local_pk.as_deref(), Some(Path::new("/k.pem")));
        for (word, verified) in [
            ("none", false),
            ("CERT_NONE", false),
            ("optional", true),
            ("required", true),
        ] {
            let url = format!("rediss://h?ssl_cert_reqs={word}");
            assert_eq!(
                RedisEndpoint::from_url(&url)
                    .unwrap()
                    .tls()
                    .unwrap()
                    .verify_peer,
                verified,
                "{word}"
            );
        }
    }

    #[test]
    fn urls_of_other_programs_are_read() {
        for (url, database) in [
            ("redis://h//", 0),
            ("redis://h//3", 3),
            ("redis://h/3 ", 3),
            (" redis://h/3", 3),
            ("redis://h/3\n", 3),
            ("redis://h/3\r\n", 3),
            ("\tredis://h/3 \n", 3),
            ("redis://h//?db=2", 2),
            ("redis://:a;b,c@h/1", 1),
        ] {
            assert_eq!(endpoint(url).database(), database, "{url}");
        }
        for (url, error) in [
            ("redis://a/0;redis://b/0", ConfigError::SeveralServers),
            ("redis://:p@a/0;redis://:q@b/0", ConfigError::SeveralServers),
            ("redis://a:1;b:2/0", ConfigError::SeveralServers),
            ("rediss://a,b/0", ConfigError::SeveralServers),
            ("redis://a/0, redis://b/0", ConfigError::SeveralServers),
            ("unix:///a.sock;unix:///b.sock", ConfigError::SeveralServers),
            ("\"redis://h\"", ConfigError::Quoted),
            ("'redis://h'", ConfigError::Quoted),
        ] {
            assert_eq!(RedisEndpoint::from_url(url), Err(error), "{url}");
        }
        for (url, scheme) in [
            ("rpc://", "rpc"),
            ("rpc", "rpc"),
            ("django-db", "django-db"),
            ("db+mysql://u:hunter2@h/d", "db+mysql"),
            ("cache+memcached://h:11211/", "cache+memcached"),
            ("mongodb+srv://u:hunter2@h/d", "mongodb+srv"),
            ("amqp://u:hunter2@h//", "amqp"),
        ] {
            let error = RedisEndpoint::from_url(url).unwrap_err();
            let scheme = scheme.to_owned();
            assert_eq!(error, ConfigError::Scheme { scheme }, "{url}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_reported_as_such() {
        for url in [
            "redis://:abc#123@h",
            "redis://:abc/12=@h",
            "redis://:ab?c@h/0",
            "redis://u:12#34@h",
            "redis://u:12/3?@h",
            "redis://u:p@h/x@i/0",
            "redis+socket://:p/w@/run/x",
            "unix://u:p?w@/run/x",
            "unix://u:#pw@/run/x",
            "redis+unix://:pw?@/run/x",
            "unix://u?a=:pw@/run/x",
            "unix:///u:pw@/run/x",
            "socket:///pw@/run/x",
            "redis://u:ab:c/@h",
        ] {
            let error = RedisEndpoint::from_url(url).unwrap_err();
            assert_eq!(error, ConfigError::NotEncoded, "{url}");
            assert!(error.to_string().contains("percent-encoded"));
        }
        for url in [
            "hunter2@redis://h",
            "redis:u:hunter2@h",
            "redis://u:p@h:port",
        ] {
            let error = RedisEndpoint::from_url(url).unwrap_err();
            assert_eq!(error, ConfigError::NotAUrl, "{url}");
        }
    }

    #[test]
    fn priorities_of_kombu() {
        for (url, list) in [
            ("redis://h", "q\u{6}\u{16}9"),
            ("redis://h?priority_steps=0,8&sep=%3A", "q:8"),
            ("redis://h/1?sep=%06%16", "q\u{6}\u{16}9"),
            ("unix:///run/r.sock?priority_steps=0,1,2&sep=-", "q-2"),
        ] {
            assert_eq!(endpoint(url).keys().queue("q", 9), list, "{url}");
        }
    }

    #[test]
    fn urls_that_cannot_be_right_are_refused() {
        for url in [
            "redis://h?priority_steps=3,6",
            "redis://h?priority_steps=0,11",
            "redis://h?sep=",
            "redis://h?sep=123456789",
            "",
            "h:6379",
            "amqp://h",
            "redis://h/x",
            "redis://h/-1",
            "redis://h:99999",
            "redis://h/1?db=2",
            "redis://h?ssl_cert_reqs=none",
            "rediss://h?ssl_cert_reqs=perhaps",
            "rediss://h?ssl_version=3",
            "redis://h?unknown=1",
            "redis://h\r\n/0",
            "redis://h%0d%0a/0",
            "redis://a%3Eb",
            "redis://a%2541b",
            "redis://:p%00@h",
            "redis://a%ff@h",
        ] {
            assert!(RedisEndpoint::from_url(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_url() {
        let error = RedisEndpoint::from_url("redis://:hunter2@h:port/x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn identity_distinguishes_servers_and_not_passwords() {
        let name = |url| endpoint(url).identity();
        assert_eq!(name("redis://u:a@h/1"), name("redis://u:b@H:6379/1"));
        for other in [
            "redis://v:a@h/1",
            "redis://u:a@g/1",
            "redis://u:a@h:1/1",
            "redis://u:a@h/2",
            "rediss://u:a@h/1",
        ] {
            assert_ne!(name("redis://u:a@h/1"), name(other), "{other}");
        }
        // Results stored by other processes and older versions contain the name, so it must never
        // change.
        assert_eq!(
            name("redis://localhost"),
            "13de018f1afc7b7f602b1047bdb5032d"
        );
    }
}
