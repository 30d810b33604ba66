//! `RetryPolicy`: how often a post is repeated, and after which pauses.

use std::time::Duration;

use ext_php_rs::types::Zval;

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, optional};
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;

pub(crate) const NAME: &str = "Celery\\RetryPolicy";

/// The slots of the properties.
const MAX_RETRIES: usize = 0;
const INTERVAL_START: usize = 1;
const INTERVAL_STEP: usize = 2;
const INTERVAL_MAX: usize = 3;

/// The longest pause: a day, far from any overflow.
const LONGEST: f64 = 24.0 * 3600.0;

/// The policy as the client uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// `None`: until the deadline.
    pub(crate) max_retries: Option<u64>,
    interval_start: f64,
    interval_step: f64,
    interval_max: f64,
}

/// Celery's `task_publish_retry_policy`.
const DEFAULT: RetryPolicy = RetryPolicy {
    max_retries: Some(3),
    interval_start: 0.0,
    interval_step: 0.2,
    interval_max: 1.0,
};

impl Default for RetryPolicy {
    fn default() -> Self {
        DEFAULT
    }
}

impl RetryPolicy {
    /// Returns the policy in an object of the class.
    pub(crate) fn of(value: &Zval) -> Option<Self> {
        let object = value.object()?;
        let seconds = |number| object::get(object, number).double().unwrap_or(0.0);
        Some(RetryPolicy {
            max_retries: object::get(object, MAX_RETRIES)
                .long()
                .map(|count| u64::try_from(count).unwrap_or(0)),
            interval_start: seconds(INTERVAL_START),
            interval_step: seconds(INTERVAL_STEP),
            interval_max: seconds(INTERVAL_MAX),
        })
    }

    /// Returns the pause before a repetition; the first is 0. As in kombu, it grows by the step up
    /// to the longest.
    pub(crate) fn pause(&self, repetition: u32) -> Duration {
        let grown = self
            .interval_step
            .mul_add(repetition.into(), self.interval_start);
        Duration::from_secs_f64(grown.min(self.interval_max).clamp(0.0, LONGEST))
    }
}

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::closed(NAME)
        .having([
            Property::readonly("maxRetries", Type::INT.nullable()),
            Property::readonly("intervalStart", Type::FLOAT),
            Property::readonly("intervalStep", Type::FLOAT),
            Property::readonly("intervalMax", Type::FLOAT),
        ])
        .with([method(
            "__construct",
            handler!(construct),
            [
                optional("maxRetries", "3").typed(Type::INT.nullable()),
                optional("intervalStart", "0.0").typed(Type::FLOAT),
                optional("intervalStep", "0.2").typed(Type::FLOAT),
                optional("intervalMax", "1.0").typed(Type::FLOAT),
            ],
        )])
        .declare()?;
    Ok(())
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut count = Zval::new();
    count.set_long(3);
    let max_retries = call.argument(0).map_or(count, Zval::shallow_clone);
    if max_retries.long().is_some_and(|count| count < 0) {
        return Err(call.refuse(0, "must be greater than or equal to 0"));
    }
    let mut intervals = [0.0, 0.2, 1.0];
    for (index, interval) in intervals.iter_mut().enumerate() {
        if let Some(given) = call.argument(index + 1).and_then(Zval::double) {
            if !given.is_finite() || given < 0.0 {
                return Err(call.refuse(index + 1, "must be a finite number of at least 0"));
            }
            *interval = given;
        }
    }
    let object = call.object()?;
    if !object::is_blank(object, MAX_RETRIES) {
        return Err(object::is_constructed());
    }
    object::init(object, MAX_RETRIES, max_retries);
    for (number, interval) in [INTERVAL_START, INTERVAL_STEP, INTERVAL_MAX]
        .into_iter()
        .zip(intervals)
    {
        let mut value = Zval::new();
        value.set_double(interval);
        object::init(object, number, value);
    }
    Ok(())
}
