//! The results of a canvas as a tree, in the form in which Celery stores them.
//!
//! A task is `[[id, parent], null]`, a group `[[id, parent], [member, …]]`; a parent is null or such
//! a pair. The form stands in `children` of a result, and in a saved group.

use serde_json::value::{RawValue, to_raw_value};

use super::error::ResultError;
use crate::json::write::string;

/// The deepest nesting to read, of parents and members together. Python's own limit of recursion,
/// 1,000 calls, keeps Celery from writing or restoring more.
const DEEPEST: usize = 1_000;

/// The result of a task or of a group, and what it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultTree {
    /// The task or the group.
    pub id: String,
    /// The result before it in its chain.
    pub parent: Option<Box<ResultTree>>,
    /// The results of a group's members; `None` for a task.
    pub members: Option<Vec<ResultTree>>,
}

impl ResultTree {
    /// Returns the result of a task.
    pub fn task(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            parent: None,
            members: None,
        }
    }

    /// Returns the result of a group.
    pub fn group(id: impl Into<String>, members: Vec<Self>) -> Self {
        Self {
            members: Some(members),
            ..Self::task(id)
        }
    }

    /// Sets the result before this one in its chain.
    #[must_use]
    pub fn after(mut self, parent: Self) -> Self {
        self.parent = Some(Box::new(parent));
        self
    }

    /// Reads a result in Celery's form. A task may also be its id alone, as Celery accepts it.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError::Invalid`] if the JSON has another form or nests too deeply.
    pub fn from_json(json: &str) -> Result<Self, ResultError> {
        let mut reader = Reader {
            rest: json.as_bytes(),
            depth: 0,
        };
        let tree = reader.tree();
        match tree {
            Some(tree) if reader.at_end() => Ok(tree),
            _ => Err(ResultError::Invalid(
                "it is not a tree of results".to_owned(),
            )),
        }
    }

    /// Returns the result in Celery's form.
    pub fn to_json(&self) -> Box<RawValue> {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out)
            .ok()
            .and_then(|json| RawValue::from_string(json).ok())
            .unwrap_or_else(|| RawValue::NULL.to_owned())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"[[");
        string(out, &self.id);
        out.push(b',');
        match &self.parent {
            Some(parent) => parent.write(out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"],");
        match &self.members {
            Some(members) => {
                out.push(b'[');
                for (nth, member) in members.iter().enumerate() {
                    if nth > 0 {
                        out.push(b',');
                    }
                    member.write(out);
                }
                out.push(b']');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.push(b']');
    }
}

/// Reads a tree from JSON text in one pass.
struct Reader<'t> {
    rest: &'t [u8],
    depth: usize,
}

impl Reader<'_> {
    /// Reads `[head, members]`, or an id.
    fn tree(&mut self) -> Option<ResultTree> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let tree = if self.peek()? == b'"' {
            ResultTree::task(self.string()?)
        } else {
            self.expect(b'[')?;
            let mut tree = self.head()?;
            self.expect(b',')?;
            tree.members = self.members()?;
            self.expect(b']')?;
            tree
        };
        self.depth -= 1;
        Some(tree)
    }

    /// Reads `[id, parent]`, or an id.
    fn head(&mut self) -> Option<ResultTree> {
        if self.peek()? == b'"' {
            return Some(ResultTree::task(self.string()?));
        }
        self.expect(b'[')?;
        let mut tree = ResultTree::task(self.string()?);
        self.expect(b',')?;
        if !self.null() {
            tree.parent = Some(Box::new(self.tree()?));
        }
        self.expect(b']')?;
        Some(tree)
    }

    /// Reads null, or a list of trees. The outer `None` is a failure.
    #[expect(
        clippy::option_option,
        reason = "a task has no members, and a failure has no value"
    )]
    fn members(&mut self) -> Option<Option<Vec<ResultTree>>> {
        if self.null() {
            return Some(None);
        }
        self.expect(b'[')?;
        let mut members = Vec::new();
        while self.peek()? != b']' {
            if !members.is_empty() {
                self.expect(b',')?;
            }
            members.push(self.tree()?);
        }
        self.expect(b']')?;
        Some(Some(members))
    }

    fn string(&mut self) -> Option<String> {
        if self.peek()? != b'"' {
            return None;
        }
        let mut end = 1;
        loop {
            match self.rest.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let (text, rest) = self.rest.split_at_checked(end + 1)?;
        self.rest = rest;
        serde_json::from_slice(text).ok()
    }

    /// Skips null if it comes next.
    fn null(&mut self) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(b"null") {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.rest = &self.rest[1..];
        Some(())
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.first().copied()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }
}

/// Returns a task without children of its own, as a member of `children`.
pub fn child(task_id: &str) -> Option<Box<RawValue>> {
    to_raw_value(&((task_id, None::<&str>), None::<&str>)).ok()
}
