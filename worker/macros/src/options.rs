//! The options in the brackets of `#[task(…)]`.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{LitBool, LitInt, LitStr, Result, Token};

/// The options as written; an omitted option is `None`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) max_retries: Option<MaxRetries>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) retry_backoff: Option<u32>,
    pub(crate) retry_backoff_max: Option<Duration>,
    /// Lists of the types of exceptions, by the method that takes them.
    pub(crate) types: Vec<(&'static str, Vec<LitStr>)>,
    /// Options that are `true` or `false`, by the method that takes them.
    pub(crate) flags: Vec<(&'static str, bool)>,
    /// The limits, and where they are written.
    pub(crate) soft_time_limit: Option<(Duration, Span)>,
    pub(crate) time_limit: Option<(Duration, Span)>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) fleet_rate_limit: Option<LitStr>,
    pub(crate) limit_by: Option<Argument>,
    pub(crate) unique: Option<LitStr>,
    /// The arguments that are compared. Empty: all.
    pub(crate) unique_by: Vec<Argument>,
    pub(crate) batch: Option<Batch>,
}

/// The option `max_retries`: a number, or `"unlimited"`.
#[derive(Clone, Copy)]
pub(crate) enum MaxRetries {
    Limited(u32),
    Unlimited,
}

/// A parameter's name, or an argument's position.
pub(crate) enum Argument {
    Name(LitStr),
    Position(usize),
}

/// The options that list types of exceptions.
const TYPES: [&str; 3] = ["autoretry_for", "dont_autoretry_for", "throws"];

/// The options that are `true` or `false`, and the methods that take them.
const FLAGS: [(&str, &[&str]); 9] = [
    ("acks_late", &["acks_late"]),
    ("acks_on_failure", &["acks_on_failure"]),
    ("acks_on_timeout", &["acks_on_timeout"]),
    (
        "acks_on_failure_or_timeout",
        &["acks_on_failure", "acks_on_timeout"],
    ),
    ("reject_on_worker_lost", &["reject_on_worker_lost"]),
    ("ignore_result", &["ignore_result"]),
    (
        "store_errors_even_if_ignored",
        &["store_errors_even_if_ignored"],
    ),
    ("track_started", &["track_started"]),
    ("retry_jitter", &["retry_jitter"]),
];

/// The option `batch(size = …, linger = …)`.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) size: Option<usize>,
    pub(crate) linger: Option<Duration>,
}

impl Options {
    pub(crate) fn parse(attributes: TokenStream) -> Result<Self> {
        let mut options = Options::default();
        let parser = syn::meta::parser(|meta| options.read(&meta));
        parser.parse2(attributes)?;
        options.check_limits()?;
        Ok(options)
    }

