//! Signatures: descriptions of calls, which a running task sends with
//! [`Context::send`](crate::Context::send).
//!
//! A [`Signature`] is a task with its arguments and options, or a [`chain`], a [`group`] or a
//! [`chord`] of signatures. The names of options and their meaning are those of Celery's
//! `apply_async`.
//!
//! ```
//! use celery_worker::canvas::{Signature, chain, group};
//! use celery_worker::{Context, TaskResult, task};
//!
//! /// Sends a thumbnail of each picture, and then a report.
//! #[task(name = "shop.publish")]
//! async fn publish(context: Context, pictures: Vec<String>) -> TaskResult<String> {
//!     let thumbnails = pictures
//!         .iter()
//!         .map(|picture| Signature::new("shop.thumbnail").arg(picture));
//!     let report = Signature::new("shop.report").option("queue", "reports");
//!     let sent = context.send(chain([group(thumbnails), report]))?;
//!     Ok(sent.id().to_owned())
//! }
//! ```

use std::time::Duration;

use celery_protocol::canvas::{Kind, Options, Signature as Inner, json};
use celery_protocol::fields::Fields;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A description of a call: a task with arguments and options, or a composite.
///
/// As a parameter of a task, it takes a signature that a client sent as an argument.
#[derive(Clone, Debug)]
pub struct Signature(Result<Inner, String>);

/// Returns a chain: its steps run one after the other, and each gets the result of the step before
/// as its first argument.
pub fn chain<S: Into<Signature>>(steps: impl IntoIterator<Item = S>) -> Signature {
    composite("celery.chain", steps, Kind::Chain)
}

/// Returns a group: its members run at the same time.
pub fn group<S: Into<Signature>>(members: impl IntoIterator<Item = S>) -> Signature {
    composite("celery.group", members, Kind::Group)
}

/// Returns a chord: when all members of the header have ended, the body gets the list of their
/// results as its first argument.
pub fn chord<S: Into<Signature>>(
    header: impl IntoIterator<Item = S>,
    body: impl Into<Signature>,
) -> Signature {
    let body = body.into().0;
    let header = all(header);
    Signature(header.and_then(|header| Ok(Inner::chord(header, body?, Options::default()))))
}

fn composite<S: Into<Signature>>(
    task: &str,
    parts: impl IntoIterator<Item = S>,
    kind: impl FnOnce(Vec<Inner>) -> Kind,
) -> Signature {
    Signature(all(parts).map(|parts| Inner {
        task: task.to_owned(),
        kind: kind(parts),
        ..Inner::group(Vec::new())
    }))
}

fn all<S: Into<Signature>>(parts: impl IntoIterator<Item = S>) -> Result<Vec<Inner>, String> {
    parts.into_iter().map(|part| part.into().0).collect()
}

impl Signature {
    /// Returns the call of a task without arguments.
    pub fn new(task: impl Into<String>) -> Self {
        Signature(json(&Fields::default()).map_err(text).map(|kwargs| Inner {
            task: task.into(),
            kind: Kind::Task {
                kwargs,
                subtask_type: None,
            },
            ..Inner::group(Vec::new())
        }))
    }

    /// Adds a positional argument. A composite takes none: give them to its parts.
    #[must_use]
    pub fn arg(self, value: impl Serialize) -> Self {
        self.change(|inner| {
            if !matches!(inner.kind, Kind::Task { .. }) {
                return Err("only a single task takes arguments".to_owned());
            }
            inner.args.push(json(&value).map_err(text)?);
            Ok(())
        })
    }

    /// Adds a keyword argument. A second one of this name replaces the first.
    #[must_use]
    pub fn kwarg(self, name: &str, value: impl Serialize) -> Self {
        self.change(|inner| {
            let Kind::Task { kwargs, .. } = &mut inner.kind else {
                return Err("only a single task takes arguments".to_owned());
            };
            let mut all: Fields = serde_json::from_str(kwargs.get()).map_err(text)?;
            all.insert(name, to_raw_value(&value).map_err(text)?);
            *kwargs = json(&all).map_err(text)?;
            Ok(())
        })
    }

    /// Sets an option under the name that Celery's `apply_async` gives it: `queue`, `priority`,
    /// `task_id`, `expires`, `time_limit`, `ignore_result`, …
    #[must_use]
    pub fn option(self, name: &str, value: impl Serialize) -> Self {
        self.change(|inner| inner.options.set(name, &value).map_err(text))
    }

