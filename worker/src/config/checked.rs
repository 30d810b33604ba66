//! Checks the value of a setting by its type, and writes it as in a file.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use celery_client::Endpoint;
use celery_client::mask::{mask, mask_misplaced};
use celery_client::redis::RedisEndpoint;
use celery_protocol::compression::Compression;
use celery_protocol::duration;
use celery_protocol::priorities::{PrioritySteps, Separator};
use celery_protocol::serializer::Serializer;

use super::given::{Given, Steps};
use super::setting::Setting;
use super::value::{ConfigError, Text};
use crate::broker::{QueueOrder, RPC, Results};
use crate::consumer::{RouteError, Routes};
use crate::database::Zone;
use crate::task::Rate;
use crate::trace::{Collector, Pairs, Ratio};

/// The value of a setting in force.
pub(crate) trait Checked: Sized {
    /// The value as a source gives it.
    type Given: Given;

    /// Checks the value. The error says only what is wrong; the caller adds the setting's name.
    fn check(given: Self::Given) -> Result<Self, String>;

    /// Returns the value as a file has it, or `None` if it need not be written.
    fn written(&self) -> Option<String>;

    /// Returns `true` if an optional setting counts as not set.
    fn is_unset(_given: &Self::Given) -> bool {
        false
    }
}

/// A condition that a value must meet in addition to its type. The error says only what is wrong.
pub(super) type Check<V> = fn(&V) -> Result<(), String>;

/// Checks the value of a setting by its type, and then with each of the checks.
pub(super) fn checked<V: Checked>(
    setting: &Setting,
    given: V::Given,
    checks: &[Check<V>],
) -> Result<V, ConfigError> {
    let value = V::check(given).map_err(|cause| ConfigError::new(setting, cause))?;
    for check in checks {
        check(&value).map_err(|cause| ConfigError::new(setting, cause))?;
    }
    Ok(value)
}

/// Refuses times under a second.
pub(super) fn at_least_a_second(time: &Duration) -> Result<(), String> {
    if *time < Duration::from_secs(1) {
        return Err("less than 1s".to_owned());
    }
    Ok(())
}

/// Refuses times under a second, except zero. Redis counts in whole seconds: less than one would be
/// rounded to 0, which means without limit.
pub(super) fn zero_or_a_second(time: &Duration) -> Result<(), String> {
    if !time.is_zero() && *time < Duration::from_secs(1) {
        return Err("neither 0 nor at least 1s".to_owned());
    }
    Ok(())
}

/// Refuses like [`zero_or_a_second`], unless the setting is missing.
#[expect(clippy::ref_option, reason = "the type of the setting")]
pub(super) fn none_zero_or_a_second(time: &Option<Duration>) -> Result<(), String> {
    time.as_ref().map_or(Ok(()), zero_or_a_second)
}

/// Refuses numbers outside the range.
pub(super) fn within(number: usize, range: &RangeInclusive<usize>) -> Result<(), String> {
    if !range.contains(&number) {
        let (least, most) = (range.start(), range.end());
        return Err(format!("{number} is not between {least} and {most}"));
    }
    Ok(())
}

/// Refuses zero.
#[expect(clippy::ref_option, reason = "the type of the setting")]
pub(super) fn at_least_one(number: &Option<usize>) -> Result<(), String> {
    match number {
        Some(0) => Err("less than 1".to_owned()),
        _ => Ok(()),
    }
}

/// Refuses numbers that are not priorities of Celery.
#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "the type of the setting"
)]
pub(super) fn a_priority(priority: &Option<u8>) -> Result<(), String> {
    match priority {
        Some(priority @ 10..) => Err(format!("{priority} is not between 0 and 9")),
        _ => Ok(()),
    }
}

/// Refuses a prefix of keys with control characters.
#[expect(clippy::ref_option, reason = "the type of the setting")]
pub(super) fn no_control_character(prefix: &Option<String>) -> Result<(), String> {
    match prefix {
        Some(prefix) if prefix.chars().any(char::is_control) => {
            Err("it has a control character".to_owned())
        }
        _ => Ok(()),
    }
}

