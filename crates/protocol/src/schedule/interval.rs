//! A time that passes between two due times.

/// The shortest interval in milliseconds. Each due time is a call to the broker.
const SHORTEST: i64 = 100;
/// The longest interval in milliseconds: a hundred years.
const LONGEST: i64 = 36_525 * 24 * 60 * 60 * 1_000;

/// A time that passes between two due times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    every: i64,
    relative: bool,
}

impl Interval {
    /// Makes an interval of milliseconds. A `relative` one is rounded down to the clock.
    ///
    /// # Errors
    /// A sentence, if the interval is too short or too long.
    pub fn new(every: i64, relative: bool) -> Result<Self, String> {
        if (SHORTEST..=LONGEST).contains(&every) {
            Ok(Interval { every, relative })
        } else {
            Err("an interval is between 0.1 s and 36525 days".to_owned())
        }
    }

    /// Returns the interval rounded to the clock.
    #[must_use]
    pub fn relative(self) -> Self {
        Interval {
            relative: true,
            ..self
        }
    }

    /// Returns its length in milliseconds.
    pub fn every(self) -> i64 {
        self.every
    }

    /// Returns `true` if it is rounded to the clock.
    pub fn is_relative(self) -> bool {
        self.relative
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_limits() {
        for wrong in [i64::MIN, -1, 0, 99, LONGEST + 1, i64::MAX] {
            assert!(Interval::new(wrong, false).is_err(), "{wrong}");
        }
        for right in [100, LONGEST] {
            assert!(Interval::new(right, true).is_ok());
        }
    }
}