    /// Sets how long the call waits before it runs.
    #[must_use]
    pub fn countdown(self, wait: Duration) -> Self {
        self.option("countdown", wait.as_secs_f64())
    }

    /// Makes the call keep its own arguments: it ignores the result of the task before it.
    #[must_use]
    pub fn immutable(self) -> Self {
        self.change(|inner| {
            inner.immutable = true;
            Ok(())
        })
    }

    /// Adds a task that is called with the result if the call succeeds. A group takes none: use
    /// [`chain`] or [`chord`].
    #[must_use]
    pub fn link(self, callback: impl Into<Signature>) -> Self {
        self.linked("link", callback.into())
    }

    /// Adds a task that is called with the id of the failed task if the call fails. A group takes
    /// none: give it to each member.
    #[must_use]
    pub fn link_error(self, errback: impl Into<Signature>) -> Self {
        self.linked("link_error", errback.into())
    }

    /// Puts arguments before its own, unless it is immutable.
    ///
    /// # Errors
    ///
    /// An argument that has no JSON form.
    pub(crate) fn before<T: Serialize>(self, args: &[T]) -> serde_json::Result<Self> {
        let written: Vec<_> = args
            .iter()
            .map(|arg| to_raw_value(arg).map(Into::into))
            .collect::<serde_json::Result<_>>()?;
        Ok(self.change(|inner| {
            inner.prepend(&written);
            Ok(())
        }))
    }

    fn linked(self, name: &str, other: Signature) -> Self {
        self.change(|inner| {
            if matches!(inner.kind, Kind::Group(_)) {
                return Err(format!("a group takes no {name}"));
            }
            let other = other.0?.json().map_err(text)?;
            inner.options.append(name, &[other]).map_err(text)
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Inner) -> Result<(), String>) -> Self {
        if let Ok(inner) = &mut self.0
            && let Err(why) = change(inner)
        {
            self.0 = Err(why);
        }
        self
    }

    /// Returns the signature, or the first mistake that was made while it was built.
    pub(crate) fn into_inner(self) -> Result<Inner, String> {
        self.0
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        let inner = Inner::read(&written).map_err(D::Error::custom)?;
        Ok(Signature(Ok(inner)))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(inner) => inner.serialize(serializer),
            Err(why) => Err(serde::ser::Error::custom(why)),
        }
    }
}

/// A call that a task has sent. As JSON it is Celery's result tuple, `[[id, parent], children]`.
#[derive(Clone, Debug)]
pub struct Sent {
    pub(crate) id: String,
    pub(crate) tuple: Box<RawValue>,
}

impl Sent {
    /// Returns the id of the result: that of the task, of a chain's last step, of a chord's body, or
    /// of the group.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.tuple.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signatures_have_celerys_form() {
        let add = Signature::new("proj.add")
            .arg(2)
            .kwarg("y", 3)
            .kwarg("y", 4);
        let note = Signature::new("proj.note").immutable();
        let add = add.option("queue", "sums").link(note.clone());
        let written = serde_json::to_value(&add).unwrap();
        assert_eq!(
            (&written["task"], &written["args"], &written["kwargs"]),
            (&json!("proj.add"), &json!([2]), &json!({ "y": 4 }))
        );
        assert_eq!(written["options"]["queue"], "sums");
        assert_eq!(written["options"]["link"][0]["immutable"], true);
        for (composite, kind) in [
            (chain([add.clone(), note.clone()]), "chain"),
            (group([add.clone(), note.clone()]), "group"),
            (chord([add.clone()], note.clone()), "chord"),
        ] {
            let written = serde_json::to_value(&composite).unwrap();
            assert_eq!(written["task"], format!("celery.{kind}"));
            assert_eq!(written["subtask_type"], kind);
            let read: Signature = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), written);
        }
    }

    #[test]
    fn mistakes_are_kept_until_the_signature_is_sent() {
        let add = || Signature::new("proj.add");
        let unwritable = std::collections::HashMap::from([(vec![1], 2)]);
        for (wrong, words) in [
            (group([add()]).arg(1), "single task takes arguments"),
            (chain([add()]).kwarg("x", 1), "single task takes arguments"),
            (group([add()]).link(add()), "a group takes no link"),
            (
                group([add()]).link_error(add()),
                "a group takes no link_error",
            ),
            (add().arg(&unwritable), "key must be a string"),
            (
                chain([add(), add().arg(&unwritable)]),
                "key must be a string",
            ),
            (
                chord([add()], add().arg(unwritable)),
                "key must be a string",
            ),
        ] {
            let why = wrong.into_inner().unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
