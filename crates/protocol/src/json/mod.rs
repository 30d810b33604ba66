//! Lenient reading of the JSON that Python writes, and of values that JSON has no form for.
//!
//! Python writes `NaN`, `Infinity` and `-Infinity` bare, and lone surrogates as escapes; strict
//! parsers refuse both. [`normalise`] makes such a text strict JSON. A bare number becomes `null`,
//! as in JavaScript's `JSON.stringify`; a lone surrogate becomes U+FFFD. [`MAX_DEPTH`] limits the
//! depth of strict text too, so that no later parser can exhaust its stack.
//!
//! Numbers keep their text: `1e400` and integers of any length pass. Code that reads such a number
//! as a value must refuse it if its type cannot hold it.

mod error;
mod members;
mod normalise;
mod python;
mod scan;
mod special;
mod string;
pub(crate) mod swar;
pub(crate) mod write;

pub use error::{JsonError, MAX_DEPTH};
pub use members::unique_members;
pub(crate) use members::{Name, each_member};
pub use normalise::normalise;
pub(crate) use normalise::{normalise_for_python, normalise_text};
pub use python::has_large_integer;
pub(crate) use scan::{Elements, Members, skip_value};
pub use special::Special;
pub use write::{
    integer as write_integer, string as write_string, utf8_string as write_utf8_string,
};
