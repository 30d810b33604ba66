//! kombu's transport options `priority_steps` and `sep`, which define the lists of a queue on
//! Redis.
//!
//! kombu keeps the messages of a queue in one list for each step. Every program that uses the queue
//! needs equal values of both; otherwise messages stay in lists that no worker reads.

use std::fmt;
use std::str::FromStr;

/// The highest priority that kombu knows. kombu treats a greater number like this one.
const LAST_PRIORITY: u8 = 9;
/// The most bytes in a separator. A longer one would only lengthen every key.
const MAX_SEPARATOR_BYTES: usize = 8;

/// An option that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorityError {
    /// The steps are not a list of numbers from 0 to 9.
    #[error("priority_steps is a list of numbers from 0 to {LAST_PRIORITY}, such as 0,3,6,9")]
    NotSteps,
    /// The first step is not 0.
    #[error("the first of the priority_steps must be 0, for messages of the most urgent priority")]
    NotFromZero,
    /// The steps do not ascend.
    #[error("the priority_steps must ascend, and none may come twice")]
    NotAscending,
    /// The separator is empty or too long.
    #[error("sep must have 1 to {MAX_SEPARATOR_BYTES} bytes")]
    SeparatorLength,
    /// The separator has a NUL byte, which no setting of PHP can hold.
    #[error("sep must not have a NUL byte")]
    SeparatorNul,
}

/// The priorities at which a new list of a queue begins, the most urgent first (`priority_steps`).
///
/// On Redis a lower number is more urgent, the reverse of RabbitMQ. Default: 0, 3, 6, 9.
///
/// ```
/// use celery_protocol::priorities::PrioritySteps;
/// let steps: PrioritySteps = "0, 5".parse()?;
/// assert_eq!([0, 4, 5, 9].map(|priority| steps.of(priority)), [0, 0, 5, 5]);
/// # Ok::<(), celery_protocol::priorities::PriorityError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrioritySteps(Vec<u8>);

impl PrioritySteps {
    /// Checks a list of steps.
    ///
    /// # Errors
    /// [`PriorityError`] if a step is not from 0 to 9, the first is not 0, or they do not ascend.
    /// kombu's search for the step of a priority needs all three.
    pub fn new(steps: impl IntoIterator<Item = i64>) -> Result<Self, PriorityError> {
        let mut checked: Vec<u8> = Vec::new();
        for step in steps {
            let step = u8::try_from(step)
                .ok()
                .filter(|step| *step <= LAST_PRIORITY);
            let step = step.ok_or(PriorityError::NotSteps)?;
            match checked.last() {
                None if step != 0 => return Err(PriorityError::NotFromZero),
                Some(last) if *last >= step => return Err(PriorityError::NotAscending),
                _ => checked.push(step),
            }
        }
        if checked.is_empty() {
            Err(PriorityError::NotSteps)
        } else {
            Ok(Self(checked))
        }
    }

    /// Returns the step whose list holds messages of this priority: the greatest step that is not
    /// above it.
    pub fn of(&self, priority: u8) -> u8 {
        let below = self.0.iter().rev().find(|step| **step <= priority);
        below.copied().unwrap_or(0)
    }

    /// Returns the steps, ascending.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Default for PrioritySteps {
    fn default() -> Self {
        Self(vec![0, 3, 6, 9])
    }
}

impl FromStr for PrioritySteps {
    type Err = PriorityError;

    /// Parses steps separated by commas.
    fn from_str(text: &str) -> Result<Self, PriorityError> {
        let steps: Result<Vec<i64>, _> = text.split(',').map(|step| step.trim().parse()).collect();
        Self::new(steps.map_err(|_| PriorityError::NotSteps)?)
    }
}

impl fmt::Display for PrioritySteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(u8::to_string).collect();
        f.write_str(&steps.join(","))
    }
}

/// The text between the parts of a name (`sep`). Default: the bytes 6 and 22, as kombu has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Separator(String);

impl Separator {
    /// Checks a separator.
    ///
    /// # Errors
    /// [`PriorityError`] if it has no byte, more than eight, or a NUL byte.
    pub fn new(text: impl Into<String>) -> Result<Self, PriorityError> {
        let text = text.into();
        if text.is_empty() || text.len() > MAX_SEPARATOR_BYTES {
            return Err(PriorityError::SeparatorLength);
        }
        if text.contains('\0') {
            return Err(PriorityError::SeparatorNul);
        }
        Ok(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Separator {
    fn default() -> Self {
        Self("\u{6}\u{16}".to_owned())
    }
}

impl FromStr for Separator {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        Self::new(text)
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Result<PrioritySteps, PriorityError> {
        text.parse()
    }

    #[test]
    fn priorities_fall_to_the_step_below() {
        let all = [0, 1, 2, 3, 4, 6, 8, 9, 255];
        for (text, expected) in [
            ("0,3,6,9", [0, 0, 0, 3, 3, 6, 6, 9, 9]),
            ("0,1,2,3,4,5,6,7,8,9", [0, 1, 2, 3, 4, 6, 8, 9, 9]),
            ("0,9", [0, 0, 0, 0, 0, 0, 0, 9, 9]),
            ("0", [0; 9]),
            (" 0 , 4 ", [0, 0, 0, 0, 4, 4, 4, 4, 4]),
        ] {
            let steps = steps(text).unwrap();
            assert_eq!(all.map(|priority| steps.of(priority)), expected, "{text}");
        }
        assert_eq!(PrioritySteps::default().to_string(), "0,3,6,9");
    }

    #[test]
    fn steps_that_kombu_could_not_search_are_refused() {
        for (text, error) in [
            ("", PriorityError::NotSteps),
            ("0,", PriorityError::NotSteps),
            ("0,x", PriorityError::NotSteps),
            ("0,10", PriorityError::NotSteps),
            ("0,-1", PriorityError::NotSteps),
            ("[0,9]", PriorityError::NotSteps),
            ("3,6", PriorityError::NotFromZero),
            ("0,6,3", PriorityError::NotAscending),
            ("0,3,3", PriorityError::NotAscending),
        ] {
            assert_eq!(steps(text), Err(error), "{text}");
        }
        assert_eq!(PrioritySteps::new([]), Err(PriorityError::NotSteps));
    }

    #[test]
    fn separators_have_one_to_eight_bytes() {
        for good in [":", "::", "\u{6}\u{16}", "€", "--------"] {
            assert_eq!(Separator::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "---------", "€€€"] {
            assert_eq!(Separator::new(bad), Err(PriorityError::SeparatorLength));
        }
        assert_eq!(Separator::new("a\0"), Err(PriorityError::SeparatorNul));
    }
}
