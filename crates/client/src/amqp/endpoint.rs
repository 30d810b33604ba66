//! The endpoint of a RabbitMQ as a checked value, read from a URL in Celery's form.
//!
//! The schemes are `amqp://`, `pyamqp://` and, with TLS, `amqps://`. What the URL leaves out is as
//! in kombu: `guest:guest@localhost:5672//`. The virtual host follows the first slash and may
//! begin with a slash itself. All parts are percent-decoded.
//!
//! Several URLs with `;` between them are a list: the nodes of a cluster. As in kombu, a client uses
//! one of them, and tries the others in turn if it cannot be reached. Each has its own login and
//! parameters.
//!
//! Parameters are `heartbeat` (seconds; 0, the default, switches heartbeats off), `login_method`
//! (`PLAIN`, or `EXTERNAL` for a login by the client's certificate) and Celery's `ssl_…`.
//! Parameters that tune py-amqp's sockets are ignored; any other parameter is an error.

mod list;

use std::fmt;
use std::path::Path;

use url::Url;

use crate::endpoint::address::Address;
use crate::endpoint::parts::{
    check, decode, encode, host_name, identity, masked_login, password, username,
};
use crate::endpoint::tls_options::TlsOptions;
use crate::endpoint::url::UrlText;
use crate::error::ConfigError;
use crate::mask::cuts_login;
use crate::secret::Secret;

/// The schemes of URLs of a RabbitMQ.
pub(crate) const AMQP_SCHEMES: [&str; 3] = ["amqp", "pyamqp", "amqps"];
/// The port of RabbitMQ if none is given.
pub(crate) const DEFAULT_PORT: u16 = 5672;
/// The port of RabbitMQ with TLS if none is given.
pub(crate) const DEFAULT_TLS_PORT: u16 = 5671;
/// The user and the password that RabbitMQ has at first, and that kombu takes if none is given.
const GUEST: &str = "guest";
/// The longest name of a virtual host, because AMQP counts its bytes in one.
const MAX_VHOST: usize = 255;

/// Parameters of py-amqp and other clients that are ignored, because a URL may be shared with them.
/// They have no meaning here: every call has its own deadline.
const PASSED_OVER: [&str; 5] = [
    "channel_max",
    "connect_timeout",
    "connection_timeout",
    "frame_max",
    "socket_timeout",
];

/// The address of a RabbitMQ, the login to it, and the virtual host.
///
/// ```
/// use celery_client::amqp::AmqpEndpoint;
///
/// let endpoint = AmqpEndpoint::from_url("amqp://worker:secret@mq.local/shop")?;
/// assert_eq!(endpoint.display_url(), "amqp://worker:********@mq.local:5672/shop");
/// # Ok::<(), celery_client::error::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpEndpoint {
    pub(crate) address: Address,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) username: String,
    pub(crate) password: Secret,
    /// `true` if the client's certificate is the login.
    external: bool,
    pub(crate) vhost: String,
    heartbeat: u16,
    /// The other servers of a list.
    pub(crate) others: Vec<AmqpEndpoint>,
}

