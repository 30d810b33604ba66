//! Reads times as people write them in settings: `10s`, `5ms`, `2m`, `1h`, `7d`, or plain seconds
//! as in Celery's options.

use std::time::Duration;

/// The longest time, a hundred years: adding it to any clock does not overflow.
pub const LONGEST: Duration = Duration::from_hours(36_525 * 24);

/// A text that is not a time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a time; write for example 30, 1.5s, 500ms, 2m or 1h, and at most 36525d")]
pub struct DurationError(String);

/// Reads a time.
///
/// # Errors
/// [`DurationError`] if the text is not a time, or a longer one than [`LONGEST`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let text = text.trim();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, millis) in [
            ("10s", 10_000),
            ("5ms", 5),
            ("1h", 3_600_000),
            ("3600", 3_600_000),
            ("1.5", 1_500),
            ("2m", 120_000),
            ("1d", 86_400_000),
            ("36525d", 3_155_760_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1", "1 s", "1y", "1e3", "36526d", "9999999999s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
