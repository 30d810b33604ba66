//! The enums of the API for new code: `State`, `Serializer`, `Compression`, `PublishMode`,
//! `Missed`.

use celery_protocol::result;
use ext_php_rs::types::Zval;

use crate::ffi::call::{Call, handler};
use crate::ffi::class::{DeclareError, Enum, method};
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;

/// The slot of a case's text, after its name.
const TEXT: usize = 1;

/// The name of the enum for missed due times of schedules.
pub(crate) const MISSED: &str = "Celery\\Missed";

/// Celery's own states.
const STATES: &[(&str, &str)] = &[
    ("Pending", "PENDING"),
    ("Received", "RECEIVED"),
    ("Started", "STARTED"),
    ("Retry", "RETRY"),
    ("Success", "SUCCESS"),
    ("Failure", "FAILURE"),
    ("Revoked", "REVOKED"),
    ("Rejected", "REJECTED"),
    ("Ignored", "IGNORED"),
];

/// Declares the enums.
pub(super) fn declare() -> Result<(), DeclareError> {
    Enum {
        name: "Celery\\State",
        cases: STATES,
        methods: vec![method("isReady", handler!(is_ready), []).returning(Type::BOOL)],
    }
    .declare()?;
    Enum {
        name: "Celery\\Serializer",
        cases: &[("Json", "json"), ("Msgpack", "msgpack"), ("Yaml", "yaml")],
        methods: Vec::new(),
    }
    .declare()?;
    Enum {
        name: "Celery\\Compression",
        cases: &[
            ("Gzip", "gzip"),
            ("Bzip2", "bzip2"),
            ("Xz", "xz"),
            ("Zstd", "zstd"),
            ("Brotli", "brotli"),
        ],
        methods: Vec::new(),
    }
    .declare()?;
    Enum {
        name: "Celery\\PublishMode",
        cases: &[
            ("Confirmed", "confirmed"),
            ("Once", "once"),
            ("Pipelined", "pipelined"),
        ],
        methods: Vec::new(),
    }
    .declare()?;
    Enum {
        name: MISSED,
        cases: &[("Once", "once"), ("All", "all"), ("None", "none")],
        methods: Vec::new(),
    }
    .declare()
}

/// Returns the case of `State` with this text; null if there is none.
pub(crate) fn state(text: &str) -> Zval {
    let case = STATES.iter().find(|(_, own)| *own == text);
    let case = case.and_then(|(name, _)| object::case("Celery\\State", name));
    case.unwrap_or_else(Zval::null)
}

/// Returns the text of an argument that is a case of an enum or its text.
pub(crate) fn text(value: &Zval) -> Option<String> {
    let case = value.object().map(|object| object::get(object, TEXT));
    let text = case.as_ref().unwrap_or(value);
    value::bytes(text).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Implements `State::isReady()`.
fn is_ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let text = object::get(call.object()?, TEXT);
    let word = value::bytes(&text).unwrap_or_default();
    let ready = result::State::from_word(&String::from_utf8_lossy(word)).ready();
    call.give_bool(ready);
    Ok(())
}
