//! Reads the value of a setting from the command line, the environment or a file, before anything
//! is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgMatches, value_parser};
use serde::{Deserialize, Deserializer};

use super::value::Text;
use crate::consumer::{RouteError, Routes};

/// A value as a source gives it. `Deserialize` defines how a file writes it; the methods here
/// define how the command line and the environment do.
pub(crate) trait Given: Sized {
    /// The form of a default in the declaration.
    type Default;

    /// Makes the value of a default.
    fn of_default(default: Self::Default) -> Self;

    /// Tells an option how to read its value.
    fn reads(argument: Arg) -> Arg;

    /// Takes the value that the command line or the environment gives.
    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self>;

    /// Returns the texts in which a URL may stand by mistake.
    fn texts(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Priority steps: a list in the file; elsewhere text, with commas between the steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Steps {
    Written(String),
    Listed(Vec<i64>),
}

impl Given for String {
    type Default = &'static str;

    fn of_default(default: &'static str) -> Self {
        default.to_owned()
    }

    fn reads(argument: Arg) -> Arg {
        argument.value_parser(value_parser!(String))
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        matches.remove_one(name)
    }

    fn texts(&self) -> Vec<String> {
        vec![self.clone()]
    }
}

/// A time.
impl Given for Text {
    type Default = &'static str;

    fn of_default(default: &'static str) -> Self {
        Text::Written(default.to_owned())
    }

    fn reads(argument: Arg) -> Arg {
        String::reads(argument)
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        String::take(matches, name).map(Text::Written)
    }

    fn texts(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl Given for Steps {
    type Default = &'static str;

    fn of_default(default: &'static str) -> Self {
        Steps::Written(default.to_owned())
    }

    fn reads(argument: Arg) -> Arg {
        String::reads(argument)
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        String::take(matches, name).map(Steps::Written)
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Steps::Written(text) => vec![text.clone()],
            Steps::Listed(_) => Vec::new(),
        }
    }
}

impl Given for PathBuf {
    type Default = &'static str;

    fn of_default(default: &'static str) -> Self {
        default.into()
    }

    fn reads(argument: Arg) -> Arg {
        argument.value_parser(path())
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        matches.remove_one(name)
    }

    fn texts(&self) -> Vec<String> {
        vec![self.to_string_lossy().into_owned()]
    }
}

/// A value that clap reads and that contains no text.
macro_rules! plain {
    ($type:ty, $reads:expr) => {
        impl Given for $type {
            type Default = $type;

            fn of_default(default: $type) -> Self {
                default
            }

            fn reads(argument: Arg) -> Arg {
                let reads: fn(Arg) -> Arg = $reads;
                reads(argument)
            }

            fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
                matches.remove_one(name)
            }
        }
    };
}

plain!(u8, |argument| argument.value_parser(value_parser!(u8)));
plain!(u16, |argument| argument.value_parser(value_parser!(u16)));
plain!(usize, |argument| argument
    .value_parser(value_parser!(usize)));
// `--option` alone means `true`.
plain!(bool, |argument| {
    argument
        .value_parser(value_parser!(bool))
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
});

impl Given for Vec<String> {
    type Default = &'static str;

    fn of_default(default: &'static str) -> Self {
        default.split(',').map(str::to_owned).collect()
    }

    fn reads(argument: Arg) -> Arg {
        list(argument, value_parser!(String))
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        matches.remove_many(name).map(Iterator::collect)
    }

    fn texts(&self) -> Vec<String> {
        // A URL with commas was split at them.
        vec![self.join(",")]
    }
}

/// Weights of queues.
impl Given for BTreeMap<String, u32> {
    type Default = std::convert::Infallible;

    fn of_default(default: Self::Default) -> Self {
        match default {}
    }

    fn reads(argument: Arg) -> Arg {
        list(argument, weight)
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        let weights = matches.remove_many::<(String, u32)>(name)?;
        Some(weights.collect())
    }

    fn texts(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// The keys of fair queues.
impl Given for BTreeMap<String, String> {
    type Default = std::convert::Infallible;

    fn of_default(default: Self::Default) -> Self {
        match default {}
    }

    fn reads(argument: Arg) -> Arg {
        list(argument, fair_queue)
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        let queues = matches.remove_many::<(String, String)>(name)?;
        Some(queues.collect())
    }

    fn texts(&self) -> Vec<String> {
        self.iter()
            .flat_map(|(queue, key)| [queue.clone(), key.clone()])
            .collect()
    }
}

impl Given for Result<Routes, RouteError> {
    type Default = std::convert::Infallible;

    fn of_default(default: Self::Default) -> Self {
        match default {}
    }

    fn reads(argument: Arg) -> Arg {
        list(argument, route)
    }

    fn take(matches: &mut ArgMatches, name: &str) -> Option<Self> {
        matches
            .remove_many::<(String, String)>(name)
            .map(Routes::new)
    }

    fn texts(&self) -> Vec<String> {
        vec![match self {
            Ok(routes) => routes.to_string(),
            Err(error) => error.to_string(),
        }]
    }
}

/// Reads a path, which may be empty: in Celery, an empty path turns the file off. clap's own parser
/// refuses it.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Reads a list with commas between its members. An option that is given again adds to the list.
fn list(argument: Arg, parser: impl Into<ValueParser>) -> Arg {
    argument
        .value_parser(parser.into())
        .value_delimiter(',')
        .action(clap::ArgAction::Append)
}

/// Parses a number of slots: `auto` is the number of cores, within the process's CPU quota.
pub(super) fn slots(text: &str) -> Result<usize, std::num::ParseIntError> {
    match text {
        "auto" => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        number => number.parse(),
    }
}

/// Reads a number of slots, or `auto`, from a file.
pub(super) fn read_slots<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or auto")]
    enum Slots {
        Number(usize),
        Word(String),
    }
    match Slots::deserialize(deserializer)? {
        Slots::Number(slots) => Ok(Some(slots)),
        Slots::Word(word) => slots(&word)
            .map(Some)
            .map_err(|_| serde::de::Error::custom("expected a number or auto")),
    }
}

/// Parses `queue=weight`.
fn weight(text: &str) -> Result<(String, u32), String> {
    let parts = text.rsplit_once('=');
    parts
        .and_then(|(queue, weight)| Some((queue.to_owned(), weight.parse().ok()?)))
        .ok_or_else(|| "write queue=weight".to_owned())
}

/// Parses `queue=argument`.
fn fair_queue(text: &str) -> Result<(String, String), String> {
    let parts = text.rsplit_once('=');
    let parts = parts.map(|(queue, argument)| (queue.to_owned(), argument.to_owned()));
    parts.ok_or_else(|| "write queue=argument".to_owned())
}

/// Parses `pattern=queue` and checks that the route can be used.
fn route(text: &str) -> Result<(String, String), String> {
    let (pattern, queue) = text.split_once('=').ok_or("write pattern=queue")?;
    let route = (pattern.to_owned(), queue.to_owned());
    Routes::new([route.clone()]).map_err(|error| error.to_string())?;
    Ok(route)
}
