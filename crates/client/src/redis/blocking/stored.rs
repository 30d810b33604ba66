//! A stored result as bytes: whether its state is final.

use celery_protocol::result::ResultDoc;
use redis::Value;

use crate::error::ClientError;

/// The state that the bytes of a result hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// `SUCCESS`, `FAILURE` or `REVOKED`.
    Final,
    /// Any other state.
    Underway,
    /// The client cannot decode the result. A wait ends here, too, because waiting would not change
    /// it.
    Unreadable,
}

/// Returns what a stored document says about its task.
pub(super) fn standing(bytes: &[u8]) -> Standing {
    match ResultDoc::decode_any(bytes) {
        Ok(result) if result.status.ready() => Standing::Final,
        Ok(_) => Standing::Underway,
        Err(_) => Standing::Unreadable,
    }
}

/// Returns a stored result, or `None` if there is none.
pub(super) fn text(value: Value) -> Result<Option<Vec<u8>>, ClientError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(ClientError::Protocol(
            "a result that is not a text".to_owned(),
        )),
    }
}
