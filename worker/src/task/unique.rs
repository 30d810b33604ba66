//! Unique tasks: of the calls with the same arguments, one waits or runs in all workers.

use celery_protocol::message::Task;
use serde_json::Value;

use super::key::{ArgumentPath, digest};
use crate::broker::Lock;
use crate::delivery::{Unique, Until};

/// What makes the calls of a task unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Uniqueness {
    /// `None`: the task is not unique.
    pub(crate) until: Option<Until>,
    /// The arguments that are compared. Empty: all.
    pub(crate) by: Vec<ArgumentPath>,
}

impl Uniqueness {
    /// Returns what makes a call unique, or `None` if its task is not.
    pub(crate) fn of(&self, task: &Task) -> Option<Unique> {
        let until = self.until?;
        let lock = self.lock(task);
        Some(Unique { lock, until })
    }

    fn lock(&self, task: &Task) -> Lock {
        let value = if self.by.is_empty() {
            let all = |json: &str| serde_json::from_str(json).unwrap_or(Value::Null);
            vec![all(task.args.get()), all(task.kwargs.get())]
        } else {
            self.by.iter().map(|path| path.value(task)).collect()
        };
        Lock {
            task: task.name.as_str().into(),
            digest: digest(&Value::Array(value)),
        }
    }

    /// Returns the compared arguments as one text, or `None` if all are compared.
    pub(crate) fn by_text(&self) -> Option<String> {
        let by: Vec<String> = self.by.iter().map(ToString::to_string).collect();
        (!by.is_empty()).then(|| by.join(","))
    }

    /// Returns why this cannot be kept.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.until.is_none() && !self.by.is_empty() {
            return Err("unique_by needs unique".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::testing::called;
    use super::*;

    fn by(paths: &[&str]) -> Uniqueness {
        Uniqueness {
            until: Some(Until::Done),
            by: paths.iter().map(|path| ArgumentPath::parse(path)).collect(),
        }
    }

    #[test]
    fn calls_with_the_same_arguments_have_one_lock() {
        let lock = |args, kwargs| by(&[]).lock(&called(args, kwargs));
        let first = lock("[1, {\"a\": 1, \"b\": 2}]", "{\"x\": 1}");
        assert_eq!(first, lock("[1,{\"b\": 2,\"a\":1}]", "{\"x\":1}"));
        assert_ne!(first, lock("[1, {\"a\": 1, \"b\": 2}]", "{}"));
        assert_ne!(lock("[1]", "{}"), lock("[\"1\"]", "{}"));
    }

    #[test]
    fn only_the_named_arguments_count() {
        let lock = |args, kwargs| by(&["0", "order.id"]).lock(&called(args, kwargs));
        let first = lock("[1, 2]", "{\"order\": {\"id\": 5, \"at\": 1}}");
        assert_eq!(first, lock("[1, 3]", "{\"order\": {\"id\": 5}, \"y\": 0}"));
        assert_ne!(first, lock("[1, 2]", "{\"order\": {\"id\": 6, \"at\": 1}}"));
        assert_ne!(first, lock("[2, 2]", "{\"order\": {\"id\": 5, \"at\": 1}}"));
        assert_eq!(
            by(&["0", "order.id"]).by_text().as_deref(),
            Some("0,order.id")
        );
    }

    #[test]
    fn arguments_without_the_option_are_refused() {
        let alone = Uniqueness {
            until: None,
            ..by(&["0"])
        };
        assert!(alone.check().is_err());
        assert_eq!(by(&["0"]).check(), Ok(()));
        assert_eq!(Uniqueness::default().of(&called("[1]", "{}")), None);
    }
}
