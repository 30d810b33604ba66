//! Celery-php's connection arguments as the endpoint of a broker or a result backend.
//!
//! The arguments may come from a framework's configuration. So null and the empty string always
//! count as not given, and numbers may be strings. Arguments that cannot be right are refused
//! before anything is sent, with a message that says what to write instead.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use celery_client::endpoint::{Endpoint, EndpointBuilder};
use celery_client::mask::{is_scheme, mask};
use celery_protocol::priorities::{PriorityError, PrioritySteps, Separator};
use ext_php_rs::types::Zval;

use super::{Connection, tls_options, with_settings};
use crate::ffi::call::Call;
use crate::ffi::throw::Thrown;
use crate::ffi::value::{self, Key};
use crate::settings;
use crate::values::{text, type_name};

/// The default port of celery-php, which is RabbitMQ's. With a Redis connector, or beside a URL, it
/// means that no port was given.
const DEFAULT_PORT_OF_CELERY_PHP: u16 = 5672;
/// The port of Redis. Without a connector it means that the connector was forgotten.
const PORT_OF_REDIS: u16 = 6379;

/// Connection arguments as given; only their types are checked.
#[derive(Default)]
pub(crate) struct Details {
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
    vhost: Option<String>,
    exchange: Option<String>,
    binding: Option<String>,
    port: Option<u16>,
    connector: Option<String>,
    /// Milliseconds.
    result_expire: Option<u64>,
    /// The TLS options, named as in PHP's `ssl` stream context. Booleans are `"1"` and `""`, null
    /// is `None`.
    ///
    /// Any entry requires TLS, even without a value: if the value was left out by mistake, the
    /// password must not be sent in the clear.
    ssl_options: Vec<(String, Option<String>)>,
    /// The `priority_steps` of kombu, accepted only in an array.
    priority_steps: Option<PrioritySteps>,
    /// The `sep` of kombu, accepted only in an array.
    separator: Option<Separator>,
}

impl Details {
    /// Reads the arguments of `Celery::__construct`; those of `Celery\Celery` lack
    /// `$persistent_messages`.
    pub(crate) fn from_arguments(
        call: &Call<'_>,
        persistent_messages: bool,
    ) -> Result<Self, Thrown> {
        // `$persistent_messages` (8) has no meaning.
        let result_expire = if persistent_messages { 9 } else { 8 };
        let names = [
            ("host", 0),
            ("login", 1),
            ("password", 2),
            ("vhost", 3),
            ("exchange", 4),
            ("binding", 5),
            ("port", 6),
            ("connector", 7),
        ];
        let mut details = Details::default();
        let last = [
            ("result_expire", result_expire),
            ("ssl_options", result_expire + 1),
        ];
        for (name, index) in names.into_iter().chain(last) {
            details.set(name, call.argument(index))?;
        }
        Ok(details)
    }

    /// Reads an array with celery-php's keys. Other keys are ignored, as in celery-php.
    pub(crate) fn from_array(value: Option<&Zval>, what: &str) -> Result<Self, Thrown> {
        let Some(array) = value.and_then(Zval::array) else {
            let given = value.map_or("nothing".to_owned(), type_name);
            return Err(Thrown::celery(format!(
                "{what} must be an array with the keys host, login, password, vhost, exchange, binding, port and connector; \
                 {given} given."
            )));
        };
        let mut details = Details::default();
        for name in [
            "host",
            "login",
            "password",
            "vhost",
            "exchange",
            "binding",
            "port",
            "connector",
            "result_expire",
            "ssl_options",
            "priority_steps",
            "sep",
        ] {
            details.set(name, array.get(name).map(Zval::dereference))?;
        }
        Ok(details)
    }

    fn set(&mut self, name: &str, value: Option<&Zval>) -> Result<(), Thrown> {
        let Some(value) = value else { return Ok(()) };
        match name {
            "ssl_options" => self.ssl_options = ssl_options(value)?,
            "priority_steps" => self.priority_steps = priority_steps(value)?,
            "sep" => self.separator = separator(value)?,
            "port" => self.port = port(value)?,
            // As in celery-php, 0 and what is not a number mean that the argument was not given.
            "result_expire" => {
                let millis = text(value)?.and_then(|text| text.trim().parse().ok());
                self.result_expire = millis.filter(|&millis| millis > 0);
            }
            _ => {
                let text = given_text(name, value)?;
                match name {
                    "host" => self.host = text,
                    "login" => self.login = text,
                    "password" => self.password = text,
                    "vhost" => self.vhost = text,
                    "exchange" => self.exchange = text,
                    "binding" => self.binding = text,
                    _ => self.connector = text,
                }
            }
        }
        Ok(())
    }

