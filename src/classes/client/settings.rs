//! The settings of a client as arguments of its constructor and of `with()`.

use std::rc::Rc;
use std::time::Duration;

use celery_protocol::compression::Compression;
use celery_protocol::glob::Glob;
use celery_protocol::message::Protocol;
use celery_protocol::names;
use celery_protocol::serializer::Serializer;
use ext_php_rs::types::Zval;

use crate::classes::exceptions::INVALID_CONFIGURATION;
use crate::classes::interfaces::DURATION;
use crate::classes::retry_policy::RetryPolicy;
use crate::classes::{durations, enums};
use crate::client::{Backend, Config};
use crate::connection::{self, Connection, Extras, SentinelExtras};
use crate::ffi::call::Call;
use crate::ffi::class::{Param, optional};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};
use crate::settings::{self, Publish};

/// The settings of a client that is being made.
pub(crate) struct Draft {
    pub(crate) config: Config,
    /// An array.
    pub(crate) routes: Zval,
    /// An array, a closure or null.
    pub(crate) headers: Zval,
}

/// The places of the constructor's own parameters; the common ones begin after the backend.
const BROKER: usize = 0;
const BACKEND: usize = 1;
const COMMON: usize = 2;
const REPLICAS: usize = COMMON + 6;
const KEY_PREFIX: usize = 18;
const RESULT_KEY_PREFIX: usize = 19;
const MASTER_NAME: usize = 20;
const SENTINEL_USER: usize = 21;
const SENTINEL_PASSWORD: usize = 22;
const TLS: usize = 23;
const NAME: usize = 24;

/// The schemes of the URLs of a list.
const LISTS: [&[&str]; 4] = [
    &["sentinel"],
    &["redis+cluster"],
    &["rediss+cluster"],
    &["amqp", "amqps", "pyamqp"],
];

/// Returns the parameters that the constructor shares with `with()`.
fn common(routes: Param) -> Vec<Param> {
    let duration = |name| optional(name, "null").typed(DURATION.nullable());
    let of = |name, of: Type| optional(name, "null").typed(of.nullable());
    let or_text = |class| Type::class(class).or(Type::STRING);
    vec![
        of("queue", Type::STRING),
        routes,
        of("serializer", or_text("Celery\\Serializer")),
        of("compression", or_text("Celery\\Compression")),
        of("publish", or_text("Celery\\PublishMode")),
        of("retryPolicy", Type::class("Celery\\RetryPolicy")),
        of("replicas", Type::INT),
        of("protocol", Type::INT),
        of("priority", Type::INT),
        of("ignoreResult", Type::BOOL),
        of("headers", Type::class("Closure").or(Type::ARRAY)),
        of("timezone", Type::class("DateTimeZone")),
        duration("connectTimeout"),
        duration("postTimeout"),
        duration("commandTimeout"),
        duration("resultTimeout"),
    ]
}

/// Returns the parameters of the constructor.
pub(super) fn parameters() -> Vec<Param> {
    let text = |name| optional(name, "null").typed(Type::STRING.nullable());
    let server = Type::STRING.or(Type::ARRAY).nullable();
    let mut all = vec![
        optional("broker", "null").typed(server).sensitive(),
        optional("backend", "null")
            .typed(Type::class("PDO").or(server))
            .sensitive(),
    ];
    all.extend(common(optional("routes", "[]").typed(Type::ARRAY)));
    all.extend([
        text("keyPrefix"),
        text("resultKeyPrefix"),
        text("masterName"),
        text("sentinelUser"),
        text("sentinelPassword").sensitive(),
        optional("tls", "null")
            .typed(Type::ARRAY.nullable())
            .sensitive(),
        text("name"),
        optional("sentEvents", "false").typed(Type::BOOL),
    ]);
    all
}

/// Returns the parameters of `with()`.
pub(super) fn parameters_of_copy() -> Vec<Param> {
    let routes = optional("routes", "null").typed(Type::ARRAY.nullable());
    let mut all = common(routes);
    all.extend([
        optional("name", "null").typed(Type::STRING.nullable()),
        optional("sentEvents", "null").typed(Type::BOOL.nullable()),
    ]);
    all
}

