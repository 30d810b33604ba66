//! Reads the wall clock, as Celery's documents and messages use it.

use std::time::{SystemTime, UNIX_EPOCH};

use celery_protocol::time::Timestamp;

/// Returns the present time in UTC.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