    /// Refuses a soft limit that the hard limit would never let pass, as Celery does.
    fn check_limits(&self) -> Result<()> {
        match (&self.soft_time_limit, &self.time_limit) {
            (Some((soft, place)), Some((hard, _))) if soft > hard => Err(syn::Error::new(
                *place,
                "soft_time_limit must be less than or equal to time_limit",
            )),
            _ => Ok(()),
        }
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("name") {
            let name = meta.value()?.parse::<LitStr>()?;
            if let Some(why) = unusable(&name.value()) {
                return Err(syn::Error::new(name.span(), why));
            }
            self.name = Some(name.value());
        } else if let Some(name) = TYPES.into_iter().find(|name| meta.path.is_ident(name)) {
            self.types.push((name, types(meta)?));
        } else if let Some((_, methods)) = FLAGS.iter().find(|(name, _)| meta.path.is_ident(name)) {
            let value = meta.value()?.parse::<LitBool>()?.value;
            self.flags
                .extend(methods.iter().map(|method| (*method, value)));
        } else if meta.path.is_ident("max_retries") {
            self.max_retries = Some(max_retries(meta)?);
        } else if meta.path.is_ident("retry_backoff") {
            self.retry_backoff = Some(retry_backoff(meta)?);
        } else if meta.path.is_ident("retry_backoff_max") {
            self.retry_backoff_max = Some(duration(meta)?);
        } else if meta.path.is_ident("retry_delay") {
            self.retry_delay = Some(duration(meta)?);
        } else if meta.path.is_ident("soft_time_limit") {
            self.soft_time_limit = Some(placed_duration(meta)?);
        } else if meta.path.is_ident("time_limit") {
            self.time_limit = Some(placed_duration(meta)?);
        } else if meta.path.is_ident("max_concurrency") {
            self.max_concurrency = Some(max_concurrency(meta)?);
        } else if meta.path.is_ident("fleet_rate_limit") {
            self.fleet_rate_limit = Some(rate(meta)?);
        } else if meta.path.is_ident("limit_by") {
            self.limit_by = Some(argument(meta.value()?)?);
        } else if meta.path.is_ident("unique") {
            self.unique = Some(unique(meta)?);
        } else if meta.path.is_ident("unique_by") {
            self.unique_by = unique_by(meta)?;
        } else if meta.path.is_ident("batch") {
            let mut batch = Batch::default();
            meta.parse_nested_meta(|meta| batch.read(&meta))?;
            self.batch = Some(batch);
        } else {
            return Err(meta.error(
                "expected name, max_retries, retry_delay, retry_backoff, retry_backoff_max, \
                retry_jitter, autoretry_for(…), dont_autoretry_for(…), throws(…), acks_late, \
                acks_on_failure, acks_on_timeout, acks_on_failure_or_timeout, \
                reject_on_worker_lost, ignore_result, store_errors_even_if_ignored, \
                track_started, soft_time_limit, time_limit, max_concurrency, fleet_rate_limit, \
                limit_by, unique, unique_by or batch(…)",
            ));
        }
        Ok(())
    }
}

impl Batch {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("size") {
            let size = meta.value()?.parse::<LitInt>()?;
            match size.base10_parse()? {
                0 => {
                    return Err(syn::Error::new(
                        size.span(),
                        "a batch holds at least one call",
                    ));
                }
                n => self.size = Some(n),
            }
        } else if meta.path.is_ident("linger") {
            self.linger = Some(duration(meta)?);
        } else {
            return Err(meta.error("expected size or linger"));
        }
        Ok(())
    }
}

/// Parses the types in the brackets of an option: `("OSError", "shop.Busy")`.
fn types(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let inner;
    let brackets = syn::parenthesized!(inner in meta.input);
    let types = Punctuated::<LitStr, Token![,]>::parse_terminated(&inner)?;
    if types.is_empty() {
        let message = "expected the name of an exception, such as \"OSError\"";
        return Err(syn::Error::new(brackets.span.join(), message));
    }
    Ok(types.into_iter().collect())
}

/// Parses the number of retries: `3`, or `"unlimited"`.
fn max_retries(meta: &ParseNestedMeta<'_>) -> Result<MaxRetries> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        let text = value.parse::<LitStr>()?;
        return match text.value().as_str() {
            "unlimited" => Ok(MaxRetries::Unlimited),
            _ => Err(syn::Error::new(
                text.span(),
                "expected a number or \"unlimited\"",
            )),
        };
    }
    let number = value.parse::<LitInt>()?;
    Ok(MaxRetries::Limited(number.base10_parse()?))
}

/// Parses the factor of a backoff: a number of seconds, or `true` for one.
fn retry_backoff(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let value = meta.value()?;
    if value.peek(LitBool) {
        let flag = value.parse::<LitBool>()?;
        if flag.value {
            return Ok(1);
        }
        return Err(syn::Error::new(flag.span(), "leave retry_backoff out"));
    }
    let number = value.parse::<LitInt>()?;
    match number.base10_parse()? {
        0 => Err(syn::Error::new(
            number.span(),
            "a backoff begins with at least one second",
        )),
        factor => Ok(factor),
    }
}

