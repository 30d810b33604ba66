//! Python's way of showing a value, for `argsrepr`, `kwargsrepr` and log lines.
//!
//! It is for people: Python's quoting, `True` and `None`, nested containers beyond the third level as
//! `[...]` and `{...}`, cut with `...`.

/// The longest text that is written into a message, in characters (decided as Celery's, about 1,024).
pub const MAX_CHARS: usize = 1024;

/// Shows a JSON array as a Python tuple: `(2, 3)`, `(2,)`, `()`.
///
/// The text must be valid JSON; what is not is shown as it is.
pub fn args(json: &str) -> String {
    let _ = json;
    todo!()
}

/// Shows any JSON value as Python would: `{'x': 2}`.
///
/// The text must be valid JSON; what is not is shown as it is.
pub fn value(json: &str, max_chars: usize) -> String {
    let _ = (json, max_chars);
    todo!()
}