/// Refuses an empty list of queues.
#[expect(clippy::ptr_arg, reason = "the type of the setting")]
pub(super) fn a_queue(queues: &Vec<String>) -> Result<(), String> {
    if queues.is_empty() {
        return Err("at least one queue is needed".to_owned());
    }
    Ok(())
}

/// Returns a text as a file has it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Returns a list of texts as a file has it.
pub(super) fn listed(texts: Vec<String>) -> String {
    toml::Value::from(texts).to_string()
}

impl<V: Checked> Checked for Option<V> {
    type Given = V::Given;

    fn check(given: V::Given) -> Result<Self, String> {
        if V::is_unset(&given) {
            return Ok(None);
        }
        V::check(given).map(Some)
    }

    fn written(&self) -> Option<String> {
        self.as_ref()?.written()
    }
}

/// A value that is taken as it is given.
macro_rules! as_given {
    ($type:ty, |$value:ident| $written:expr) => {
        impl Checked for $type {
            type Given = $type;

            fn check(given: $type) -> Result<Self, String> {
                Ok(given)
            }

            fn written(&self) -> Option<String> {
                let $value = self;
                Some($written)
            }
        }
    };
}

as_given!(u8, |number| number.to_string());
as_given!(usize, |number| number.to_string());
as_given!(bool, |switch| switch.to_string());
as_given!(String, |text| quoted(text));
as_given!(Vec<String>, |texts| listed(texts.clone()));
as_given!(BTreeMap<String, u32>, |weights| {
    let weights = weights.iter();
    let weights = weights.map(|(queue, weight)| format!("{} = {weight}", quoted(queue)));
    format!("{{ {} }}", weights.collect::<Vec<_>>().join(", "))
});

as_given!(BTreeMap<String, String>, |queues| {
    let queues = queues.iter();
    let queues = queues.map(|(queue, key)| format!("{} = {}", quoted(queue), quoted(key)));
    format!("{{ {} }}", queues.collect::<Vec<_>>().join(", "))
});

impl Checked for PathBuf {
    type Given = PathBuf;

    fn check(given: PathBuf) -> Result<Self, String> {
        Ok(given)
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }

    fn is_unset(given: &PathBuf) -> bool {
        given.as_os_str().is_empty()
    }
}

impl Checked for NonZeroU16 {
    type Given = u16;

    fn check(given: u16) -> Result<Self, String> {
        NonZeroU16::new(given).ok_or_else(|| "at least one is needed".to_owned())
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Checked for Duration {
    type Given = Text;

    fn check(given: Text) -> Result<Self, String> {
        duration::parse(&given.to_string()).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&format!("{}s", self.as_secs_f64())))
    }
}

impl Checked for Rate {
    type Given = Text;

    fn check(given: Text) -> Result<Self, String> {
        let rate = Rate::parse(&given.to_string()).map_err(|error| error.to_string())?;
        rate.ok_or_else(|| "write 0 for no limit".to_owned())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn is_unset(given: &Text) -> bool {
        matches!(Rate::parse(&given.to_string()), Ok(None))
    }
}

impl Checked for Endpoint {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        Endpoint::from_url(&given).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.display_url()))
    }
}

impl Checked for Arc<RedisEndpoint> {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        RedisEndpoint::from_url(&given)
            .map(Arc::new)
            .map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.display_url()))
    }
}

impl Checked for Results {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.as_str() {
            "" => Ok(Results::Broker),
            "disabled" | "disabled://" => Ok(Results::Disabled),
            "rpc" | RPC => Ok(Results::Replies),
            url => RedisEndpoint::from_url(url)
                .map(|server| Results::Server(Arc::new(server)))
                .map_err(|error| error.of_result_backend().to_string()),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            Results::Server(server) => server.written(),
            Results::Replies => Some(quoted(RPC)),
            Results::Disabled => Some(quoted("disabled")),
            Results::Broker => None,
        }
    }
}

/// The URL of a database, which may contain a password.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseUrl(String);