/// Reads the arguments of the constructor.
pub(super) fn read(call: &Call<'_>) -> Result<Draft, Thrown> {
    let sentinel = SentinelExtras {
        master: text(call, MASTER_NAME)?,
        user: text(call, SENTINEL_USER)?,
        password: text(call, SENTINEL_PASSWORD)?,
    };
    let tls = match given(call, TLS) {
        Some(tls) => crate::connection::details::ssl_options(tls)?,
        None => Vec::new(),
    };
    let broker = Extras {
        key_prefix: text(call, KEY_PREFIX)?,
        default_prefix: None,
        tls,
        sentinel,
    };
    let mut backend = Extras {
        key_prefix: text(call, RESULT_KEY_PREFIX)?,
        default_prefix: None,
        tls: broker.tls.clone(),
        sentinel: broker.sentinel.clone(),
    };
    let broker = connect(call, BROKER, &broker)?;
    backend.default_prefix = broker.prefix_of_results();
    let has_sentinels = broker.has_sentinels();
    let results = self::backend(call, &broker, &backend)?;
    let config = Config::of(broker, results);
    check_rabbitmq(call, &config)?;
    let results = match &config.backend {
        Backend::Other(results) => results.has_sentinels(),
        Backend::Broker | Backend::Disabled => false,
    };
    if !backend.sentinel.is_empty() && !has_sentinels && !results {
        return Err(unusable(
            "$masterName, $sentinelUser and $sentinelPassword need a URL sentinel://…",
        ));
    }
    let mut draft = Draft {
        config,
        routes: value::list([])?,
        headers: Zval::null(),
    };
    change_common(call, COMMON, &mut draft)?;
    change_name(call, NAME, &mut draft)?;
    Ok(draft)
}

/// Refuses settings that only Redis has.
fn check_rabbitmq(call: &Call<'_>, config: &Config) -> Result<(), Thrown> {
    if config.broker.is_rabbitmq() && given(call, REPLICAS).is_some() {
        return Err(unusable(
            "replicas is a setting for Redis. With RabbitMQ, the type of the queue decides how many nodes have a \
             message before it is confirmed.",
        ));
    }
    Ok(())
}

/// Changes the settings by the arguments of `with()`.
pub(super) fn change(call: &Call<'_>, draft: &mut Draft) -> Result<(), Thrown> {
    change_common(call, 0, draft)?;
    change_name(call, KEY_PREFIX - COMMON, draft)
}

/// Changes the settings by the arguments of `FakeClient`'s constructor.
pub(crate) fn change_fake(call: &Call<'_>, draft: &mut Draft) -> Result<(), Thrown> {
    change_places(call, 0, draft)?;
    if let Some(serializer) = given(call, 2) {
        draft.config.serializer = Some(self::serializer(call, 2, serializer)?);
    }
    if let Some(protocol) = given(call, 3).and_then(Zval::long) {
        draft.config.protocol = Some(self::protocol(call, 3, protocol)?);
    }
    Ok(())
}

/// Changes the queue and the routes.
fn change_places(call: &Call<'_>, first: usize, draft: &mut Draft) -> Result<(), Thrown> {
    if let Some(queue) = text(call, first)? {
        if let Err(error) = names::check_queue_name(&queue) {
            return Err(call.refuse(first, &format!("cannot be used: {error}")));
        }
        draft.config.queue = Some(queue);
    }
    if let Some(routes) = given(call, first + 1) {
        check_routes(call, first + 1, routes)?;
        draft.routes = routes.shallow_clone();
    }
    Ok(())
}

/// Returns an argument that is not null.
fn given<'a>(call: &Call<'a>, index: usize) -> Option<&'a Zval> {
    call.argument(index).filter(|value| !value.is_null())
}

