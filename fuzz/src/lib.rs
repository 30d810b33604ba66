//! The readers for the fuzz targets: the functions that the ordinary tests of each crate run over its kept corpus.

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