impl Deref for DatabaseUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Checked for DatabaseUrl {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match crate::database::check_url(&given) {
            Ok(()) => Ok(DatabaseUrl(given)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&mask(self)))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

impl Checked for Zone {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        given
            .parse()
            .map_err(|error: crate::database::ZoneError| error.to_string())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

impl Checked for QueueOrder {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.as_str() {
            "round_robin" => Ok(QueueOrder::RoundRobin),
            "sorted" => Ok(QueueOrder::Sorted),
            "priority" => Ok(QueueOrder::Priority),
            other => Err(format!(
                "{other:?} is not one of round_robin, sorted, priority"
            )),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            QueueOrder::RoundRobin => None,
            order => Some(quoted(strategy_name(order))),
        }
    }
}

/// Returns kombu's word for an order of queues. Weights, which are a setting of their own, serve
/// each queue in its turn.
pub(super) fn strategy_name(order: &QueueOrder) -> &'static str {
    match order {
        QueueOrder::RoundRobin | QueueOrder::Weighted(_) => "round_robin",
        QueueOrder::Sorted => "sorted",
        QueueOrder::Priority => "priority",
    }
}

impl Checked for PrioritySteps {
    type Given = Steps;

    fn check(given: Steps) -> Result<Self, String> {
        let steps = match given {
            Steps::Written(text) => text.parse(),
            Steps::Listed(steps) => PrioritySteps::new(steps),
        };
        steps.map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        let steps: Vec<String> = self.as_slice().iter().map(u8::to_string).collect();
        Some(format!("[{}]", steps.join(", ")))
    }
}

impl Checked for Separator {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        Separator::new(given).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

impl Checked for Routes {
    type Given = Result<Routes, RouteError>;

    fn check(given: Self::Given) -> Result<Self, String> {
        given.map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }
}

/// The URL of a collector of OpenTelemetry.
impl Checked for Collector {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        if cfg!(not(feature = "otlp")) {
            return Err("this worker was built without the feature `otlp`".to_owned());
        }
        Collector::parse(&given)
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

impl Checked for Pairs {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        Pairs::parse(&given)
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

/// Pairs whose values may be secret.
#[derive(Clone, Debug)]
pub(crate) struct Headers(pub(crate) Pairs);

impl Checked for Headers {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        Pairs::parse(&given).map(Headers)
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.0.masked()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

impl Checked for Ratio {
    type Given = Text;

    fn check(given: Text) -> Result<Self, String> {
        let share = given.to_string().parse();
        share
            .map_err(|_| "not a number".to_owned())
            .and_then(Ratio::new)
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Celery's `result_serializer`.
impl Checked for Serializer {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        serializer(&given)
    }

    fn written(&self) -> Option<String> {
        Some(quoted(self.name()))
    }
}

/// Celery's `result_compression`.
impl Checked for Compression {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        Compression::from_name(given.trim())
            .ok_or_else(|| format!("{given:?} is not one of gzip, bzip2, lzma, zstd, brotli"))
    }

    fn written(&self) -> Option<String> {
        Some(quoted(self.name()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}

/// Returns the serializer of this name or content type.
fn serializer(name: &str) -> Result<Serializer, String> {
    Serializer::from_name(name.trim()).ok_or_else(|| {
        if name.contains("pickle") {
            "pickle is never accepted: it runs code that the sender chooses".to_owned()
        } else {
            format!("{name:?} is not one of json, msgpack, yaml")
        }
    })
}

/// Celery's `accept_content`: names of serializers, or content types.
impl Checked for Vec<Serializer> {
    type Given = Vec<String>;

    fn check(given: Vec<String>) -> Result<Self, String> {
        if given.is_empty() {
            return Err("at least one is needed".to_owned());
        }
        given.iter().map(|name| serializer(name)).collect()
    }

    fn written(&self) -> Option<String> {
        let names = self.iter().map(|it| it.name().to_owned());
        Some(listed(names.collect()))
    }
}

/// An address with its port. A port alone means that port on loopback.
impl Checked for SocketAddr {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        let port = given.strip_prefix(':').unwrap_or(&given);
        if let Ok(port) = port.parse::<u16>() {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        given.parse().map_err(|_| {
            let shown = mask_misplaced(&given);
            format!("{shown:?} is not an address such as 127.0.0.1:9808, nor a port")
        })
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn is_unset(given: &String) -> bool {
        given.is_empty()
    }
}