fn text(call: &Call<'_>, index: usize) -> Result<Option<String>, Thrown> {
    let Some(bytes) = given(call, index).and_then(value::bytes) else {
        return Ok(None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(call.refuse(index, "must be valid UTF-8")),
    }
}

/// Returns the broker: that of the argument, or that of php.ini.
fn connect(call: &Call<'_>, index: usize, extras: &Extras) -> Result<Rc<Connection>, Thrown> {
    let url = match given(call, index) {
        Some(server) => url(call, index, server)?,
        None => settings::broker_url().ok_or_else(|| {
            unusable(
                "No broker is configured: $broker is null and the directive celery.broker_url is \
                 not set.",
            )
        })?,
    };
    Connection::of_url(&url, extras)
        .map_err(|why| unusable(&format!("The broker cannot be used: {why}.")))
}

fn backend(call: &Call<'_>, broker: &Connection, extras: &Extras) -> Result<Backend, Thrown> {
    let url = match given(call, BACKEND) {
        Some(pdo) if pdo.is_object() => {
            return Err(unusable(
                "A PDO connection as result backend is not supported yet.",
            ));
        }
        Some(server) => url(call, BACKEND, server)?,
        None => match settings::result_backend() {
            Some(url) => url,
            None => return Ok(Backend::Broker),
        },
    };
    if url == "disabled" {
        return Ok(Backend::Disabled);
    }
    let cannot = |why: &str| unusable(&format!("The result backend cannot be used: {why}."));
    if connection::is_rpc(&url) {
        connection::check_rpc(broker).map_err(cannot)?;
        return Ok(Backend::Broker);
    }
    let backend = Connection::of_url(&url, extras).map_err(|why| cannot(&why))?;
    let backend = backend.backend_beside(broker).map_err(cannot)?;
    Ok(backend.map_or(Backend::Broker, Backend::Other))
}

/// Returns the URL of an argument, which may be a list: one URL, or those of several Sentinels, or of
/// the nodes of a Redis Cluster or of a RabbitMQ.
fn url(call: &Call<'_>, index: usize, server: &Zval) -> Result<String, Thrown> {
    let list = value::elements(server).unwrap_or(std::slice::from_ref(server));
    let urls = list.iter().map(|url| value::bytes(url.dereference()));
    let urls = urls.map(|url| url.and_then(|url| std::str::from_utf8(url).ok()));
    let Some(urls) = urls.collect::<Option<Vec<_>>>() else {
        return Err(call.refuse(index, "must be a URL or a list of URLs"));
    };
    let all_of = |schemes: &[&str]| {
        urls.iter().all(|url| {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme.trim());
            let is = |one: &&str| scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(one));
            schemes.iter().any(is)
        })
    };
    match urls.as_slice() {
        [only] => Ok((*only).to_owned()),
        [_, ..] if LISTS.iter().any(|schemes| all_of(schemes)) => Ok(urls.join(";")),
        [_, ..] => Err(unusable(
            "A list of URLs is one of Sentinels, of nodes of a Redis Cluster, or of RabbitMQs of one cluster. Name one \
             server.",
        )),
        [] => Err(call.refuse(index, "must be a URL or a list of URLs")),
    }
}

fn change_common(call: &Call<'_>, first: usize, draft: &mut Draft) -> Result<(), Thrown> {
    change_places(call, first, draft)?;
    let config = &mut draft.config;
    if let Some(serializer) = given(call, first + 2) {
        config.serializer = Some(self::serializer(call, first + 2, serializer)?);
    }
    if let Some(compression) = given(call, first + 3) {
        config.compression = Some(self::compression(call, first + 3, compression)?);
    }
    if let Some(mode) = given(call, first + 4) {
        config.publish = Some(publish(call, first + 4, mode)?);
    }
    if let Some(retry) = given(call, first + 5) {
        config.retry = RetryPolicy::of(retry);
    }
    if let Some(replicas) = given(call, first + 6).and_then(Zval::long) {
        let replicas = u32::try_from(replicas);
        let refused = |_| call.refuse(first + 6, "must be a number of replicas");
        config.replicas = Some(replicas.map_err(refused)?);
    }
    if let Some(protocol) = given(call, first + 7).and_then(Zval::long) {
        config.protocol = Some(self::protocol(call, first + 7, protocol)?);
    }
    if let Some(priority) = given(call, first + 8).and_then(Zval::long) {
        config.priority = Some(self::priority(call, first + 8, priority)?);
    }
    if let Some(ignore) = given(call, first + 9).and_then(Zval::bool) {
        config.ignore_result = Some(ignore);
    }
    if let Some(headers) = given(call, first + 10) {
        draft.headers = headers.shallow_clone();
    }
    if let Some(zone) = given(call, first + 11) {
        let zone = zone.shallow_clone();
        let name = match zone.object() {
            Some(zone) => crate::ffi::invoke::method(zone, "getName", &[])?,
            None => Zval::null(),
        };
        draft.config.timezone = crate::values::text(&name)?;
    }
    let config = &mut draft.config;
    let times: [&mut Option<Duration>; 4] = [
        &mut config.connect_timeout,
        &mut config.post_timeout,
        &mut config.command_timeout,
        &mut config.result_timeout,
    ];
    for (index, time) in times.into_iter().enumerate() {
        if let Some(given) = durations::duration(call, first + 12 + index)? {
            *time = Some(given);
        }
    }
    Ok(())
}

