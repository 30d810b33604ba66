//! Remote control of workers, as far as clients need it: revoking.

use super::{Client, Wait};
use crate::error::ClientError;

/// What is to be revoked, and how.
#[derive(Clone, Debug)]
pub struct Revoke<'a> {
    /// The tasks.
    pub task_ids: &'a [&'a str],
    /// Whether a task that runs already is ended, too.
    pub terminate: bool,
    /// The signal for that, as Celery names it: `SIGTERM`.
    pub signal: &'a str,
}

impl Client {
    /// Tells all workers to skip tasks, as `app.control.revoke` does. Returns how many listeners Redis told.
    ///
    /// # Errors
    /// [`ClientError`], if the server could not be asked.
    pub fn revoke(&mut self, revoke: &Revoke<'_>, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let _ = (revoke, wait);
        todo!()
    }
}