    /// Checks all arguments and returns the connection, without connecting. Without a host, the
    /// broker in php.ini is used. For a result backend, `default_prefix` is that of its broker.
    pub(crate) fn connect_later(
        &self,
        default_prefix: Option<String>,
    ) -> Result<Rc<Connection>, Thrown> {
        let (endpoint, is_assumed) = if let Some(host) = &self.host {
            self.endpoint(host, "")?
        } else {
            let Some(url) = settings::broker_url() else {
                return Err(Thrown::celery(
                    "No broker is configured: $host is empty and the directive celery.broker_url is not \
                     set.",
                ));
            };
            Connection::configured("celery.broker_url", Endpoint::from_url(&url), None)?;
            self.endpoint(&url, " beside the directive celery.broker_url")?
        };
        Ok(Rc::new(Connection {
            endpoint: with_settings(endpoint, default_prefix)?,
            exchange: self.exchange.clone(),
            binding: self.binding.clone(),
            reply_expires: self.result_expire.map(Duration::from_millis),
            is_assumed,
        }))
    }

    /// Returns the endpoint of the arguments, with `host` in place of the first argument, and
    /// whether it is a RabbitMQ because no connector was given. In errors, `beside` says where the
    /// host came from.
    fn endpoint(&self, host: &str, beside: &str) -> Result<(Endpoint, bool), Thrown> {
        let kind = self.kind(host)?;
        let is_url = host.contains("://");
        let mut builder = Endpoint::builder().host(host);
        if kind.is_rabbitmq {
            builder = builder.rabbitmq();
        }
        let is_default = |port| port == DEFAULT_PORT_OF_CELERY_PHP && (is_url || !kind.is_rabbitmq);
        if let Some(port) = self.port.filter(|&port| !is_default(port)) {
            builder = builder.port(port);
        }
        if let Some(login) = &self.login {
            builder = builder.login(login.as_str());
        }
        if let Some(password) = &self.password {
            builder = builder.password(password.as_str());
        }
        if let Some(vhost) = &self.vhost {
            builder = builder.vhost(vhost.as_str());
        }
        if let Some(steps) = &self.priority_steps {
            builder = builder.priority_steps(steps.clone());
        }
        if let Some(separator) = &self.separator {
            builder = builder.separator(separator.clone());
        }
        if kind.uses_tls && !is_url {
            builder = builder.tls();
        }
        tls_options(&self.ssl_options, builder)
            .and_then(EndpointBuilder::build)
            .map(|endpoint| (endpoint, kind.is_assumed))
            .map_err(|error| {
                Thrown::celery(format!(
                    "These connection arguments cannot be used{beside}: {error}."
                ))
            })
    }

    /// Returns the kind of server that connector, host and port mean. A connector must agree with
    /// the scheme of a URL.
    fn kind(&self, host: &str) -> Result<Kind, Thrown> {
        let options = !self.ssl_options.is_empty();
        let scheme = host
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let scheme = scheme.as_deref().filter(|scheme| is_scheme(scheme));
        let connector = self.connector.as_deref().map(str::to_ascii_lowercase);
        let connector = connector.as_deref();
        let (is_rabbitmq, uses_tls) = match connector {
            None => return self.kind_without_connector(host, scheme),
            Some("redis") => (false, options),
            Some("rediss") => (false, true),
            Some("pecl" | "php-amqplib" | "amqp" | "pyamqp") => (true, options),
            Some("php-amqplib-ssl" | "amqps") => (true, true),
            Some(other) => {
                return Err(Thrown::celery(format!(
                    "The connector {:?} is unknown. For RabbitMQ it is 'amqp' or 'amqps' (or celery-php's 'pecl', \
                     'php-amqplib' or 'php-amqplib-ssl'), for Redis 'redis' or 'rediss'.",
                    without_secret(other)
                )));
            }
        };
        let agrees = |scheme: &str| {
            scheme.contains("amqp") == is_rabbitmq
                && (matches!(scheme, "rediss" | "rediss+cluster" | "amqps") || !uses_tls || options)
        };
        if let Some(scheme) = scheme.filter(|scheme| !agrees(scheme)) {
            return Err(Thrown::celery(format!(
                "The connector '{}' contradicts the URL of the broker, whose scheme is {scheme}. Leave the connector \
                 out, or write a URL that agrees with it.",
                connector.unwrap_or_default()
            )));
        }
        Ok(Kind {
            is_rabbitmq,
            uses_tls,
            is_assumed: false,
        })
    }