impl AmqpEndpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ConfigError`] says what cannot be used. It never repeats the URL, which may hold a
    /// password.
    pub fn from_url(text: &str) -> Result<Self, ConfigError> {
        Self::read(&UrlText::split(text)?)
    }

    pub(crate) fn read(url: &UrlText<'_>) -> Result<Self, ConfigError> {
        if url.is_list() {
            return Self::read_list(url.text());
        }
        let secure = match url.scheme() {
            "amqp" | "pyamqp" => false,
            "amqps" => true,
            _ => return Err(url.unknown_scheme()),
        };
        if cuts_login(url.rest()) {
            return Err(ConfigError::NotEncoded);
        }
        Self::read_rest(url.rest(), secure)
    }

    fn read_rest(rest: &str, secure: bool) -> Result<Self, ConfigError> {
        const NOT_A_URL: ConfigError = ConfigError::Value {
            name: "URL",
            reason: "it is not a URL of RabbitMQ, such as amqp://user:password@host:5672/vhost",
        };
        // The scheme is `redis` for all, because the URL standard has no special rules for it.
        let url = Url::parse(&format!("redis://{rest}")).map_err(|_| NOT_A_URL)?;
        let host = match url.host_str() {
            None | Some("") => "localhost".to_owned(),
            Some(host) => host_name(&decode("host", host)?)?,
        };
        let default_port = if secure {
            DEFAULT_TLS_PORT
        } else {
            DEFAULT_PORT
        };
        let path = decode("path", url.path())?;
        let vhost = path.strip_prefix('/').unwrap_or(&path);
        let address = Address::Tcp {
            host,
            port: url.port().unwrap_or(default_port),
        };
        let tls = secure.then(TlsOptions::default);
        let mut endpoint = Self::of(address, tls, self::vhost(vhost)?);
        if let Some(username) = username(&url)? {
            endpoint.username = username;
        }
        if let Some(password) = password(&url)? {
            endpoint.password = password;
        }
        for (name, value) in url.query_pairs() {
            check("URL", &value)?;
            endpoint.set_parameter(&name, &value)?;
        }
        Ok(endpoint)
    }

    /// Returns an endpoint with the login that RabbitMQ has at first.
    pub(crate) fn of(address: Address, tls: Option<TlsOptions>, vhost: String) -> Self {
        Self {
            address,
            tls,
            username: GUEST.to_owned(),
            password: Secret::new(GUEST),
            external: false,
            vhost,
            heartbeat: 0,
            others: Vec::new(),
        }
    }

    /// Returns host and port.
    pub(crate) fn host_and_port(&self) -> String {
        let (host, port) = self.place();
        format!("{}:{port}", bracketed(host))
    }

    fn set_parameter(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        match name {
            "heartbeat" => {
                self.heartbeat = value.parse().map_err(|_| ConfigError::Value {
                    name: "heartbeat",
                    reason: "it is a number of seconds, at most 65535",
                })?;
            }
            "login_method" => {
                self.external = match value.to_ascii_uppercase().as_str() {
                    "PLAIN" => false,
                    "EXTERNAL" => true,
                    _ => {
                        return Err(ConfigError::Value {
                            name: "login_method",
                            reason: "it must be PLAIN or EXTERNAL",
                        });
                    }
                };
            }
            name if name.starts_with("ssl_") => {
                let tls = self.tls.as_mut().ok_or(ConfigError::Contradiction {
                    what: "ssl_ parameters in a URL that is not amqps://",
                })?;
                tls.set_parameter(name, value)?;
            }
            name if PASSED_OVER.contains(&name) => {}
            name => {
                return Err(ConfigError::UnknownOption {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Returns the address to connect to: of a list, that of its first server.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the TLS options if the connection uses TLS.
    pub fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// Sets the authority to trust if the endpoint uses TLS and names none.
    #[must_use]
    pub fn with_default_ca_file(mut self, file: &Path) -> Self {
        let others = self.others.iter_mut().map(|other| &mut other.tls);
        for tls in std::iter::once(&mut self.tls).chain(others).flatten() {
            tls.set_default_ca_file(file);
        }
        self
    }

    /// Returns the user.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Returns the password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// Returns `true` if the client's certificate is the login, and not user and password.
    pub fn is_external(&self) -> bool {
        self.external
    }

    /// Returns the virtual host.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Returns the interval of heartbeats in seconds; 0 switches them off.
    pub fn heartbeat(&self) -> u16 {
        self.heartbeat
    }

    /// Returns a name for this connection: a hash of scheme, host, port, virtual host and user. It
    /// is equal in every process and for every password. The order of a list does not matter.
    pub fn identity(&self) -> String {
        let mut names: Vec<String> = self.hosts().map(Self::identity_of_one).collect();
        if names.len() == 1 {
            return names.remove(0);
        }
        names.sort_unstable();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        identity(&names)
    }

    fn identity_of_one(&self) -> String {
        let (host, port) = self.place();
        let parts = [self.scheme(), &host.to_ascii_lowercase(), &port];
        identity(&[&parts[..], &[&self.vhost, &self.username]].concat())
    }

    /// Returns the URL with a masked password, for messages and logs. Of a list, it returns all URLs.
    pub fn display_url(&self) -> String {
        let urls: Vec<String> = self.hosts().map(Self::display_url_of_one).collect();
        urls.join(";")
    }

    /// Returns the URL of the first server of a list.
    pub(crate) fn display_url_of_one(&self) -> String {
        let vhost = match &*self.vhost {
            "/" => "/".to_owned(),
            vhost => encode(vhost),
        };
        let login = masked_login(Some(&self.username), true);
        let place = self.host_and_port();
        format!("{}://{login}{place}/{vhost}", self.scheme())
    }

    fn place(&self) -> (&str, String) {
        match &self.address {
            Address::Tcp { host, port } => (host, port.to_string()),
            // No URL of RabbitMQ leads here.
            Address::Unix(_) => ("", String::new()),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "amqps" } else { "amqp" }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// Returns the name of a virtual host, whose default is `/`.
///
/// # Errors
/// [`ConfigError`] for a name that AMQP cannot carry.
pub(crate) fn vhost(name: &str) -> Result<String, ConfigError> {
    check("virtual host", name)?;
    if name.len() > MAX_VHOST {
        return Err(ConfigError::Value {
            name: "virtual host",
            reason: "it is longer than 255 bytes",
        });
    }
    Ok(if name.is_empty() { "/" } else { name }.to_owned())
}

impl fmt::Display for AmqpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url())
    }
}

impl fmt::Debug for AmqpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpEndpoint")
            .field("url", &self.display_url())
            .field("tls", &self.tls)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> AmqpEndpoint {
        AmqpEndpoint::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn absent_parts_are_those_of_kombu() {
        for (url, shown) in [
            ("amqp://", "amqp://guest:********@localhost:5672//"),
            ("AMQP://h", "amqp://guest:********@h:5672//"),
            ("pyamqp://h/", "amqp://guest:********@h:5672//"),
            ("amqp://h//", "amqp://guest:********@h:5672//"),
            ("amqp://h/%2F", "amqp://guest:********@h:5672//"),
            ("amqp://h/%2f\n", "amqp://guest:********@h:5672//"),
            ("amqp://u@h:1/shop", "amqp://u:********@h:1/shop"),
            (
                "amqp://u:p@[::1]//shop",
                "amqp://u:********@[::1]:5672/%2Fshop",
            ),
            (
                "amqps://u:p@h/a%20b%2Fc",
                "amqps://u:********@h:5671/a%20b%2Fc",
            ),
        ] {
            let read = endpoint(url);
            assert_eq!(read.display_url(), shown, "{url}");
            let again = endpoint(&read.display_url());
            assert_eq!(again.vhost(), read.vhost(), "{url}");
            assert_eq!(again.identity(), read.identity(), "{url}");
        }
        let plain = endpoint("amqp://h");
        assert_eq!(
            (plain.username(), plain.password().reveal()),
            ("guest", "guest")
        );
        assert_eq!((plain.heartbeat(), plain.is_external()), (0, false));
    }

    #[test]
    fn parts_are_decoded_and_the_password_is_masked() {
        let read = endpoint("amqp://us%40er:p%2Fa%3Ass@h/v%3A1?heartbeat=30");
        assert_eq!(read.username(), "us@er");
        assert_eq!(read.password().reveal(), "p/a:ss");
        assert_eq!((read.vhost(), read.heartbeat()), ("v:1", 30));
        assert!(!format!("{read:?} {read}").contains("a:ss"));
    }

    #[test]
    fn parameters_of_tls_and_of_the_login() {
        let read = endpoint("amqps://h?ssl_ca_certs=/ca.pem&login_method=external&frame_max=1");
        let ca = read.tls().and_then(|tls| tls.ca_file.clone());
        assert_eq!(ca.as_deref(), Some(std::path::Path::new("/ca.pem")));
        assert!(read.is_external());
    }

    #[test]
    fn urls_that_cannot_be_right_are_refused() {
        for url in [
            "",
            "h:5672",
            "redis://h",
            "amqp+tls://h",
            "amqp://h:port",
            "amqp://h:99999",
            "amqp://a;b",
            "amqp://a;",
            "amqp://a;redis://b",
            "amqp://a;amqp://b?unknown=1",
            "amqp://a,b//",
            "amqp://u:p#w@h",
            "amqp://u:p/w@h//",
            "amqp://h%0d%0a",
            "amqp://h/%00",
            "amqp://h/%ff",
            "amqp://h?heartbeat=-1",
            "amqp://h?heartbeat=70000",
            "amqp://h?heartbeat=",
            "amqp://h?login_method=AMQPLAIN",
            "amqp://h?ssl_ca_certs=/ca.pem",
            "amqps://h?ssl_version=3",
            "amqp://h?unknown=1",
            "'amqp://h'",
        ] {
            let error = AmqpEndpoint::from_url(url).unwrap_err();
            assert!(
                !error.to_string().contains("Redis") || url.len() < 8,
                "{url}: {error}"
            );
        }
        let long = format!("amqp://h/{}", "v".repeat(256));
        assert!(AmqpEndpoint::from_url(&long).is_err());
        let error = AmqpEndpoint::from_url("amqp://u:hunter2@h:port").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn identity_distinguishes_servers_and_not_passwords() {
        let name = |url| endpoint(url).identity();
        let one = name("amqp://u:a@h/v");
        assert_eq!(one, name("amqp://u:b@H:5672/v?heartbeat=9"));
        for other in [
            "amqp://w:a@h/v",
            "amqp://u:a@g/v",
            "amqp://u:a@h:1/v",
            "amqp://u:a@h/w",
            "amqp://u:a@h//v",
            "amqps://u:a@h:5672/v",
        ] {
            assert_ne!(one, name(other), "{other}");
        }
    }
}
