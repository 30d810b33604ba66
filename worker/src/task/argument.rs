//! Reads an argument of a message as a value of a Rust type.
//!
//! `serde_json` alone reads nearly every argument. Two kinds need more, and are handled first:
//!
//! * A value that kombu wraps as `{"__type__": …, "__value__": …}` is a UUID, a decimal, a date, a
//!   time or bytes. A type that asks for text, bytes or a list of bytes gets the value itself.
//!   Other types, such as `serde_json::Value`, get the object.
//! * An integer beyond 64 bits is refused with its digits, where `serde_json` would turn it into a
//!   float. A type that can hold it (`i128`, `f64`, `Raw`) gets it.

use std::borrow::Cow;

use celery_protocol::RawValue;
use celery_protocol::json::{Special, has_large_integer, unique_members};
use serde::de::value::{
    CowStrDeserializer, MapAccessDeserializer, MapDeserializer, SeqDeserializer,
};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::Error;

/// The name by which `serde` asks for the text of a [`RawValue`].
const RAW: &str = "$serde_json::private::RawValue";

/// The most characters of an integer that an error message shows.
const SHOWN: usize = 24;

/// Reads a value from its JSON text.
pub(super) fn read<T: DeserializeOwned>(raw: &RawValue) -> Result<T, Error> {
    let text = raw.get();
    // An escape can hide the name of a member.
    let is_plain = !has_large_integer(text)
        && ["__type__", "\\u00"]
            .iter()
            .all(|part| !text.contains(part));
    if is_plain {
        serde_json::from_str(text)
    } else {
        T::deserialize(Argument(raw))
    }
}

/// A deserializer over a value's text.
#[derive(Clone, Copy)]
struct Argument<'de>(&'de RawValue);

impl<'de> Argument<'de> {
    fn text(self) -> &'de str {
        self.0.get()
    }

    fn starts_with(self, byte: char) -> bool {
        self.text().starts_with(byte)
    }

    /// Returns the deserializer of `serde_json` over the text.
    fn json(self) -> serde_json::Deserializer<serde_json::de::StrRead<'de>> {
        serde_json::Deserializer::from_str(self.text())
    }

    /// Returns the value that kombu wrapped, if this is a wrapper.
    fn special(self) -> Result<Option<Special>, Error> {
        if !self.starts_with('{') {
            return Ok(None);
        }
        let value = serde_json::from_str(self.text())?;
        Special::from_value(&value)
            .transpose()
            .map_err(Error::custom)
    }

    fn elements(self) -> Result<SeqDeserializer<std::vec::IntoIter<Argument<'de>>, Error>, Error> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.text())?;
        let elements: Vec<_> = elements.into_iter().map(Argument).collect();
        Ok(SeqDeserializer::new(elements.into_iter()))
    }

    fn members(
        self,
    ) -> Result<MapDeserializer<'de, std::vec::IntoIter<(Key<'de>, Argument<'de>)>, Error>, Error>
    {
        let members = unique_members(self.0)?;
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| (Key(name), Argument(value)))
            .collect();
        Ok(MapDeserializer::new(members.into_iter()))
    }

    /// Refuses an integer for which `fits` returns `false`.
    fn check(self, fits: impl Fn(&str) -> bool, most: &str) -> Result<(), Error> {
        let text = self.text();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_integer || fits(text) {
            return Ok(());
        }
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Err(Error::custom(format!(
            "the integer {shown}{more} has more than {most}"
        )))
    }

    /// Refuses an integer that `serde_json` would turn into a float.
    fn check_64_bits(self) -> Result<(), Error> {
        let fits = |text: &str| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
        self.check(fits, "64 bits")
    }
}

