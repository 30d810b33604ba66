//! Publisher confirms: which publications of a channel the broker has answered.
//!
//! A channel counts its publications from 1 once confirms are on. The broker answers each number
//! once, singly or, with `multiple`, together with all lower ones.

use std::collections::VecDeque;

use super::error::AmqpError;

/// The publications of a channel without an answer.
#[derive(Debug, Default)]
pub struct Confirms {
    /// The number of the last publication.
    last: u64,
    /// Whether each publication after `last - open.len()` is without an answer. The first is.
    open: VecDeque<bool>,
    /// The number of those without an answer.
    waiting: usize,
}

impl Confirms {
    /// Counts a publication and returns its number.
    pub fn publish(&mut self) -> u64 {
        self.last += 1;
        self.open.push_back(true);
        self.waiting += 1;
        self.last
    }

    /// Returns the number of publications without an answer.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the numbers without an answer, the lowest first.
    pub fn open(&self) -> impl Iterator<Item = u64> {
        let first = self.first();
        let open = self.open.iter().zip(first..);
        open.filter_map(|(open, number)| open.then_some(number))
    }

    /// Notes an answer of the broker. Returns the numbers that it answers, the lowest first.
    ///
    /// # Errors
    /// [`AmqpError`] if the number was never published or has an answer.
    pub fn answer(&mut self, number: u64, multiple: bool) -> Result<Vec<u64>, AmqpError> {
        let wrong = AmqpError::Malformed("a confirm for a message that is not open");
        let first = self.first();
        // Zero with `multiple` means all.
        let number = if multiple && number == 0 {
            self.last
        } else {
            number
        };
        if number > self.last || (number < first && !multiple) {
            return Err(wrong);
        }
        let mut answered = Vec::new();
        if multiple {
            while self.first() <= number && !self.open.is_empty() {
                let number = self.first();
                if self.open.pop_front() == Some(true) {
                    answered.push(number);
                }
            }
        } else {
            let place = usize::try_from(number - first).unwrap_or(usize::MAX);
            match self.open.get_mut(place) {
                Some(open @ true) => *open = false,
                _ => return Err(wrong),
            }
            answered.push(number);
        }
        while self.open.front() == Some(&false) {
            self.open.pop_front();
        }
        self.waiting -= answered.len();
        Ok(answered)
    }

    /// Returns the number of the first publication in the list.
    fn first(&self) -> u64 {
        self.last + 1 - self.open.len() as u64
    }
}
