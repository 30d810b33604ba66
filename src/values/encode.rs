//! Values as JSON, for the API for new code.
//!
//! The rules are those of `json_encode` (`JsonSerializable`, backed enums, public properties), and:
//!
//! * a float stays a float: `1.0`, not `1`;
//! * a `DateTimeInterface` is kombu's `datetime`;
//! * what cannot be sent is a `Celery\Unencodable` that knows its place: `args[0].customer.name`.
//!
//! PHP code runs in the middle (`jsonSerialize()`, `format()` of a subclass). It may change what is
//! being encoded, so each value that it could free is held.

use celery_protocol::RawValue;
use celery_protocol::json::{write_integer, write_utf8_string};
use ext_php_rs::types::{ZendObject, Zval};

use crate::classes::canvas::form;
use crate::classes::exceptions::{PATH, UNENCODABLE};
use crate::ffi::json::{DEPTH, NotWritten, encode_plain};
use crate::ffi::room::{self, Full};
use crate::ffi::throw::{self, Thrown};
use crate::ffi::type_name::type_name;
use crate::ffi::value::{self, JsonShape, Key};
use crate::ffi::{invoke, object};

use super::place;

/// Encodes a value. `root` is its place: `args`, `kwargs`, `headers`.
pub(crate) fn encode(value: &Zval, root: &str) -> Result<Box<RawValue>, Thrown> {
    match encode_plain(value) {
        Ok(text) => return Ok(text),
        Err(NotWritten::TooLarge) => return Err(unencodable(root, &too_large())),
        Err(NotWritten::NotPlain) => {}
    }
    let mut writer = Writer {
        out: Vec::new(),
        most: room::most(),
        open: Vec::new(),
    };
    match writer.write(value) {
        Ok(()) => super::raw(String::from_utf8_lossy(&writer.out).into_owned()),
        Err(Refused::Thrown(thrown)) => Err(thrown),
        Err(Refused::At(path, why)) => {
            let path = format!("{root}{path}");
            Err(unencodable(path.trim_start_matches('.'), &why))
        }
    }
}

/// Encodes an array as an object, also an empty one.
pub(crate) fn encode_names(array: &Zval, root: &str) -> Result<Box<RawValue>, Thrown> {
    let is_empty = array
        .array()
        .is_none_or(ext_php_rs::types::ZendHashTable::is_empty);
    if is_empty {
        return super::raw("{}".to_owned());
    }
    encode(array, root)
}

/// Returns the exception for a value that cannot be sent.
pub(crate) fn unencodable(path: &str, why: &str) -> Thrown {
    let path = place::cut(path);
    Thrown::new(UNENCODABLE, format!("The task was not sent: {path} {why}."))
        .with_property(PATH, value::string(path.as_bytes()))
}

fn too_large() -> String {
    format!("is too large: as JSON, the data takes {Full}")
}

/// The reason why a value was not written.
enum Refused {
    Thrown(Thrown),
    /// The place inside the value so far, and a clause.
    At(String, String),
}

impl From<Thrown> for Refused {
    fn from(thrown: Thrown) -> Self {
        Refused::Thrown(thrown)
    }
}

impl Refused {
    fn here(why: impl Into<String>) -> Self {
        Refused::At(String::new(), why.into())
    }

    /// Adds the place of the value in what is around it.
    fn in_element(self, key: Key<'_>) -> Self {
        match self {
            Refused::At(path, why) => {
                let step = match key {
                    Key::Index(index) => format!("[{index}]"),
                    Key::Name(name) => format!(".{}", String::from_utf8_lossy(name)),
                };
                Refused::At(step + &path, why)
            }
            thrown @ Refused::Thrown(_) => thrown,
        }
    }
}

struct Writer {
    out: Vec<u8>,
    /// The limit on the bytes of `out`. One text may exceed it.
    most: usize,
    /// The arrays and objects around the present value, to detect recursion.
    open: Vec<usize>,
}

