//! Why a stored result cannot be read.

use crate::compression::CompressionError;
use crate::serializer::SerializerError;

/// A stored result that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The result is a Python pickle, which is never read. Set Celery's `result_serializer` to
    /// `json`.
    #[error("the stored result is a pickle, which is refused; set result_serializer to json")]
    Pickle,
    /// The bytes are not a result document.
    #[error("not a result document: {0}")]
    Invalid(String),
    /// The compression is unknown, the data is damaged, or it becomes too large.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The data cannot be read in its serializer.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
}

impl ResultError {
    /// Returns `true` if the result becomes larger than is read when it is decompressed.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Compression(CompressionError::TooLarge { .. }))
    }
}
