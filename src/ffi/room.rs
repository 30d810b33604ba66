//! The memory that one call may take for its copies of PHP's values.
//!
//! PHP's `memory_limit` does not count what the extension allocates. It does not bound the copies
//! either: an array may have one row a million times, which takes PHP hardly more memory than one
//! row. So the copies of one call may take as much memory as `memory_limit`.

use std::fmt;

use super::ini;

/// The limit in bytes if PHP has no `memory_limit`.
const WITHOUT_LIMIT: usize = 1 << 30;

/// The memory that is left for a call's copies.
pub(crate) struct Room {
    left: usize,
}

/// The error if copies take more memory than they may. Its text is the object of "take".
pub(crate) struct Full;

impl Room {
    /// Returns the room of a call that has copied nothing yet.
    pub(crate) fn new() -> Self {
        Room { left: most() }
    }

    /// Takes a number of bytes, if there is room for them.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Full> {
        self.left = self.left.checked_sub(bytes).ok_or(Full)?;
        Ok(())
    }
}

/// Returns the number of bytes that the copies of a call may take.
pub(crate) fn most() -> usize {
    php_limit().unwrap_or(WITHOUT_LIMIT)
}

/// Returns PHP's own `memory_limit` in bytes, or `None` without a limit.
pub(crate) fn php_limit() -> Option<usize> {
    let limit = usize::try_from(ini::memory_limit()).ok();
    limit.filter(|&limit| limit > 0)
}

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match php_limit() {
            Some(_) => "more than PHP's memory_limit",
            None => "more than 1 GiB, the limit where PHP has no memory_limit",
        })
    }
}