impl Writer {
    fn write(&mut self, value: &Zval) -> Result<(), Refused> {
        if self.out.len() > self.most {
            return Err(Refused::here(too_large()));
        }
        if let Some(bytes) = value::bytes(value) {
            return write_utf8_string(&mut self.out, bytes).map_err(|error| {
                Refused::here(format!(
                    "is not valid UTF-8 (at byte {}); wrap bytes in Celery\\Value::bytes()",
                    error.valid_up_to()
                ))
            });
        }
        if let Some(number) = value.long() {
            write_integer(&mut self.out, number);
        } else if let Some(number) = value.double() {
            if !number.is_finite() {
                return Err(Refused::here("is not a finite number"));
            }
            // Rust's shortest form of a float is JSON and has a point or an exponent.
            self.text(&format!("{number:?}"));
        } else if let Some(truth) = value.bool() {
            self.text(if truth { "true" } else { "false" });
        } else if value.is_null() {
            self.text("null");
        } else if value.is_array() || value.is_object() {
            return self.compound(value);
        } else {
            return Err(Refused::here(format!("is a {}", type_name(value))));
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn compound(&mut self, value: &Zval) -> Result<(), Refused> {
        // PHP code that runs below may drop the last other reference.
        let held = value.shallow_clone();
        let identity = value::identity(&held).unwrap_or(0);
        if self.open.contains(&identity) {
            return Err(Refused::here("contains itself"));
        }
        if self.open.len() >= DEPTH {
            return Err(Refused::here(format!(
                "is nested deeper than {DEPTH} levels"
            )));
        }
        self.open.push(identity);
        let written = match held.object() {
            Some(object) => self.object(&held, object),
            None => self.array(&held),
        };
        self.open.pop();
        written
    }

    fn array(&mut self, array: &Zval) -> Result<(), Refused> {
        if value::is_list(array) {
            self.out.push(b'[');
            let start = self.out.len();
            let refused = value::find_in_array(array, |key, element| {
                self.separate(start);
                self.write(element)
                    .map_err(|refused| refused.in_element(key))
                    .err()
            });
            self.out.push(b']');
            return refused.map_or(Ok(()), Err);
        }
        self.names(array)
    }

    fn separate(&mut self, start: usize) {
        if self.out.len() > start {
            self.out.push(b',');
        }
    }

    fn member(&mut self, start: usize, key: Key<'_>, element: &Zval) -> Option<Refused> {
        self.separate(start);
        match key {
            Key::Index(index) => {
                self.out.push(b'"');
                write_integer(&mut self.out, index);
                self.out.push(b'"');
            }
            Key::Name(name) => {
                if write_utf8_string(&mut self.out, name).is_err() {
                    return Some(Refused::here("has a key that is not valid UTF-8"));
                }
            }
        }
        self.out.push(b':');
        self.write(element)
            .map_err(|refused| refused.in_element(key))
            .err()
    }

    fn object(&mut self, value: &Zval, object: &ZendObject) -> Result<(), Refused> {
        if value::is_date(object) {
            let text = iso(object)?;
            self.text("{\"__type__\":\"datetime\",\"__value__\":\"");
            self.text(&text);
            self.text("\"}");
            return Ok(());
        }
        match value::json_shape(object) {
            JsonShape::Serializable if object::is_instance(value, form::NAME) => {
                self.canvas(object)
            }
            JsonShape::Serializable => {
                let answer = invoke::method(object, "jsonSerialize", &[])?;
                if value::identity(&answer) == value::identity(value) {
                    return self.properties(value);
                }
                self.write(&answer)
            }
            // The slot of a case's value follows that of its name.
            JsonShape::BackedEnum => self.write(&object::get(object, 1)),
            JsonShape::PureEnum => Err(Refused::here(format!(
                "is the case of an enum without values ({})",
                type_name(value)
            ))),
            JsonShape::Properties if object::is_instance(value, "Closure") => {
                Err(Refused::here("is a closure"))
            }
            JsonShape::Properties => self.properties(value),
        }
    }

    /// Writes Celery's form of a signature, chain, group or chord.
    fn canvas(&mut self, object: &ZendObject) -> Result<(), Refused> {
        let canvas = form::form(object)?;
        self.text("{\"task\":");
        self.write(&canvas.task)?;
        self.text(",\"args\":");
        self.within("args", |writer| writer.write(&canvas.args))?;
        self.text(",\"kwargs\":");
        self.within("kwargs", |writer| writer.names(&canvas.kwargs))?;
        self.text(",\"options\":");
        let options = object::get(object, form::OPTIONS);
        self.within("options", |writer| writer.names(&options))?;
        self.text(",\"subtask_type\":");
        match canvas.subtask_type {
            Some(kind) => {
                self.out.push(b'"');
                self.text(kind);
                self.out.push(b'"');
            }
            None => self.text("null"),
        }
        self.text(",\"immutable\":");
        self.write(&object::get(object, form::IMMUTABLE))?;
        self.out.push(b'}');
        Ok(())
    }

    fn within(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        write(self).map_err(|refused| refused.in_element(Key::Name(name.as_bytes())))
    }

    /// Writes an array as an object, also an empty one.
    fn names(&mut self, array: &Zval) -> Result<(), Refused> {
        self.out.push(b'{');
        let start = self.out.len();
        let refused = value::find_in_array(array, |key, element| self.member(start, key, element));
        self.out.push(b'}');
        refused.map_or(Ok(()), Err)
    }

    fn properties(&mut self, object: &Zval) -> Result<(), Refused> {
        self.out.push(b'{');
        let start = self.out.len();
        let refused =
            value::find_in_object(object, |key, property| self.member(start, key, property));
        if throw::is_pending() {
            return Err(Refused::Thrown(Thrown::Pending));
        }
        self.out.push(b'}');
        refused.map_or(Ok(()), Err)
    }
}

/// Returns a date as Python's `isoformat()` writes it. Runs PHP code if a subclass overrides
/// `format()`.
pub(crate) fn iso(date: &ZendObject) -> Result<String, Thrown> {
    let text = invoke::method(date, "format", &[value::string(b"Y-m-d\\TH:i:s.uP")])?;
    let text = super::text(&text)?.unwrap_or_default();
    Ok(text.replacen(".000000", "", 1))
}
