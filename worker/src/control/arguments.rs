//! The arguments of a command, read as a Python function reads its keyword arguments.

use serde_json::{Map, Value};

use super::answer::raised;

/// The name of a command and its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    command: &'a str,
    given: &'a Map<String, Value>,
}

impl<'a> Arguments<'a> {
    /// Checks that the arguments are an object.
    pub(crate) fn new(command: &'a str, given: &'a Value) -> Result<Self, String> {
        match given {
            Value::Object(given) => Ok(Self { command, given }),
            _ => Err(raised("TypeError", "arguments must be a mapping")),
        }
    }

    /// Returns the name of the command.
    pub(crate) fn command(&self) -> &'a str {
        self.command
    }

    /// Returns an argument that is given and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.given.get(name).filter(|value| !value.is_null())
    }

    /// Returns an argument that must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&'a Value, String> {
        self.given.get(name).ok_or_else(|| {
            let command = self.command;
            let message = format!("{command}() missing 1 required positional argument: '{name}'");
            raised("TypeError", &message)
        })
    }

    /// Returns an argument that must be given and be a text.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, String> {
        let wrong = || raised("TypeError", &format!("{name} must be a text"));
        self.required(name)?.as_str().ok_or_else(wrong)
    }

    /// Returns an argument that is a whole number from 1, or `absent` if it is not given.
    pub(crate) fn number(&self, name: &str, absent: usize) -> Result<usize, String> {
        let Some(given) = self.get(name) else {
            return Ok(absent);
        };
        let number = given.as_u64().and_then(|number| number.try_into().ok());
        let wrong = || raised("ValueError", &format!("{name} must be a number from 1"));
        number.filter(|number| *number >= 1).ok_or_else(wrong)
    }

    /// Returns `true` if an argument is given and Python takes it for true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(members)) => !members.is_empty(),
            None | Some(Value::Null) => false,
        }
    }

    /// Returns the texts of an argument that is a text or a list of texts, as `maybe_list` does.
    /// Other values in the list are ignored: they name nothing.
    pub(crate) fn texts(&self, name: &str) -> Vec<&'a str> {
        match self.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_read_as_python_reads_them() {
        let given = json!({
            "no": [false, 0, 0.0, "", [], {}, null], "ids": ["a", 3, "b"], "id": "a", "null": null,
            "yes": [true, 1, -1, "0", [0], {"a": 0}],
        });
        let arguments = Arguments::new("revoke", &given).unwrap();
        assert_eq!(arguments.texts("ids"), ["a", "b"]);
        assert_eq!(arguments.texts("id"), ["a"]);
        assert!(arguments.texts("none").is_empty() && arguments.texts("null").is_empty());
        assert_eq!(
            arguments.required("task_id").unwrap_err(),
            "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"
        );
        for (name, wanted) in [("no", false), ("yes", true)] {
            for value in given[name].as_array().unwrap() {
                let given = json!({"flag": value});
                let arguments = Arguments::new("x", &given).unwrap();
                assert_eq!(arguments.flag("flag"), wanted, "{value}");
            }
        }
        assert!(!arguments.flag("none"));
        let given = json!({"n": 3, "none": null, "wrong": [0, -1, 1.5, "3", true, 1e30]});
        let arguments = Arguments::new("pool_grow", &given).unwrap();
        assert_eq!(arguments.number("n", 1), Ok(3));
        assert_eq!(arguments.number("none", 1), Ok(1));
        for wrong in given["wrong"].as_array().unwrap() {
            let given = json!({"n": wrong});
            let arguments = Arguments::new("pool_grow", &given).unwrap();
            assert!(arguments.number("n", 1).is_err(), "{wrong}");
        }
        for other in [json!([1]), json!("a"), json!(1), json!(true)] {
            assert!(Arguments::new("ping", &other).is_err(), "{other}");
        }
    }
}