fn change_name(call: &Call<'_>, first: usize, draft: &mut Draft) -> Result<(), Thrown> {
    if let Some(name) = text(call, first)? {
        draft.config.name = Some(name);
    }
    if let Some(sent) = given(call, first + 1).and_then(Zval::bool) {
        draft.config.sent_events = sent;
    }
    Ok(())
}

/// Reads a serializer.
pub(crate) fn serializer(
    call: &Call<'_>,
    index: usize,
    given: &Zval,
) -> Result<Serializer, Thrown> {
    let name = enums::text(given).unwrap_or_default();
    Serializer::from_name(&name)
        .ok_or_else(|| call.refuse(index, "must be \"json\", \"msgpack\" or \"yaml\""))
}

/// Reads a compression.
pub(crate) fn compression(
    call: &Call<'_>,
    index: usize,
    given: &Zval,
) -> Result<Compression, Thrown> {
    let name = enums::text(given).unwrap_or_default();
    Compression::from_name(&name).ok_or_else(|| {
        call.refuse(
            index,
            "must be \"gzip\", \"bzip2\", \"xz\", \"zstd\", \"brotli\" or an alias of Celery's",
        )
    })
}

/// Reads the mode of a post.
pub(crate) fn publish(call: &Call<'_>, index: usize, given: &Zval) -> Result<Publish, Thrown> {
    match enums::text(given).as_deref() {
        Some("confirmed") => Ok(Publish::Confirmed),
        Some("once") => Ok(Publish::Once),
        Some("pipelined") => Ok(Publish::Pipelined),
        _ => Err(call.refuse(index, "must be \"confirmed\", \"once\" or \"pipelined\"")),
    }
}

/// Reads the version of the task protocol.
pub(crate) fn protocol(call: &Call<'_>, index: usize, given: i64) -> Result<Protocol, Thrown> {
    match given {
        1 => Ok(Protocol::V1),
        2 => Ok(Protocol::V2),
        _ => Err(call.refuse(index, "must be 1 or 2")),
    }
}

/// Reads a priority.
pub(crate) fn priority(call: &Call<'_>, index: usize, given: i64) -> Result<u8, Thrown> {
    u8::try_from(given).map_err(|_| call.refuse(index, "must be between 0 and 255"))
}

/// Checks the types of the routes. Their values are read when a task is posted.
fn check_routes(call: &Call<'_>, index: usize, routes: &Zval) -> Result<(), Thrown> {
    let wrong = value::find_in_array(routes, |key, route| {
        let is_glob = match key {
            Key::Name(name) => std::str::from_utf8(name).is_ok_and(|name| Glob::new(name).is_ok()),
            Key::Index(_) => false,
        };
        let is_route = route.is_string()
            || route.is_array()
            || route
                .object()
                .is_some_and(|object| object.get_class_name().is_ok_and(|name| name == "Closure"));
        (!is_glob || !is_route).then_some(())
    });
    match wrong {
        None => Ok(()),
        Some(()) => Err(call.refuse(
            index,
            "must map globs of task names to queues, arrays of options, or closures",
        )),
    }
}

pub(super) fn unusable(why: &str) -> Thrown {
    Thrown::new(INVALID_CONFIGURATION, why)
}

/// Returns the settings that may be shown. Passwords are masked.
pub(super) fn shown(config: &Config) -> Vec<(&'static str, Zval)> {
    let text = |text: &str| value::string(text.as_bytes());
    let seconds = |time: Duration| {
        let mut value = Zval::new();
        value.set_double(time.as_secs_f64());
        value
    };
    let backend = match &config.backend {
        Backend::Broker if config.broker.is_rabbitmq() => text("rpc://"),
        Backend::Broker => text(&config.broker.endpoint.display_url()),
        Backend::Other(backend) => text(&backend.endpoint.display_url()),
        Backend::Disabled => text("disabled"),
    };
    let mut all = vec![
        ("broker", text(&config.broker.endpoint.display_url())),
        ("backend", backend),
    ];
    let texts = [
        ("queue", config.queue.as_deref()),
        ("serializer", config.serializer.map(Serializer::name)),
        ("timezone", config.timezone.as_deref()),
        ("name", config.name.as_deref()),
    ];
    all.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, text(value?)))),
    );
    let times = [
        ("connectTimeout", config.connect_timeout),
        ("postTimeout", config.post_timeout),
        ("commandTimeout", config.command_timeout),
        ("resultTimeout", config.result_timeout),
    ];
    all.extend(
        times
            .into_iter()
            .filter_map(|(name, time)| Some((name, seconds(time?)))),
    );
    all
}
