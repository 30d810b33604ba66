//! The arguments of a task's next run, if the task changes them.

use std::borrow::Cow;

use celery_protocol::fields::Fields;
use celery_protocol::json::unique_members;
use celery_protocol::message::Task;
use serde_json::value::{RawValue, to_raw_value};

/// The arguments that a task gives to its next run. Where it gives only one of the two, the other
/// one stays, except for the parameters that now have a new value. That is the rule of `Task.retry`
/// in `celery/app/task.py` of 5.7.
#[derive(Clone, Debug, Default)]
pub struct NewArguments {
    /// The positional arguments, a JSON list.
    pub(crate) args: Option<Box<RawValue>>,
    /// The keyword arguments, a JSON object.
    pub(crate) kwargs: Option<Box<RawValue>>,
    /// The names of the task's parameters, in their order. Empty if they are not known.
    pub(crate) parameters: Vec<&'static str>,
}

impl NewArguments {
    /// Returns the task with these arguments.
    pub(crate) fn put_into(&self, task: &Task) -> Task {
        let mut task = task.clone();
        match (&self.args, &self.kwargs) {
            (Some(args), None) => {
                task.kwargs = self.without_replaced(&task.kwargs, args);
                task.args.clone_from(args);
            }
            (None, Some(kwargs)) => {
                let moved = self.replace_positional(&task.args, kwargs);
                (task.args, task.kwargs) = moved.unwrap_or_else(|| (task.args, kwargs.to_owned()));
            }
            (Some(args), Some(kwargs)) => {
                task.args.clone_from(args);
                task.kwargs.clone_from(kwargs);
            }
            (None, None) => return task,
        }
        // These texts show the arguments, and are written anew.
        (task.argsrepr, task.kwargsrepr) = (None, None);
        task
    }

    /// Returns the keyword arguments of the last run without those of parameters that have a new
    /// positional argument.
    fn without_replaced(&self, kwargs: &RawValue, args: &RawValue) -> Box<RawValue> {
        let given = elements(args).map_or(0, |args| args.len());
        let replaced = self.parameters.get(..given).unwrap_or(&self.parameters);
        let kept = unique_members(kwargs).ok().and_then(|members| {
            let kept = members.into_iter();
            object(kept.filter(|(name, _)| !replaced.contains(&&**name)))
        });
        kept.unwrap_or_else(|| kwargs.to_owned())
    }

    /// Returns the positional arguments of the last run with the new values that have been given
    /// by name, and the other new keyword arguments.
    fn replace_positional(
        &self,
        args: &RawValue,
        kwargs: &RawValue,
    ) -> Option<(Box<RawValue>, Box<RawValue>)> {
        let mut args = elements(args)?;
        let mut others = Vec::new();
        for (name, value) in unique_members(kwargs).ok()? {
            let place = self.parameters.iter().position(|it| **it == *name);
            match place.and_then(|place| args.get_mut(place)) {
                Some(old) => *old = value,
                None => others.push((name, value)),
            }
        }
        Some((to_raw_value(&args).ok()?, object(others.into_iter())?))
    }
}

fn elements(list: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list.get()).ok()
}

fn object<'m>(
    members: impl Iterator<Item = (Cow<'m, str>, &'m RawValue)>,
) -> Option<Box<RawValue>> {
    let mut fields = Fields::new();
    for (name, value) in members {
        fields.insert(name, value.to_owned());
    }
    to_raw_value(&fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    /// What Celery 5.7 sends for a function `f(foo, bar, label=None, *args, **kwargs)`.
    #[test]
    fn what_is_not_given_anew_stays() {
        for (args, kwargs, new_args, new_kwargs, expected) in [
            (
                "[]",
                r#"{"foo":1,"bar":2,"label":"x"}"#,
                Some("[2,3]"),
                None,
                r#"[2,3] {"label":"x"}"#,
            ),
            ("[1]", r#"{"bar":2}"#, Some("[5]"), None, r#"[5] {"bar":2}"#),
            (
                "[1,2,3,4]",
                r#"{"more":5}"#,
                Some("[1,2,3,4,6]"),
                None,
                r#"[1,2,3,4,6] {"more":5}"#,
            ),
            ("[1,2]", "{}", None, Some(r#"{"foo":2}"#), "[2,2] {}"),
            (
                "[1]",
                r#"{"bar":7}"#,
                None,
                Some(r#"{"foo":2,"more":3}"#),
                r#"[2] {"more":3}"#,
            ),
            (
                "[1]",
                r#"{"bar":7}"#,
                None,
                Some(r#"{"bar":2}"#),
                r#"[1] {"bar":2}"#,
            ),
            ("[1]", r#"{"bar":7}"#, Some("[]"), Some("{}"), "[] {}"),
            ("[1]", r#"{"bar":7}"#, None, None, r#"[1] {"bar":7}"#),
        ] {
            let mut task = Task::new("id", "f", raw(args), raw(kwargs));
            task.argsrepr = Some("old".to_owned());
            let new = NewArguments {
                args: new_args.map(raw),
                kwargs: new_kwargs.map(raw),
                parameters: vec!["foo", "bar", "label"],
            };
            let next = new.put_into(&task);
            let found = format!("{} {}", next.args.get(), next.kwargs.get());
            assert_eq!(found, expected);
            let is_changed = new_args.or(new_kwargs).is_some();
            assert_eq!(next.argsrepr.is_none(), is_changed);
        }
    }
}
