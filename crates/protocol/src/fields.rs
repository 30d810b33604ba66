//! An ordered map of JSON members that keeps each value as its original text.
//!
//! Custom headers, unknown properties and stamps pass through a client or a worker that does not
//! understand them. Keeping their text keeps big integers, float digits and the difference between
//! `[]` and `{}`. A repeated name keeps its last value, as Python does.
//!
//! The time to read a map grows linearly with its text; it has at most [`MAX_MEMBERS`] members.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The most members read into one map. Celery's own objects have about twenty, and even a thousand
/// stamps are far fewer. An object with more is an attack.
pub const MAX_MEMBERS: usize = 10_000;

/// Up to this number of members, a linear search is as fast as an index.
const FEW: usize = 32;

/// The members of a JSON object, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    entries: Vec<(String, Box<RawValue>)>,
    /// The position of each name, once there are more than [`FEW`].
    places: Option<HashMap<String, usize>>,
}

impl Fields {
    /// Returns an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the text of a member's value.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.entries.get(self.place(name)?)?;
        Some(value)
    }

    /// Sets a member; a member that exists keeps its position.
    pub fn insert(&mut self, name: impl Into<String>, value: Box<RawValue>) {
        let name = name.into();
        let old = self.place(&name);
        if let Some(entry) = old.and_then(|place| self.entries.get_mut(place)) {
            entry.1 = value;
            return;
        }
        if let Some(places) = &mut self.places {
            places.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
        if self.places.is_none() {
            self.index();
        }
    }

    /// Sets a member to any value that has a JSON form.
    ///
    /// # Errors
    ///
    /// The error of a value that `serde_json` cannot write, such as a map whose keys are not
    /// strings.
    pub fn set<T: Serialize + ?Sized>(
        &mut self,
        name: impl Into<String>,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        let value = serde_json::value::to_raw_value(value)?;
        self.insert(name, value);
        Ok(())
    }

    /// Removes a member. The time it takes grows with the number of members.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let place = self.place(name)?;
        let (_, value) = self.entries.remove(place);
        self.index();
        Some(value)
    }

    /// Returns the members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), &**value))
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if there are no members.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of bytes of the names and values.
    pub(crate) fn size(&self) -> usize {
        let sizes = self.entries.iter();
        sizes
            .map(|(name, value)| name.len() + value.get().len())
            .sum()
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.places {
            None => self.entries.iter().position(|(key, _)| key == name),
            Some(places) => places.get(name).copied(),
        }
    }

    /// Rebuilds the index.
    fn index(&mut self) {
        self.places = (self.entries.len() > FEW).then(|| {
            let names = self.entries.iter().map(|(name, _)| name.clone());
            names.zip(0..).collect()
        });
    }
}

/// The error of an object that has more than [`MAX_MEMBERS`] members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_MEMBERS} members")]
pub(crate) struct TooManyMembers;

/// The members of a text that is being read; its end reports whether there were too many.
#[derive(Default)]
pub(crate) struct Reading {
    fields: Fields,
    too_many: bool,
}

impl Reading {
    pub(crate) fn take(&mut self, name: impl Into<String>, value: &RawValue) {
        self.too_many = self.too_many || self.fields.len() >= MAX_MEMBERS;
        if !self.too_many {
            self.fields.insert(name, value.to_owned());
        }
    }

    pub(crate) fn end(self) -> Result<Fields, TooManyMembers> {
        if self.too_many {
            Err(TooManyMembers)
        } else {
            Ok(self.fields)
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, value) in &self.entries {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.insert(name, value);
                    if fields.len() > MAX_MEMBERS {
                        return Err(A::Error::custom(TooManyMembers));
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_the_last_value_stay_with_and_without_an_index() {
        for count in [FEW - 1, FEW, FEW + 1, 1_000] {
            let mut fields = Fields::new();
            for round in 0..2 {
                for nth in 0..count {
                    fields.set(format!("h{nth}"), &(nth + round)).unwrap();
                }
            }
            assert_eq!(fields.places.is_some(), count > FEW);
            assert_eq!(fields.remove("h0").as_deref().map(RawValue::get), Some("1"));
            fields.set("h0", "again").unwrap();
            assert!(fields.remove("none").is_none());
            let names = fields.iter().map(|(name, _)| name.to_owned());
            let expected = (1..count).chain([0]).map(|nth| format!("h{nth}"));
            assert!(names.eq(expected), "{count}");
            for nth in 1..count {
                let value = fields.get(&format!("h{nth}")).map(RawValue::get);
                assert_eq!(value, Some(&*(nth + 1).to_string()));
            }
            assert_eq!(fields.get("h0").map(RawValue::get), Some("\"again\""));
        }
    }
}
