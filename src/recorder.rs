//! What a `FakeClient` learns from its results.

use std::cell::RefCell;

/// The ids of the tasks that were revoked.
#[derive(Debug, Default)]
pub(crate) struct Recorder(RefCell<Vec<String>>);

impl Recorder {
    /// Records that tasks were revoked.
    pub(crate) fn revoke(&self, ids: &[&str]) {
        let mut revoked = self.0.borrow_mut();
        revoked.extend(ids.iter().map(|id| (*id).to_owned()));
    }

    /// Returns the ids.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Forgets them.
    pub(crate) fn reset(&self) {
        self.0.borrow_mut().clear();
    }
}
