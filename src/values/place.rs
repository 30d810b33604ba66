//! Finds the value that `json_encode` refused, and names its place as PHP code would write it.
//!
//! The search runs only after a refusal, so it may be slow. It runs no PHP code, so it cannot
//! inspect the value that a `jsonSerialize()` returned. If all other values are correct, the error
//! names that object.

use ext_php_rs::types::Zval;

use crate::ffi::json::DEPTH;
use crate::ffi::type_name::type_name;
use crate::ffi::value::{self, JsonShape, Key};

/// The value from which a place in an error message is counted.
#[derive(Clone, Copy)]
pub(crate) enum Root<'a> {
    /// The elements of the value are the task's arguments.
    Arguments,
    /// The value is an option with this name.
    Option(&'a str),
}

/// Returns a clause that says which value cannot be sent, and where it is.
pub(super) fn problem(value: &Zval, root: Root<'_>) -> String {
    let mut walk = Walk {
        path: Path::new(root),
        open: Vec::new(),
        suspect: None,
    };
    match walk.visit(value).or(walk.suspect) {
        Some(clause) => clause,
        None => match root {
            Root::Arguments => "the arguments cannot be encoded as JSON".to_owned(),
            Root::Option(name) => format!("the option {name:?} cannot be encoded as JSON"),
        },
    }
}

/// Returns the subject and the verb of a clause about the size of a value.
pub(super) fn takes(root: Root<'_>) -> String {
    match root {
        Root::Arguments => "the arguments take".to_owned(),
        Root::Option(name) => format!("the option {name:?} takes"),
    }
}

struct Walk {
    path: Path,
    /// The arrays and objects around the present value, to detect recursion.
    open: Vec<usize>,
    /// The first object whose `jsonSerialize()` may have returned the refused value.
    suspect: Option<String>,
}

impl Walk {
    fn visit(&mut self, value: &Zval) -> Option<String> {
        if let Some(bytes) = value::bytes(value) {
            let error = std::str::from_utf8(bytes).err()?;
            let offset = error.valid_up_to();
            return Some(format!(
                "{} is not valid UTF-8 (at byte {offset})",
                self.path
            ));
        }
        if let Some(number) = value.double() {
            return match number {
                n if n.is_nan() => Some(format!("{} is NAN, which JSON cannot express", self.path)),
                n if n.is_infinite() => {
                    Some(format!("{} is INF, which JSON cannot express", self.path))
                }
                _ => None,
            };
        }
        if value.is_resource() {
            return Some(format!("{} is a resource, which cannot be sent", self.path));
        }
        if value.array().is_none() && value.object().is_none() {
            return None;
        }
        self.visit_compound(value)
    }

    fn visit_compound(&mut self, value: &Zval) -> Option<String> {
        let identity = value::identity(value)?;
        if self.open.contains(&identity) {
            return Some(format!("{} contains itself", self.path));
        }
        if self.open.len() >= DEPTH {
            return Some(format!(
                "{} is nested deeper than {DEPTH} levels",
                self.path
            ));
        }
        self.open.push(identity);
        let found = match (value.array(), value.object()) {
            (Some(_), _) => {
                value::find_in_array(value, |key, element| self.visit_child(key, element, false))
            }
            (_, Some(object)) => match value::json_shape(object) {
                JsonShape::Properties => value::find_in_object(value, |key, property| {
                    self.visit_child(key, property, true)
                }),
                JsonShape::PureEnum => Some(format!(
                    "{} is the case of an enum without values ({}), which JSON cannot express",
                    self.path,
                    type_name(value)
                )),
                JsonShape::BackedEnum => None,
                JsonShape::Serializable => {
                    let clause = || {
                        let class = type_name(value);
                        format!(
                            "what jsonSerialize() of {class} returned for {} cannot be encoded",
                            self.path
                        )
                    };
                    if self.suspect.is_none() {
                        self.suspect = Some(clause());
                    }
                    None
                }
            },
            _ => None,
        };
        self.open.pop();
        found
    }

    fn visit_child(&mut self, key: Key<'_>, child: &Zval, of_object: bool) -> Option<String> {
        let mark = self.path.push(key, of_object);
        let bad_key = match key {
            Key::Name(name) if std::str::from_utf8(name).is_err() => {
                Some(format!("the key of {} is not valid UTF-8", self.path))
            }
            _ => None,
        };
        let found = bad_key.or_else(|| self.visit(child));
        self.path.truncate(mark);
        found
    }
}

/// The present place, written as in PHP code: `$args[0]["name"]->list[3]`.
struct Path {
    text: String,
}

/// The longest part of a path to display, in characters.
const LONGEST: usize = 300;

impl Path {
    fn new(root: Root<'_>) -> Self {
        let text = match root {
            Root::Arguments => "$args".to_owned(),
            Root::Option(name) => format!("option {name:?}"),
        };
        Path { text }
    }

    /// Enters a child. Returns the mark that [`Path::truncate`] needs to go back.
    fn push(&mut self, key: Key<'_>, of_object: bool) -> usize {
        let mark = self.text.len();
        if let (Key::Name(name), true) = (key, of_object) {
            self.text.push_str("->");
            self.text.push_str(&String::from_utf8_lossy(name));
        } else {
            self.text.push_str(&index(key));
        }
        mark
    }

    fn truncate(&mut self, mark: usize) {
        self.text.truncate(mark);
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&cut(&self.text))
    }
}

/// Returns a key as PHP code writes it after an array.
pub(crate) fn index(key: Key<'_>) -> String {
    match key {
        Key::Index(index) => format!("[{index}]"),
        Key::Name(name) => format!("[{:?}]", String::from_utf8_lossy(name)),
    }
}

/// Returns the beginning of a path that is too long to display.
pub(crate) fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let begin: String = text.chars().take(LONGEST).collect();
    format!("{begin}…")
}
