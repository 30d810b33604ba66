//! Reserves PHP memory for a step that must not fail later.

use std::alloc::Layout;
use std::iter;

use ext_php_rs::alloc::{efree, emalloc};

use super::bailout::{self, Bailout};

/// The size of a block. A deferred fatal error is noticed at most one block late. A block is far
/// smaller than the memory limit, and the process ends only at twice the limit.
const BLOCK: usize = 64 << 10;

/// Memory that counts against `memory_limit` until it is dropped.
pub(crate) struct Reserve(Vec<*mut u8>);

impl Reserve {
    /// Takes at least `bytes` of memory. Returns an error if PHP does not have that much.
    pub(crate) fn new(bytes: usize) -> Result<Self, Bailout> {
        let layout = Layout::array::<u8>(BLOCK).map_err(|_| Bailout)?;
        let blocks = iter::repeat_with(|| bailout::catch(|| emalloc(layout)));
        let mut reserve = Reserve(Vec::new());
        for block in blocks.take(bytes.div_ceil(BLOCK)) {
            reserve.0.push(block?);
        }
        Ok(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        for block in self.0.drain(..) {
            // SAFETY: the pointer came from `emalloc` and is freed only with the reserve.
            unsafe { efree(block) };
        }
    }
}
