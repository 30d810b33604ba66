//! The members of an object, each value kept as its original text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Up to this number of names, comparing each of them is as fast as an index.
const FEW: usize = 32;

/// A string that borrows if it has no escapes (serde's own `Cow` never borrows).
#[derive(serde::Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Calls a function with each member of an object, in order. The text must be strict JSON.
pub(crate) fn each_member<'a>(
    object: &'a str,
    mut take: impl FnMut(Cow<'a, str>, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(MemberVisitor(&mut take))?;
    deserializer.end()
}

struct MemberVisitor<'f, F>(&'f mut F);

impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for MemberVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}

/// Returns the members of an object in their order, each name once. A repeated name has its last
/// value, as in Python.
///
/// The time grows with the text, whatever its names are: the arguments of a message may have any
/// number of them.
///
/// # Errors
///
/// The value is not an object.
pub fn unique_members(
    object: &RawValue,
) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    let mut members: Vec<(Cow<'_, str>, &RawValue)> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    if object.get() == "{}" {
        return Ok(members);
    }
    each_member(object.get(), |name, value| {
        let known = if members.len() < FEW {
            members.iter().position(|(known, _)| *known == name)
        } else {
            if places.is_empty() {
                places.extend(members.iter().map(|(name, _)| name.clone()).zip(0..));
            }
            places.get(&name).copied()
        };
        if let Some(member) = known.and_then(|place| members.get_mut(place)) {
            member.1 = value;
            return;
        }
        if !places.is_empty() {
            places.insert(name.clone(), members.len());
        }
        members.push((name, value));
    })?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_stands_in_the_place_of_the_first() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, 500] {
            let names = (0..count).chain(0..count / 2);
            let pairs: Vec<String> = names
                .enumerate()
                .map(|(at, name)| format!("\"\\u006b{name}\": {at}"))
                .collect();
            let text = format!("{{{}}}", pairs.join(","));
            let object = RawValue::from_string(text).unwrap();
            let members = unique_members(&object).unwrap();
            assert_eq!(members.len(), count);
            for (at, (name, value)) in members.iter().enumerate() {
                assert_eq!(*name, format!("k{at}"));
                let last = if at < count / 2 { count + at } else { at };
                assert_eq!(value.get(), last.to_string());
            }
        }
    }

    #[test]
    fn what_is_not_an_object_has_no_members() {
        for text in ["[]", "null", "1", "\"{}\""] {
            let value = RawValue::from_string(text.to_owned()).unwrap();
            assert!(unique_members(&value).is_err(), "{text}");
        }
    }
}