impl<'de> IntoDeserializer<'de, Error> for Argument<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Defines methods that check the text first and then leave it to `serde_json`.
macro_rules! checked {
    ($check:expr; $($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                let check: fn(Self) -> Result<(), Error> = $check;
                check(self)?;
                self.json().$method(visitor)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Argument<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text().as_bytes().first() {
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            _ => {
                self.check_64_bits()?;
                self.json().deserialize_any(visitor)
            }
        }
    }

    checked! { |_| Ok(()); deserialize_bool deserialize_char deserialize_f32 deserialize_f64 deserialize_unit deserialize_identifier deserialize_ignored_any }
    checked! { Self::check_64_bits;
    deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }
    checked! { |it| it.check(|text| text.parse::<i128>().is_ok(), "128 bits"); deserialize_i128 }
    checked! { |it| it.check(|text| text.parse::<u128>().is_ok(), "128 bits"); deserialize_u128 }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.special()?.as_ref().and_then(Special::text) {
            Some(text) => visitor.visit_string(text.into_owned()),
            None => self.json().deserialize_str(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.special()? {
            Some(Special::Bytes(bytes)) => visitor.visit_byte_buf(bytes),
            _ if self.starts_with('[') => self.deserialize_seq(visitor),
            _ => self.json().deserialize_bytes(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text() {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.json().deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            RAW => self.json().deserialize_newtype_struct(name, visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.starts_with('[') {
            let mut elements = self.elements()?;
            let value = visitor.visit_seq(&mut elements)?;
            elements.end()?;
            return Ok(value);
        }
        match self.special()? {
            Some(Special::Bytes(bytes)) => {
                let mut bytes = SeqDeserializer::new(bytes.into_iter());
                let value = visitor.visit_seq(&mut bytes)?;
                bytes.end()?;
                Ok(value)
            }
            _ => self.json().deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.starts_with('{') {
            visitor.visit_map(self.members()?)
        } else {
            self.json().deserialize_map(visitor)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.starts_with('[') {
            self.deserialize_seq(visitor)
        } else {
            self.deserialize_map(visitor)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.starts_with('{') {
            visitor.visit_enum(MapAccessDeserializer::new(self.members()?))
        } else {
            self.json().deserialize_enum(name, variants, visitor)
        }
    }
}

/// A deserializer over a member's name, which may be the text of a number.
struct Key<'de>(Cow<'de, str>);

impl<'de> IntoDeserializer<'de, Error> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Defines methods that read a key as a number or a boolean.
macro_rules! numbers {
    ($($method:ident $visit:ident;)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                match self.0.parse() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => self.deserialize_any(visitor),
                }
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        CowStrDeserializer::new(self.0).deserialize_any(visitor)
    }

    numbers! {
        deserialize_i8 visit_i8; deserialize_i16 visit_i16;
        deserialize_i32 visit_i32; deserialize_i64 visit_i64; deserialize_i128 visit_i128;
        deserialize_u8 visit_u8; deserialize_u16 visit_u16;
        deserialize_u32 visit_u32; deserialize_u64 visit_u64; deserialize_u128 visit_u128;
        deserialize_bool visit_bool;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        CowStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn read_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        read(&raw).map_err(|error| error.to_string())
    }

    fn wrapped(kind: &str, value: Value) -> Value {
        json!({ "__type__": kind, "__value__": value })
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        id: uuid::Uuid,
        price: rust_decimal::Decimal,
        at: Option<jiff::Timestamp>,
        days: Vec<chrono::NaiveDate>,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
        note: Option<Value>,
    }

    #[test]
    fn wrapped_values_are_unwrapped_in_any_place() {
        let hex = "12345678123456781234567812345678";
        let order = json!({
            "id": wrapped("uuid", json!({ "hex": hex })),
            "price": wrapped("decimal", json!("12.3400")),
            "at": wrapped("datetime", json!("2026-01-02T03:04:05.678901+00:00")),
            "days": [wrapped("date", json!("2026-01-02")), "2026-01-03"],
            "data": wrapped("base64", json!("/wBhYmM=")),
            "note": wrapped("decimal", json!("1")),
        });
        let day = |day| chrono::NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
        let expected = Order {
            id: hex.parse().unwrap(),
            price: rust_decimal::Decimal::new(123_400, 4),
            at: Some("2026-01-02T03:04:05.678901Z".parse().unwrap()),
            days: vec![day(2), day(3)],
            data: b"\xff\0abc".to_vec(),
            note: Some(wrapped("decimal", json!("1"))),
        };
        assert_eq!(read_text(&order.to_string()), Ok(expected));
        let time = wrapped("time", json!("03:04:05")).to_string();
        assert_eq!(read_text(&time), Ok(jiff::civil::time(3, 4, 5, 0)));
        let naive = wrapped("datetime", json!("2026-01-02T03:04:05")).to_string();
        assert_eq!(
            read_text(&naive),
            Ok(jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0))
        );
        let bytes = wrapped("bytes", json!("abc")).to_string();
        assert_eq!(read_text::<Vec<u8>>(&bytes), Ok(b"abc".to_vec()));
        assert_eq!(read_text::<String>(&bytes), Ok("abc".to_owned()));
        // Text without a wrapper is accepted, too.
        assert_eq!(
            read_text(&format!("\"{hex}\"")),
            Ok(uuid::Uuid::parse_str(hex).unwrap())
        );
    }

    #[test]
    fn a_malformed_wrapper_is_refused() {
        let unknown = wrapped("foo", json!("x")).to_string();
        assert!(
            read_text::<String>(&unknown)
                .unwrap_err()
                .contains("__type__")
        );
        let more = r#"{"__type__":"decimal","__value__":"1","x":2}"#;
        assert!(read_text::<String>(more).is_err());
        let decimal = wrapped("decimal", json!("1")).to_string();
        assert!(read_text::<i64>(&decimal).is_err());
        assert!(read_text::<uuid::Uuid>(&decimal).is_err());
    }

    #[test]
    fn integers_keep_their_digits_or_are_refused_with_them() {
        let (nineteen, twenty) = ("9223372036854775807", "18446744073709551616");
        let many = "7".repeat(400);
        assert_eq!(read_text::<i64>(nineteen), Ok(i64::MAX));
        assert_eq!(read_text::<Value>(nineteen), Ok(json!(i64::MAX)));
        assert_eq!(read_text::<i128>(twenty), Ok(1 << 64));
        assert_eq!(read_text::<f64>(twenty), Ok(18_446_744_073_709_551_616.0));
        for text in [twenty, &many, &format!("-{twenty}"), "-9223372036854775809"] {
            for text in [
                text.to_owned(),
                format!("[{text}]"),
                format!("{{\"a\":[1,{text}]}}"),
            ] {
                let kept: Box<RawValue> = read_text(&text).unwrap();
                assert_eq!(kept.get(), text);
                let refused = read_text::<Value>(&text).unwrap_err();
                assert!(refused.contains("has more than 64 bits"), "{refused}");
            }
            for refused in [
                read_text::<i64>(text).unwrap_err(),
                read_text::<u8>(text).unwrap_err(),
                read_text::<serde_json::Number>(text).unwrap_err(),
                read_text::<Option<i64>>(text).unwrap_err(),
            ] {
                assert!(
                    refused.contains(&format!("the integer {}", &text[..19])),
                    "{refused}"
                );
            }
        }
        assert!(read_text::<i128>(&many).unwrap_err().contains("128 bits"));
        // A float may have that many digits.
        assert_eq!(
            read_text::<Value>("0.12345678901234567890123"),
            Ok(json!(0.123_456_789_012_345_68))
        );
    }

    #[test]
    fn every_other_type_is_read_as_serde_json_reads_it() {
        #[derive(Debug, Deserialize, PartialEq)]
        enum Kind {
            Unit,
            One(u8),
            Two(u8, String),
            Named { a: Option<bool> },
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Id(u32);
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        type All = (
            Vec<Kind>,
            HashMap<u32, Id>,
            (char, (), [i8; 2]),
            Vec<Either>,
            Option<Value>,
        );
        let text = r#"[["Unit",{"One":1},{"Two":[2,"\u0000"]},{"Named":{"a":true}}],{"5":6},["x",null,[-1,2]],[1.5,"t"],null]"#;
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(
            All::deserialize(Argument(&raw)).unwrap(),
            serde_json::from_str::<All>(text).unwrap()
        );
        for wrong in ["[1,2,3]", "\"x\"", "{}", "[1]"] {
            let raw = RawValue::from_string(wrong.to_owned()).unwrap();
            assert!(<(u8, u8)>::deserialize(Argument(&raw)).is_err(), "{wrong}");
        }
    }
}
