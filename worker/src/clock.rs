//! Reads the wall clock, as Celery's documents and messages use it.

use std::time::SystemTime;

use celery_protocol::time::Timestamp;

/// Returns the present time in UTC.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