    /// Returns the kind of server if no connector was given: that of a URL; a Redis behind a path;
    /// otherwise a RabbitMQ, as in celery-php.
    fn kind_without_connector(&self, host: &str, scheme: Option<&str>) -> Result<Kind, Thrown> {
        let uses_tls = !self.ssl_options.is_empty();
        let is_place = scheme.is_none() && !host.contains("://") && !host.starts_with('/');
        if is_place && self.port == Some(PORT_OF_REDIS) {
            return Err(Thrown::celery(
                "No connector was given, which means RabbitMQ, as in celery-php, and the port 6379 is that of Redis. \
                 For Redis pass the connector 'redis' (or 'rediss' for TLS), for example new Celery('localhost', '', \
                 '', 0, 'celery', 'celery', 6379, 'redis'), or a URL such as redis://localhost:6379/0 as the host. For \
                 RabbitMQ at this port pass the connector 'amqp'.",
            ));
        }
        Ok(Kind {
            is_rabbitmq: is_place || scheme.is_some_and(|scheme| scheme.contains("amqp")),
            uses_tls,
            is_assumed: is_place,
        })
    }
}

/// A kind of server, and how it is spoken to.
struct Kind {
    is_rabbitmq: bool,
    uses_tls: bool,
    /// Whether it is a RabbitMQ because no connector was given.
    is_assumed: bool,
}

/// Returns an argument as given, or masked if it may be a misplaced URL.
fn without_secret(text: &str) -> Cow<'_, str> {
    if text.contains([':', '@']) {
        mask(text).into()
    } else {
        text.into()
    }
}

/// Returns a text or number as text; null, false and '' count as not given.
fn given_text(name: &str, value: &Zval) -> Result<Option<String>, Thrown> {
    if value.is_null() || value.is_false() {
        return Ok(None);
    }
    match text(value)? {
        Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        None => Err(Thrown::celery(format!(
            "The connection argument {name} must be a string of valid UTF-8, {} given.",
            type_name(value)
        ))),
    }
}

fn port(value: &Zval) -> Result<Option<u16>, Thrown> {
    let Some(text) = given_text("port", value)? else {
        return Ok(None);
    };
    match text.trim().parse::<u16>() {
        // Some configurations write 0 together with a unix socket.
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(Thrown::celery(format!(
            "The port must be a number from 1 to 65535, {:?} given.",
            without_secret(&text)
        ))),
    }
}

/// Reads a list of numbers, or text with commas between them; null and false count as not given.
fn priority_steps(value: &Zval) -> Result<Option<PrioritySteps>, Thrown> {
    let steps = match value.array() {
        None => match given_text("priority_steps", value)? {
            Some(text) => text.parse(),
            None => return Ok(None),
        },
        Some(array) => {
            // Only numbers and texts are read, so that no PHP code runs while the array is read.
            let number = |step: &Zval| match step.long() {
                Some(number) => Some(number),
                None => std::str::from_utf8(value::bytes(step)?)
                    .ok()?
                    .trim()
                    .parse()
                    .ok(),
            };
            let numbers: Option<Vec<i64>> =
                array.values().map(Zval::dereference).map(number).collect();
            numbers.map_or(Err(PriorityError::NotSteps), PrioritySteps::new)
        }
    };
    steps.map(Some).map_err(unusable)
}

fn separator(value: &Zval) -> Result<Option<Separator>, Thrown> {
    let text = given_text("sep", value)?;
    let separator = text.map(Separator::new).transpose();
    separator.map_err(unusable)
}

fn unusable(error: PriorityError) -> Thrown {
    Thrown::celery(format!(
        "These connection arguments cannot be used: {error}."
    ))
}

/// Reads TLS options, named as in PHP's `ssl` stream context.
pub(crate) fn ssl_options(value: &Zval) -> Result<Vec<(String, Option<String>)>, Thrown> {
    if value.is_null() || value.is_false() {
        return Ok(Vec::new());
    }
    if !value.is_array() {
        return Err(Thrown::celery(format!(
            "The connection argument ssl_options must be an array, {} given.",
            type_name(value)
        )));
    }
    let mut options = Vec::new();
    let problem = value::find_in_array(value, |key, value| {
        let name = match key {
            Key::Name(name) => String::from_utf8_lossy(name).into_owned(),
            Key::Index(index) => index.to_string(),
        };
        let given = if value.is_null() {
            Some(None)
        } else if value.is_bool() {
            Some(Some(if value.is_true() { "1" } else { "" }.to_owned()))
        } else {
            match text(value) {
                Ok(text) => text.map(Some),
                Err(thrown) => return Some(thrown),
            }
        };
        match given {
            Some(given) => {
                options.push((name, given));
                None
            }
            None => Some(Thrown::celery(format!(
                "The TLS option {name:?} must be a string or a bool, {} given.",
                type_name(value)
            ))),
        }
    });
    problem.map_or(Ok(options), Err)
}