/// The most calls that a limit may let run at once.
const MOST_AT_ONCE: u32 = 10_000;

/// Parses the number of calls that run at once in all workers.
fn max_concurrency(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let number = meta.value()?.parse::<LitInt>()?;
    match number.base10_parse()? {
        calls @ 1..=MOST_AT_ONCE => Ok(calls),
        _ => Err(syn::Error::new(
            number.span(),
            format!("expected a number from 1 to {MOST_AT_ONCE}"),
        )),
    }
}

/// Parses a rate: `"10/s"`, `"100/m"`, `"3/h"`.
fn rate(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let text = meta.value()?.parse::<LitStr>()?;
    let value = text.value();
    let is_rate = value.split_once('/').is_some_and(|(tasks, unit)| {
        let number = tasks.parse::<f64>();
        number.is_ok_and(|number| number.is_finite() && number > 0.0)
            && ["s", "m", "h"].contains(&unit)
    });
    if is_rate {
        Ok(text)
    } else {
        Err(syn::Error::new(
            text.span(),
            "expected a rate such as \"10/s\", \"100/m\" or \"3/h\"",
        ))
    }
}

/// Parses an argument: `"tenant"`, or `0`.
fn argument(value: ParseStream<'_>) -> Result<Argument> {
    if value.peek(LitStr) {
        return Ok(Argument::Name(value.parse()?));
    }
    let position = value.parse::<LitInt>()?;
    Ok(Argument::Position(position.base10_parse()?))
}

/// Parses one argument, `unique_by = "order"`, or several, `unique_by("order", 1)`.
fn unique_by(meta: &ParseNestedMeta<'_>) -> Result<Vec<Argument>> {
    if meta.input.peek(Token![=]) {
        return Ok(vec![argument(meta.value()?)?]);
    }
    let inner;
    let brackets = syn::parenthesized!(inner in meta.input);
    let all = Punctuated::<Argument, Token![,]>::parse_terminated_with(&inner, argument)?;
    if all.is_empty() {
        let message = "expected an argument, such as \"order\" or 0";
        return Err(syn::Error::new(brackets.span.join(), message));
    }
    Ok(all.into_iter().collect())
}

/// Parses how long a call is unique: `"until_started"`, `"until_done"`, `"10m"`.
fn unique(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let text = meta.value()?.parse::<LitStr>()?;
    let value = text.value();
    let is_time = || parse_duration(&value).is_some_and(|time| !time.is_zero());
    if ["until_started", "until_done"].contains(&value.as_str()) || is_time() {
        return Ok(text);
    }
    Err(syn::Error::new(
        text.span(),
        "expected \"until_started\", \"until_done\" or a time such as \"10m\"",
    ))
}

/// The most bytes of a name: clients and workers refuse longer ones.
const MOST_NAME: usize = 255;

/// Returns why a text cannot be the name of a task.
fn unusable(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("a task needs a name")
    } else if name.len() > MOST_NAME {
        Some("a name has at most 255 bytes")
    } else if name.chars().any(char::is_control) {
        Some("a name has no control characters")
    } else {
        None
    }
}

/// Parses the value of an option that is a time: `"10s"`, `"5ms"`, `"2m"`, `"1h"`.
fn duration(meta: &ParseNestedMeta<'_>) -> Result<Duration> {
    Ok(placed_duration(meta)?.0)
}

/// Parses a time, and returns it with its place.
fn placed_duration(meta: &ParseNestedMeta<'_>) -> Result<(Duration, Span)> {
    let text = meta.value()?.parse::<LitStr>()?;
    let place = text.span();
    let time = parse_duration(&text.value());
    let wrong = || syn::Error::new(place, "expected a time such as \"10s\" or \"5ms\"");
    Ok((time.ok_or_else(wrong)?, place))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_hours(1)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
