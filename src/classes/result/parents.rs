//! The tasks before a task in its chain, which `get()` watches, too.
//!
//! If one of them fails, Celery stores nothing for those after it, so their own results never come.
//! Celery's `AsyncResult._maybe_reraise_parent_error` raises the failure of the earliest. The members
//! of a group are not watched: if one fails, Celery stores a `ChordError` for the chord's body.

use std::rc::Rc;

use celery_client::blocking::Deadline;
use ext_php_rs::types::Zval;

use super::model::{
    NAME, PARENT, id_of, is_success, parent_of_group, read_document, settle, state_of,
};
use super::place::Place;
use super::shared::{Outcome, outcome};
use crate::ffi::object::{self, is_instance};
use crate::ffi::throw::{self, Thrown};
use crate::results;

/// The parents of a task that have not ended, as far as that is known. The earliest comes first.
#[derive(Default)]
pub(super) struct Parents {
    open: Vec<(String, Zval)>,
}

impl Parents {
    /// Collects the parents of a result that are stored where it is. Throws the failure of one that
    /// is already known to have failed.
    pub(super) fn of(result: &Zval, place: &Place) -> Result<Self, Thrown> {
        let mut all = Vec::new();
        let mut next = parent_of(result);
        while let Some(parent) = next {
            next = parent_of(&parent);
            if is_instance(&parent, NAME) {
                all.push(parent);
            }
        }
        let mut parents = Self::default();
        for parent in all.into_iter().rev() {
            let state = state_of(&parent)?;
            if state.end.is_some() {
                raise(&parent)?;
            } else if is_same_backend(&state.place, place)? {
                let id = parent.object().map(id_of).unwrap_or_default();
                parents.open.push((id, parent));
            }
        }
        Ok(parents)
    }

    /// Returns the ids of the tasks.
    pub(super) fn ids(&self) -> Vec<String> {
        self.open.iter().map(|(id, _)| id.clone()).collect()
    }

    /// Notes what is stored for a parent. Throws its failure.
    pub(super) fn note(&mut self, id: &str, stored: &[u8]) -> Result<(), Thrown> {
        // What cannot be read is not the result that the caller waits for.
        let Ok(document) = read_document(id, stored).map(Rc::new) else {
            return Ok(());
        };
        for (_, parent) in self.open.iter().filter(|(open, _)| open == id) {
            if document.is_final() {
                settle(parent, &document)?;
                raise(parent)?;
            }
        }
        Ok(())
    }

    /// Reads all of them once, in one round trip. Throws the failure of the earliest that has failed.
    pub(super) fn look(&mut self, place: &Place) -> Result<(), Thrown> {
        let ids = self.ids();
        if ids.is_empty() || place.fake().is_some() {
            return Ok(());
        }
        let backend = place.backend()?;
        let deadline = Deadline::after(place.command_timeout());
        let mut found = Vec::new();
        results::all_stored(&backend, place.limits(), deadline, &ids, |index, stored| {
            found.push((index, stored));
        })?;
        for (index, stored) in found {
            self.note(&ids[index], &stored)?;
        }
        Ok(())
    }
}

/// Returns the parent of a result or a group.
fn parent_of(result: &Zval) -> Option<Zval> {
    let parent = match parent_of_group(result) {
        Some(parent) => parent,
        None => object::get(result.object()?, PARENT),
    };
    (!parent.is_null()).then_some(parent)
}

/// Returns `true` if both places read their results from one server.
fn is_same_backend(one: &Place, other: &Place) -> Result<bool, Thrown> {
    if one.is_nowhere() || one.fake().is_some() || other.fake().is_some() {
        return Ok(false);
    }
    Ok(one.backend()?.endpoint.identity() == other.backend()?.endpoint.identity())
}

/// Throws the exception of a task that has ended without success.
fn raise(parent: &Zval) -> Result<(), Thrown> {
    if !is_success(&state_of(parent)?)
        && let Some(Outcome::Exception(exception)) = outcome(parent)?
    {
        return Err(throw::object(exception));
    }
    Ok(())
}
