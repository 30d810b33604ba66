//! The reasons why a signature cannot be called.

/// Signatures nested deeper than this are refused. No client writes them.
pub const DEPTH: usize = 48;

/// The reason why a signature cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanvasError {
    /// The text is not a signature, or a value has no JSON form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Signatures are nested deeper than [`DEPTH`].
    #[error("signatures in signatures, more than {DEPTH} deep")]
    TooDeep,
    /// The signature is one of `chunks`, which only the caller of a canvas can divide.
    #[error("chunks as a follow-up")]
    Chunks,
}

impl From<CanvasError> for String {
    /// Returns the reason as a dead letter shows it.
    fn from(error: CanvasError) -> Self {
        error.to_string()
    }
}
