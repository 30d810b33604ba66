//! The error of a file that TLS cannot use.

use std::path::Path;

use crate::error::ConfigError;
use crate::mask::mask_misplaced;

/// Returns the error for a file. A password that was given by mistake in place of the file's name
/// is masked.
pub(super) fn unusable(file: &Path, reason: impl ToString) -> ConfigError {
    ConfigError::File {
        path: mask_misplaced(&file.to_string_lossy()).into_owned(),
        reason: reason.to_string(),
    }
}
