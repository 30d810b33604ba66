//! Gives the rows of a query as values of the task's own types, by serde.
//!
//! A struct takes columns by their names, a tuple by their order. Any other type takes the only
//! column.

use std::sync::Arc;

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};

use super::DatabaseError;
use super::cell::Cell;

/// The most bytes of one query's rows, about. A task that reads more should read in parts.
const MOST: usize = 64 << 20;

/// The rows of a query.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: Arc<[String]>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Table {
    /// Adds a row. `names` gives the names of the columns.
    pub(super) fn add(
        &mut self,
        names: impl FnOnce() -> Vec<String>,
        row: Vec<Cell>,
    ) -> Result<(), sqlx::Error> {
        if self.rows.is_empty() {
            self.names = names().into();
        }
        self.bytes += row.iter().map(Cell::bytes).sum::<usize>();
        if self.bytes > MOST {
            let why = format!(
                "the rows have more than {} MiB: read them in parts",
                MOST >> 20
            );
            return Err(sqlx::Error::Decode(why.into()));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Returns how many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the rows as values of a type.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<Vec<T>, DatabaseError> {
        let names = self.names;
        let rows = self.rows.into_iter().map(|cells| {
            let names = Arc::clone(&names);
            T::deserialize(RowReader { names, cells })
        });
        let rows = rows.collect::<Result<_, _>>();
        rows.map_err(|error: Error| DatabaseError::unreadable(error.to_string()))
    }
}

/// Reads a row.
struct RowReader {
    names: Arc<[String]>,
    cells: Vec<Cell>,
}

impl RowReader {
    fn only(mut self) -> Result<Named, Error> {
        match (self.cells.pop(), self.cells.len()) {
            (Some(cell), 0) => {
                let name = self.names.first().cloned().unwrap_or_default();
                Ok(Named { name, cell })
            }
            (_, others) => Err(Error::custom(format!(
                "a row has {} columns, and its type takes one; use a struct or a tuple",
                others + 1
            ))),
        }
    }
}

/// Forwards methods of a deserializer of a row to its only column.
macro_rules! by_the_only_column {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.read(|cell| cell.$method(visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for RowReader {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Columns::of(self))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Columns::of(self))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        if self.cells.len() != len {
            let columns = self.cells.len();
            let why = format!("a row has {columns} columns, and its type takes {len}");
            return Err(Error::custom(why));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
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
        self.only()?
            .read(|cell| cell.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    by_the_only_column! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_identifier
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// A column of a row, with its name for errors.
struct Named {
    name: String,
    cell: Cell,
}

impl Named {
    fn read<T>(self, read: impl FnOnce(Cell) -> Result<T, Error>) -> Result<T, Error> {
        let Named { name, cell } = self;
        read(cell).map_err(|error| Error::custom(format!("the column {name}: {error}")))
    }
}

/// The columns of a row, one after the other.
struct Columns {
    names: Arc<[String]>,
    cells: std::iter::Enumerate<std::vec::IntoIter<Cell>>,
    value: Option<Named>,
}

impl Columns {
    fn of(row: RowReader) -> Self {
        Columns {
            names: row.names,
            cells: row.cells.into_iter().enumerate(),
            value: None,
        }
    }

    fn next(&mut self) -> Option<Named> {
        let (at, cell) = self.cells.next()?;
        let name = self.names.get(at).cloned().unwrap_or_default();
        Some(Named { name, cell })
    }
}

impl<'de> MapAccess<'de> for Columns {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = self.next();
        let name = self.value.as_ref().map(|column| column.name.clone());
        name.map(|name| seed.deserialize(name.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let column = self.value.take();
        let column = column.ok_or_else(|| Error::custom("a value without a name"))?;
        column.read(|cell| seed.deserialize(cell))
    }
}

impl<'de> SeqAccess<'de> for Columns {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let column = self.next();
        column
            .map(|column| column.read(|cell| seed.deserialize(cell)))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    fn read<T: DeserializeOwned>(columns: &[(&str, Cell)]) -> Result<T, String> {
        let mut table = Table::default();
        let names = || columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let cells = columns.iter().map(|(_, cell)| cell.clone()).collect();
        table.add(names, cells).unwrap();
        let rows = table.read::<T>().map_err(|error| error.to_string())?;
        Ok(rows.into_iter().next().unwrap())
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Open,
        Closed,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        id: u64,
        state: State,
        note: Option<String>,
        paid: bool,
        #[serde(default)]
        lines: Vec<String>,
    }

    #[test]
    fn a_struct_takes_columns_by_name() {
        let columns = [
            ("note", Cell::Null),
            ("state", Cell::Text("closed".into())),
            ("id", Cell::Unsigned(u64::MAX)),
            ("paid", Cell::Whole(1)),
            ("more", Cell::Bytes(vec![255])),
            ("lines", Cell::Text("[\"a\"]".into())),
        ];
        let order: Order = read(&columns).unwrap();
        let expected = Order {
            id: u64::MAX,
            state: State::Closed,
            note: None,
            paid: true,
            lines: vec!["a".into()],
        };
        assert_eq!(order, expected);
        let missing = read::<Order>(&columns[1..3]).unwrap_err();
        assert!(missing.contains("missing field `paid`"), "{missing}");
        let wrong = read::<Order>(&[("id", Cell::Text("x".into()))]).unwrap_err();
        assert!(wrong.contains("the column id: invalid type"), "{wrong}");
        let unknown = read::<Order>(&[("state", Cell::Text("lost".into()))]).unwrap_err();
        assert!(unknown.contains("unknown variant `lost`"), "{unknown}");
    }

    #[test]
    fn other_types_take_columns_by_their_order_or_the_only_one() {
        let two = [("a", Cell::Whole(-1)), ("b", Cell::Exact("2.50".into()))];
        assert_eq!(read::<(i64, String)>(&two), Ok((-1, "2.50".into())));
        assert_eq!(read::<(i8, f64)>(&two), Ok((-1, 2.5)));
        assert!(read::<(i64,)>(&two).unwrap_err().contains("takes 1"));
        assert!(read::<i64>(&two).unwrap_err().contains("takes one"));
        assert!(read::<(u64, f64)>(&two).is_err());
        let one = |cell: Cell| [("sum", cell)];
        assert_eq!(read::<i64>(&one(Cell::Exact("7".into()))), Ok(7));
        assert!(read::<i64>(&one(Cell::Exact("7.5".into()))).is_err());
        assert_eq!(read::<Option<u8>>(&one(Cell::Null)), Ok(None));
        assert_eq!(read::<Option<u8>>(&one(Cell::Whole(3))), Ok(Some(3)));
        assert!(read::<u8>(&one(Cell::Whole(300))).is_err());
        assert_eq!(
            read::<(Vec<u8>,)>(&one(Cell::Bytes(vec![0, 255]))),
            Ok((vec![0, 255],))
        );
        let text = || Cell::Bytes("{\"a\":[2]}".into());
        assert_eq!(read::<String>(&one(text())), Ok("{\"a\":[2]}".into()));
        let inner = read::<(std::collections::BTreeMap<String, Vec<u8>>,)>(&one(text()));
        assert_eq!(inner.unwrap().0["a"], [2]);
        let json = serde_json::json!({ "deep": [1, null] });
        let row = read::<Value>(&one(Cell::Json(json.clone())));
        assert_eq!(row, Ok(serde_json::json!({ "sum": json })));
        let named = read::<std::collections::BTreeMap<String, i64>>(&one(Cell::Whole(4)));
        assert_eq!(named.unwrap()["sum"], 4);
    }

    #[test]
    fn the_rows_of_a_query_have_a_limit() {
        let mut table = Table::default();
        let large = || vec![Cell::Bytes(vec![0; MOST / 3])];
        for fits in [true, true, false] {
            let added = table.add(|| vec!["a".to_owned()], large());
            assert_eq!(added.is_ok(), fits);
        }
    }
}
