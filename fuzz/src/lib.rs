//! The readers for the fuzz targets: each crate's tests run these functions over the kept corpus.

#[path = "../../crates/client/tests/common/readers.rs"]
mod client;
#[path = "../../crates/protocol/tests/common/readers.rs"]
mod protocol;
mod statement;
mod work;

pub use client::{endpoint, reply};
pub use protocol::*;
pub use statement::statement;
pub use work::work;
