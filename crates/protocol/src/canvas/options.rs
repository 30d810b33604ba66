//! The options of a signature: JSON values by name, shared between the many copies that a group
//! makes of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::error::CanvasError;

/// A JSON text, shared.
pub type Value = Arc<RawValue>;

/// The most options of one signature. Celery knows about thirty; the others are stamps. Each member
/// of a group gets all options, so the work for a message is the product of members and options.
const MOST: usize = 1_000;

/// Options of a signature that a call cannot override: that would stall the group or the chord that
/// waits for the task (`Signature._IMMUTABLE_OPTIONS` in `celery/canvas.py`).
const FIXED: [&str; 2] = ["group_id", STAMPED_HEADERS];

/// The option that lists the names of the stamps, which are options beside it.
pub const STAMPED_HEADERS: &str = "stamped_headers";

/// Options of a signature or of a call. A value may be null, which matters: given with a call, it
/// can hide the option of the signature.
#[derive(Clone, Debug, Default)]
pub struct Options(BTreeMap<Arc<str>, Value>);

impl Options {
    /// Returns an option that is not null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !is_null(value))
    }

    /// Returns `true` if the option is there, even as null.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets an option to a JSON text.
    pub fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(Arc::from(name), value);
    }

    /// Sets an option to a value that has a JSON form.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if a value has no JSON form.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CanvasError> {
        self.insert(name, json(value)?);
        Ok(())
    }

    /// Sets an option to null.
    pub fn set_null(&mut self, name: &str) {
        self.insert(name, RawValue::NULL.to_owned().into());
    }

    /// Takes an option out; `None` if it is missing or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !is_null(value))
    }

    /// Removes the options with these names.
    pub fn remove(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// Returns all options, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.0.iter()
    }

    /// Drops the options that are null.
    #[must_use]
    pub fn given(mut self) -> Self {
        self.0.retain(|_, value| !is_null(value));
        self
    }

    /// Sets all options of `other`, nulls included.
    pub fn update(&mut self, other: &Options) {
        for (name, value) in &other.0 {
            self.0.insert(Arc::clone(name), Arc::clone(value));
        }
    }

    /// Sets the options of a call, except those that a call does not change.
    pub fn merge(&mut self, call: &Options) {
        self.merge_except(call, &self.stamp_names().into_iter().collect());
    }

    /// Like [`merge`](Self::merge), but as groups do it: a call can change the value of a stamp,
    /// and cannot add or remove one.
    pub fn merge_into_group(&mut self, call: &Options) {
        self.merge_except(call, &HashSet::new());
    }

    fn merge_except(&mut self, call: &Options, stamps: &HashSet<String>) {
        for (name, value) in &call.0 {
            let fixed = FIXED.contains(&&**name) || stamps.contains(&**name);
            if !(fixed && self.has(name)) {
                self.0.insert(Arc::clone(name), Arc::clone(value));
            }
        }
    }

    /// Returns the names of the stamps.
    pub fn stamp_names(&self) -> Vec<String> {
        let names = self.get(STAMPED_HEADERS);
        names
            .and_then(|names| serde_json::from_str(names.get()).ok())
            .unwrap_or_default()
    }

    /// Returns an option as text. A number becomes the text in which it is written, as Python
    /// converts it where text is needed.
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.get();
        let text = match value.as_bytes().first()? {
            b'"' => serde_json::from_str(value).ok()?,
            b'-' | b'0'..=b'9' => value.to_owned(),
            _ => return None,
        };
        Some(text).filter(|text: &String| !text.is_empty())
    }

    /// Returns an option as a number, which may be written as text.
    pub fn number(&self, name: &str) -> Option<f64> {
        let value = self.get(name)?.get();
        match value {
            "true" => Some(1.0),
            "false" => Some(0.0),
            _ => value.trim_matches('"').trim().parse().ok(),
        }
        .filter(|number: &f64| number.is_finite())
    }

    /// Returns an option as a number without its fraction.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.number(name).map(|number| number as i64)
    }

    /// Returns `true` if an option is true as Python sees it; `None` if it is missing or null.
    pub fn truth(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?.get();
        let falsy = matches!(value, "false" | "\"\"" | "[]" | "{}")
            || value.parse::<f64>().is_ok_and(|number| number == 0.0);
        Some(!falsy)
    }

    /// Returns an option as a list of signatures; a single signature counts as a list of one.
    pub fn list(&self, name: &str) -> Vec<Value> {
        self.get(name).map(|value| list(value)).unwrap_or_default()
    }

    /// Adds values to the end of a list.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if a value has no JSON form.
    pub fn extend(&mut self, name: &str, values: Vec<Value>) -> Result<(), CanvasError> {
        let mut all = self.list(name);
        all.extend(values);
        self.set(name, &Raws(&all))
    }

    /// Adds to a list those of the values that are not yet in it.
    ///
    /// # Errors
    /// [`CanvasError::Json`] if a value has no JSON form.
    pub fn append(&mut self, name: &str, values: &[Value]) -> Result<(), CanvasError> {
        let mut all = self.list(name);
        let mut known: HashSet<String> = all.iter().map(|value| sorted(value)).collect();
        all.extend(
            values
                .iter()
                .filter(|value| known.insert(sorted(value)))
                .cloned(),
        );
        self.set(name, &Raws(&all))
    }

    /// Returns about how many bytes the options have.
    pub fn size(&self) -> usize {
        let size = |(name, value): (&Arc<str>, &Value)| name.len() + value.get().len();
        self.0.iter().map(size).sum()
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(&**name, &**value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionsVisitor;
        impl<'de> Visitor<'de> for OptionsVisitor {
            type Value = Options;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("options")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Options, A::Error> {
                let mut options = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    options.insert(Arc::from(name), Arc::from(value));
                    if options.len() > MOST {
                        let why = format!("a signature with more than {MOST} options");
                        return Err(A::Error::custom(why));
                    }
                }
                Ok(Options(options))
            }
            fn visit_unit<E>(self) -> Result<Options, E> {
                Ok(Options::default())
            }
        }
        deserializer.deserialize_any(OptionsVisitor)
    }
}

/// Values as a JSON array.
pub struct Raws<'a>(
    /// The values.
    pub &'a [Value],
);

impl Serialize for Raws<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| &**value))
    }
}

/// Returns the values of a list. A single value counts as a list of one, null as an empty list.
pub fn list(values: &RawValue) -> Vec<Value> {
    if is_null(values) {
        return Vec::new();
    }
    let list: Result<Vec<Box<RawValue>>, _> = serde_json::from_str(values.get());
    match list {
        Ok(list) => list.into_iter().map(Arc::from).collect(),
        Err(_) => vec![values.to_owned().into()],
    }
}

/// Returns a value as a shared JSON text.
///
/// # Errors
/// [`CanvasError::Json`] if the value has no JSON form.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Value, CanvasError> {
    Ok(serde_json::value::to_raw_value(value)?.into())
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Returns the text of a value with sorted members: two values that Python finds equal have equal
/// texts.
fn sorted(value: &RawValue) -> String {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(value.get());
    parsed.map_or_else(|_| value.get().to_owned(), |value| value.to_string())
}
