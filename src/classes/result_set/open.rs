//! The results of a set that have not ended.

use std::collections::HashMap;
use std::rc::Rc;

use celery_client::blocking::Deadline;
use celery_protocol::result::State;
use ext_php_rs::types::Zval;

use crate::classes::result::Place;
use crate::classes::result::model::{id_of, read_document, settle, state_of};
use crate::ffi::throw::{Kind, Thrown};
use crate::messages::Document;
use crate::results;

/// The results of single tasks that have not ended, as far as that is known.
pub(super) struct Open {
    /// The results by the id of their task.
    pub(super) results: HashMap<String, Vec<Zval>>,
    /// The ids, each once, in the order of the results.
    pub(super) ids: Vec<String>,
    pub(super) place: Place,
}

impl Open {
    /// Collects those among `leaves` that have not ended. All must be of one result backend.
    pub(super) fn of(leaves: &[Zval]) -> Result<Self, Thrown> {
        let mut open = Open {
            results: HashMap::new(),
            ids: Vec::new(),
            place: Place::Nowhere,
        };
        let mut backend: Option<String> = None;
        for leaf in leaves {
            let state = state_of(leaf)?;
            if state.end.is_some() {
                continue;
            }
            let name = match state.place.fake() {
                Some(_) => String::new(),
                None => state.place.backend()?.endpoint.identity(),
            };
            if backend.get_or_insert_with(|| name.clone()) != &name {
                return Err(Thrown::new(
                    Kind::Logic,
                    "These results are of different result backends. Wait for those of each backend by themselves.",
                ));
            }
            open.place = state.place;
            let id = leaf.object().map(id_of).unwrap_or_default();
            let same = open.results.entry(id.clone()).or_default();
            if same.is_empty() {
                open.ids.push(id);
            }
            same.push(leaf.shallow_clone());
        }
        Ok(open)
    }

    /// Keeps the final state of a task in its results. Returns `true` if it is one without success.
    pub(super) fn settle(&mut self, id: &str, document: &Rc<Document>) -> Result<bool, Thrown> {
        if !document.is_final() {
            return Ok(false);
        }
        for result in self.results.remove(id).into_iter().flatten() {
            settle(&result, document)?;
        }
        Ok(document.doc.status != State::Success)
    }

    /// Reads all of them once.
    pub(super) fn look(&mut self) -> Result<(), Thrown> {
        if self.ids.is_empty() || self.place.fake().is_some() {
            return Ok(());
        }
        let backend = self.place.backend()?;
        let deadline = Deadline::after(self.place.command_timeout());
        let ids = std::mem::take(&mut self.ids);
        let mut failed = None;
        results::all_stored(
            &backend,
            self.place.limits(),
            deadline,
            &ids,
            |index, stored| {
                if failed.is_none() {
                    let document = read_document(&ids[index], &stored).map(Rc::new);
                    let kept = document.and_then(|document| self.settle(&ids[index], &document));
                    failed = kept.err();
                }
            },
        )?;
        failed.map_or(Ok(()), Err)
    }
}
