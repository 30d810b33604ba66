//! Durations as arguments: seconds, or a `DateInterval`.

use std::time::Duration;

use ext_php_rs::types::Zval;

use crate::ffi::call::Call;
use crate::ffi::invoke;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::values;

/// The longest time to accept: a year, far from any overflow.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// A time limit as an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// The argument is null or was not passed: the setting counts.
    Default,
    After(Duration),
    /// `INF`, where that is allowed.
    Endless,
}

impl Limit {
    /// Returns the time, with a year for a wait without limit.
    pub(crate) fn or(self, default: Duration) -> Duration {
        match self {
            Limit::Default => default,
            Limit::After(duration) => duration,
            Limit::Endless => Duration::from_secs_f64(LONGEST),
        }
    }
}

/// Reads a time limit that may be `INF`, of the type [`DURATION`](super::interfaces::DURATION).
pub(crate) fn wait(call: &Call<'_>, index: usize) -> Result<Limit, Thrown> {
    match seconds(call, index)? {
        None => Ok(Limit::Default),
        Some(f64::INFINITY) => Ok(Limit::Endless),
        Some(seconds) => limited(call, index, seconds).map(Limit::After),
    }
}

/// Reads a duration that has an end; `None` if the argument is null or was not passed.
pub(crate) fn duration(call: &Call<'_>, index: usize) -> Result<Option<Duration>, Thrown> {
    match seconds(call, index)? {
        None => Ok(None),
        Some(seconds) if seconds.is_finite() => limited(call, index, seconds).map(Some),
        Some(_) => Err(call.refuse(index, "must be finite")),
    }
}

fn limited(call: &Call<'_>, index: usize, seconds: f64) -> Result<Duration, Thrown> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(call.refuse(index, "must be greater than or equal to 0"));
    }
    Ok(Duration::from_secs_f64(seconds.min(LONGEST)))
}

/// Reads a number of seconds, whatever it is.
pub(crate) fn seconds(call: &Call<'_>, index: usize) -> Result<Option<f64>, Thrown> {
    let Some(given) = call.argument(index).map(Zval::shallow_clone) else {
        return Ok(None);
    };
    if given.is_object() {
        return of_interval(given).map(Some);
    }
    Ok(given.double())
}

/// Returns the seconds of a `DateInterval`, counted from now: a month has 28 to 31 days.
pub(crate) fn of_interval(interval: Zval) -> Result<f64, Thrown> {
    let utc = object::construct("DateTimeZone", &[value::string(b"UTC")])?;
    let now = object::construct("DateTimeImmutable", &[value::string(b"now"), utc])?;
    let then = match now.object() {
        Some(now) => invoke::method(now, "add", &[interval])?,
        None => return Ok(0.0),
    };
    Ok(since_epoch(&then)? - since_epoch(&now)?)
}

fn since_epoch(date: &Zval) -> Result<f64, Thrown> {
    let Some(date) = date.object() else {
        return Ok(0.0);
    };
    let text = invoke::method(date, "format", &[value::string(b"U.u")])?;
    let seconds = values::text(&text)?.and_then(|text| text.parse().ok());
    Ok(seconds.unwrap_or(0.0))
}
