//! The results of a set in the order in which they end.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use ext_php_rs::types::Zval;

use super::open::Open;
use crate::classes::durations::Limit;
use crate::classes::result::model::{id_of, leaves, read_document, state_of};
use crate::classes::result::shared::too_late;
use crate::ffi::iterator::Steps;
use crate::ffi::throw::{Kind, Thrown};
use crate::gather::Gather;
use crate::news::News;

/// An entry of the set.
struct Entry {
    key: Zval,
    result: Zval,
    /// The number of its tasks that have not ended.
    open: usize,
}

/// The entries, as their tasks end. The subscription begins with the first step.
pub(super) struct Completed {
    entries: Vec<Entry>,
    /// The entries that each open task belongs to.
    of_task: HashMap<String, Vec<usize>>,
    /// The entries that have ended and were not returned yet.
    ended: VecDeque<usize>,
    open: Open,
    timeout: Limit,
    interval: Duration,
    gather: Option<Gather>,
}

impl Completed {
    /// Prepares the iteration. Nothing is asked yet.
    pub(super) fn of(
        given: Vec<(Zval, Zval)>,
        timeout: Limit,
        interval: Duration,
    ) -> Result<Self, Thrown> {
        let (mut entries, mut ended) = (Vec::new(), VecDeque::new());
        let mut of_task: HashMap<String, Vec<usize>> = HashMap::new();
        let mut all = Vec::new();
        for (index, (key, result)) in given.into_iter().enumerate() {
            let mut open = 0;
            for leaf in leaves(&result)? {
                if state_of(&leaf)?.end.is_none() {
                    let id = leaf.object().map(id_of).unwrap_or_default();
                    let entries = of_task.entry(id).or_default();
                    if entries.last() != Some(&index) {
                        entries.push(index);
                        open += 1;
                    }
                }
                all.push(leaf);
            }
            if open == 0 {
                ended.push_back(index);
            }
            entries.push(Entry { key, result, open });
        }
        Ok(Completed {
            entries,
            of_task,
            ended,
            open: Open::of(&all)?,
            timeout,
            interval,
            gather: None,
        })
    }

    /// Notes that a task has ended.
    fn ended(&mut self, id: &str) {
        for index in self.of_task.remove(id).unwrap_or_default() {
            let entry = &mut self.entries[index];
            entry.open -= 1;
            if entry.open == 0 {
                self.ended.push_back(index);
            }
        }
    }
}

impl Steps for Completed {
    fn next(&mut self) -> Result<Option<(Zval, Zval)>, Thrown> {
        loop {
            if let Some(index) = self.ended.pop_front() {
                let Entry { key, result, .. } = &self.entries[index];
                return Ok(Some((key.shallow_clone(), result.shallow_clone())));
            }
            if self.of_task.is_empty() {
                self.gather = None;
                return Ok(None);
            }
            let timeout = self.timeout.or(self.open.place.result_timeout());
            if self.open.place.fake().is_some() {
                self.of_task.clear();
                return Err(too_late(&self.open.ids, timeout)?);
            }
            if self.gather.is_none() {
                let backend = self.open.place.backend()?;
                let ids = self.open.ids.clone();
                self.gather = Some(Gather::start(
                    backend,
                    self.open.place.limits(),
                    ids,
                    timeout,
                    self.interval,
                ));
            }
            let Some(gather) = &mut self.gather else {
                return Ok(None);
            };
            match gather.next()? {
                News::Stored(stored) => {
                    let id = &stored.task_id;
                    let document = Rc::new(read_document(id, &stored.document)?);
                    self.open.settle(id, &document)?;
                    self.ended(id);
                }
                News::Done => self.of_task.clear(),
                News::TooLate => {
                    let pending = gather.pending();
                    self.gather = None;
                    self.of_task.clear();
                    return Err(too_late(&pending, timeout)?);
                }
            }
        }
    }

    fn rewind(&mut self) -> Result<(), Thrown> {
        if self.gather.is_some() {
            let message = "These results cannot be iterated over again. Call asCompleted() anew.";
            return Err(Thrown::new(Kind::Logic, message));
        }
        Ok(())
    }
}
