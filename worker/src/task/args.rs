//! Puts a message's arguments in the places of a function's parameters, with Python's rules and
//! Python's error messages.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use celery_protocol::json::unique_members;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::argument::read;
use super::binding::Underway;
use super::error::{Exception, TaskError};

/// The parameters of a task, as callers see them. `#[task]` generates this value.
#[derive(Debug)]
pub struct Signature {
    /// The function's name, for error messages.
    pub function: &'static str,
    /// The named parameters, in order.
    pub params: &'static [Param],
    /// `true` if the task takes further positional arguments ([`Args`]).
    pub rest: bool,
    /// `true` if the task takes further keyword arguments ([`Kwargs`]).
    pub keywords: bool,
}

/// One named parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// `true` if every call must give it.
    pub required: bool,
}

/// The positional arguments that no named parameter takes, like Python's `*args`.
///
/// `Args<Raw>` keeps each of them as JSON text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args<T = Value>(pub Vec<T>);

/// The keyword arguments that no named parameter takes, like Python's `**kwargs`.
///
/// `Kwargs<Raw>` keeps each of them as JSON text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kwargs<T = Value>(pub BTreeMap<String, T>);

/// Any JSON value as its text. Integers of any length keep their digits.
pub type Raw = Box<RawValue>;

/// A message's arguments in the places of a [`Signature`].
#[derive(Debug)]
pub struct Bound<'m> {
    signature: &'static Signature,
    values: Vec<Option<&'m RawValue>>,
    rest: Vec<&'m RawValue>,
    keywords: Vec<(Cow<'m, str>, &'m RawValue)>,
    /// Records the end of the binding when it is dropped.
    pub(super) underway: Option<Underway>,
}

