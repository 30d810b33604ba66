//! The readers of `celery-protocol` for the fuzz targets: the functions that the ordinary tests run over the kept
//! corpus.

#[path = "../../crates/protocol/tests/common/readers.rs"]
mod readers;

pub use readers::*;