impl<'m> Bound<'m> {
    pub(crate) fn new(
        signature: &'static Signature,
        args: &'m RawValue,
        kwargs: &'m RawValue,
    ) -> Result<Self, TaskError> {
        let function = signature.function;
        let args: Vec<&RawValue> = serde_json::from_str(args.get())
            .map_err(|_| type_error(format!("{function}() argument after * must be a list")))?;
        let kwargs = unique_members(kwargs)
            .map_err(|_| type_error(format!("{function}() argument after ** must be a mapping")))?;
        let places = signature.params.len();
        if args.len() > places && !signature.rest {
            let given = args.len();
            return Err(type_error(format!(
                "{function}() takes {places} positional argument{} but {given} {} given",
                if places == 1 { "" } else { "s" },
                if given == 1 { "was" } else { "were" },
            )));
        }
        let mut args = args.into_iter();
        let mut values: Vec<Option<&RawValue>> =
            signature.params.iter().map(|_| args.next()).collect();
        let mut keywords = Vec::new();
        for (name, value) in kwargs {
            match signature.params.iter().position(|param| param.name == name) {
                Some(at) if values[at].is_some() => {
                    return Err(type_error(format!(
                        "{function}() got multiple values for argument '{name}'"
                    )));
                }
                Some(at) => values[at] = Some(value),
                None if signature.keywords => keywords.push((name, value)),
                None => {
                    return Err(type_error(format!(
                        "{function}() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
        let missing: Vec<String> = std::iter::zip(signature.params, &values)
            .filter(|(param, value)| param.required && value.is_none())
            .map(|(param, _)| format!("'{}'", param.name))
            .collect();
        if let Some((last, others)) = missing.split_last() {
            let names = match others {
                [] => last.clone(),
                [only] => format!("{only} and {last}"),
                others => format!("{}, and {last}", others.join(", ")),
            };
            let plural = if others.is_empty() { "" } else { "s" };
            return Err(type_error(format!(
                "{function}() missing {} required positional argument{plural}: {names}",
                missing.len(),
            )));
        }
        Ok(Bound {
            signature,
            values,
            rest: args.collect(),
            keywords,
            underway: None,
        })
    }

    /// Takes the argument of the required parameter at this place.
    ///
    /// # Errors
    ///
    /// A `TypeError`, as Python names it, if the call lacks the argument or its value has another
    /// type.
    pub fn required<T: DeserializeOwned>(&mut self, at: usize) -> Result<T, TaskError> {
        self.optional(at)?.ok_or_else(|| {
            let name = self
                .signature
                .params
                .get(at)
                .map_or("?", |param| param.name);
            type_error(format!("{}() missing '{name}'", self.signature.function))
        })
    }

    /// Takes the argument of the parameter at this place. Returns `None` if the call lacks it.
    ///
    /// # Errors
    ///
    /// A `TypeError` if the value has another type.
    pub fn optional<T: DeserializeOwned>(&mut self, at: usize) -> Result<Option<T>, TaskError> {
        let Some(value) = self.values.get_mut(at).and_then(Option::take) else {
            return Ok(None);
        };
        read(value).map(Some).map_err(|error| {
            let name = self
                .signature
                .params
                .get(at)
                .map_or("?", |param| param.name);
            let function = self.signature.function;
            type_error(format!(
                "{function}() argument '{name}': {}",
                without_place(&error)
            ))
        })
    }

    /// Takes the positional arguments that no named parameter took.
    ///
    /// # Errors
    ///
    /// A `TypeError` if a value has another type.
    pub fn args<T: DeserializeOwned>(&mut self) -> Result<Args<T>, TaskError> {
        let function = self.signature.function;
        let places = self.signature.params.len()..;
        let rest = std::mem::take(&mut self.rest).into_iter().zip(places);
        let values = rest.map(|(value, at)| {
            read(value).map_err(|error| {
                type_error(format!(
                    "{function}() argument {at}: {}",
                    without_place(&error)
                ))
            })
        });
        Ok(Args(values.collect::<Result<_, _>>()?))
    }

    /// Takes the keyword arguments that no named parameter took.
    ///
    /// # Errors
    ///
    /// A `TypeError` if a value has another type.
    pub fn kwargs<T: DeserializeOwned>(&mut self) -> Result<Kwargs<T>, TaskError> {
        let function = self.signature.function;
        let keywords = std::mem::take(&mut self.keywords).into_iter();
        let values = keywords.map(|(name, value)| match read(value) {
            Ok(value) => Ok((name.into_owned(), value)),
            Err(error) => Err(type_error(format!(
                "{function}() argument '{name}': {}",
                without_place(&error)
            ))),
        });
        Ok(Kwargs(values.collect::<Result<_, _>>()?))
    }
}

/// Reads one call of a batched task as a value of the task's own type. A struct takes positional
/// arguments in the order of its fields, and keyword arguments by their names. A tuple takes only
/// positional ones.
pub(crate) fn bind_whole<T: DeserializeOwned>(
    function: &str,
    args: &RawValue,
    kwargs: &RawValue,
) -> Result<T, TaskError> {
    let complain =
        |error: serde_json::Error| type_error(format!("{function}(): {}", without_place(&error)));
    if kwargs.get() == "{}" {
        return read(args).map_err(complain);
    }
    let mut values: BTreeMap<Cow<'_, str>, &RawValue> = unique_members(kwargs)
        .map_err(complain)?
        .into_iter()
        .collect();
    let args: Vec<&RawValue> = serde_json::from_str(args.get()).map_err(complain)?;
    let fields = field_names::<T>();
    if args.len() > fields.len() {
        return Err(type_error(format!(
            "{function}() takes {} positional arguments but {} were given",
            fields.len(),
            args.len(),
        )));
    }
    for (field, value) in std::iter::zip(fields, args) {
        if values.insert(Cow::Borrowed(*field), value).is_some() {
            return Err(type_error(format!(
                "{function}() got multiple values for argument '{field}'"
            )));
        }
    }
    let whole = to_raw_value(&values).map_err(complain)?;
    read(&whole).map_err(complain)
}

/// Returns the error for a wrong call. It is permanent: running the call again cannot help.
pub(crate) fn type_error(message: String) -> TaskError {
    TaskError::Failed(Exception::new("TypeError", message).permanent())
}

/// Removes " at line 1 column 3" from the end of an error of `serde_json`. It says nothing about an
/// argument.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Returns the names of a struct's fields, or an empty list for any other type. It learns them from
/// what the type asks of a deserializer.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Ask<'c>(&'c Cell<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("only asked for names"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.set(fields);
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let names: Cell<&'static [&'static str]> = Cell::new(&[]);
    let _ = T::deserialize(Ask(&names));
    names.get()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const ADD: Signature = Signature {
        function: "add",
        params: &[
            Param {
                name: "x",
                required: true,
            },
            Param {
                name: "y",
                required: true,
            },
        ],
        rest: false,
        keywords: false,
    };
    const ECHO: Signature = Signature {
        function: "echo",
        params: &[],
        rest: true,
        keywords: true,
    };

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn add(args: &str, kwargs: &str) -> Result<(i64, i64), String> {
        let (args, kwargs) = (raw(args), raw(kwargs));
        let bound = Bound::new(&ADD, &args, &kwargs);
        bound
            .and_then(|mut bound| Ok((bound.required(0)?, bound.required(1)?)))
            .map_err(|error| match error {
                TaskError::Failed(exception) => exception.to_string(),
                other => format!("{other:?}"),
            })
    }

    #[test]
    fn positional_and_keyword() {
        assert_eq!(add("[2, 3]", "{}"), Ok((2, 3)));
        assert_eq!(add("[2]", r#"{"y": 3}"#), Ok((2, 3)));
        assert_eq!(add("[]", r#"{"y": 3, "\u0078": 2}"#), Ok((2, 3)));
    }

    #[test]
    fn error_messages_are_those_of_python() {
        for (args, kwargs, complaint) in [
            (
                "[1]",
                "{}",
                r#"TypeError("add() missing 1 required positional argument: 'y'")"#,
            ),
            (
                "[]",
                "{}",
                r#"TypeError("add() missing 2 required positional arguments: 'x' and 'y'")"#,
            ),
            (
                "[1,2,3]",
                "{}",
                "TypeError('add() takes 2 positional arguments but 3 were given')",
            ),
            (
                "[1,2]",
                r#"{"z":1}"#,
                r#"TypeError("add() got an unexpected keyword argument 'z'")"#,
            ),
            (
                "[1,2]",
                r#"{"x":1}"#,
                r#"TypeError("add() got multiple values for argument 'x'")"#,
            ),
            (
                r#"["a",2]"#,
                "{}",
                r#"TypeError('add() argument \'x\': invalid type: string "a", expected i64')"#,
            ),
        ] {
            assert_eq!(
                add(args, kwargs),
                Err(complaint.to_owned()),
                "{args} {kwargs}"
            );
        }
    }

    #[test]
    fn arguments_without_a_parameter_are_kept() {
        let (args, kwargs) = (raw(r#"[1,"a"]"#), raw(r#"{"k":[null]}"#));
        let mut bound = Bound::new(&ECHO, &args, &kwargs).unwrap();
        assert_eq!(
            bound.args().unwrap(),
            Args::<Value>(vec![1.into(), "a".into()])
        );
        assert_eq!(
            bound.kwargs::<Value>().unwrap().0["k"],
            serde_json::json!([null])
        );
    }

    /// With this number of members, code whose time grows with its square would exceed the suite's
    /// time limit.
    const VERY_MANY: usize = 200_000;

    /// Returns three objects of very many members: all of different names, all of one name, and all
    /// of names with escapes.
    fn objects() -> [String; 3] {
        let names: [fn(usize) -> String; 3] = [
            |at| format!("k{at}"),
            |_| "k".to_owned(),
            |at| format!("\\u006b{at}"),
        ];
        names.map(|name| {
            let members: Vec<String> = (0..VERY_MANY)
                .map(|at| format!("\"{}\":{at}", name(at)))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    }

    #[test]
    fn very_many_keyword_arguments_take_time_that_grows_with_their_number() {
        #[derive(Debug, Deserialize)]
        struct One {
            #[allow(dead_code, reason = "only read")]
            k: u32,
        }
        let args = raw("[]");
        for kwargs in objects() {
            let kwargs = raw(&kwargs);
            let mut bound = Bound::new(&ECHO, &args, &kwargs).unwrap();
            let given: BTreeMap<String, Value> = bound.kwargs().unwrap().0;
            assert!(given.len() == VERY_MANY || given["k"] == VERY_MANY - 1);
            let complaint = add("[]", kwargs.get()).unwrap_err();
            assert!(complaint.contains("unexpected keyword argument 'k"));
            let whole = bind_whole::<One>("one", &args, &kwargs);
            assert_eq!(whole.is_ok(), given.len() == 1);
        }
    }

    #[test]
    fn a_whole_call_is_a_struct_or_a_tuple() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Move {
            from: u32,
            to: u32,
        }
        let whole =
            |args: &str, kwargs: &str| bind_whole::<Move>("mv", &raw(args), &raw(kwargs)).ok();
        assert_eq!(whole("[1,2]", "{}"), Some(Move { from: 1, to: 2 }));
        assert_eq!(whole("[1]", r#"{"to":2}"#), Some(Move { from: 1, to: 2 }));
        assert_eq!(
            whole("[]", r#"{"to":2,"from":1}"#),
            Some(Move { from: 1, to: 2 })
        );
        assert_eq!(whole("[1]", r#"{"from":2}"#), None);
        assert_eq!(whole("[1]", "{}"), None);
        assert_eq!(
            bind_whole::<(u8,)>("one", &raw("[7]"), &raw("{}")).ok(),
            Some((7,))
        );
    }
}
