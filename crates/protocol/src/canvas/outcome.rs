//! The results that signatures will have: their parents, and the members of groups.

use serde_json::{Value, json};

/// Parents more generations away than this are not written. Python's own JSON writer fails at about
/// a thousand.
const GENERATIONS: usize = 64;

/// The index of a result in [`Outcomes`].
pub type Outcome = usize;

/// The results of one call: a tree in which tasks and groups have parents.
#[derive(Debug, Default)]
pub struct Outcomes(Vec<Node>);

#[derive(Debug)]
struct Node {
    id: String,
    parent: Option<Outcome>,
    /// The results of the members, if this is a group.
    members: Option<Vec<Outcome>>,
}

impl Outcomes {
    /// Adds the result of a task.
    pub fn task(&mut self, id: &str) -> Outcome {
        self.add(id, None)
    }

    /// Adds the result of a group.
    pub fn group(&mut self, id: &str, members: Vec<Outcome>) -> Outcome {
        self.add(id, Some(members))
    }

    fn add(&mut self, id: &str, members: Option<Vec<Outcome>>) -> Outcome {
        self.0.push(Node {
            id: id.to_owned(),
            parent: None,
            members,
        });
        self.0.len() - 1
    }

    /// Returns the id of a task or a group.
    pub fn id(&self, of: Outcome) -> &str {
        self.0.get(of).map_or("", |node| &node.id)
    }

    /// Returns the result that comes before, as clients show it.
    pub fn parent(&self, of: Outcome) -> Option<Outcome> {
        self.0.get(of)?.parent
    }

    /// Returns `true` for the result of a group.
    pub fn is_group(&self, of: Outcome) -> bool {
        self.0.get(of).is_some_and(|node| node.members.is_some())
    }

    /// Returns the results of the members of a group.
    pub fn members(&self, of: Outcome) -> &[Outcome] {
        let members = self.0.get(of).and_then(|node| node.members.as_deref());
        members.unwrap_or_default()
    }

    /// Sets the parent, unless the result would become its own ancestor.
    pub fn set_parent(&mut self, of: Outcome, parent: Option<Outcome>) {
        if parent.is_some_and(|parent| self.first_ancestor(parent) == of) {
            return;
        }
        if let Some(node) = self.0.get_mut(of) {
            node.parent = parent;
        }
    }

    /// Returns the ancestor that has no parent: the result itself, if it has none.
    pub fn first_ancestor(&self, of: Outcome) -> Outcome {
        let mut ancestor = of;
        while let Some(parent) = self.parent(ancestor) {
            ancestor = parent;
        }
        ancestor
    }

    /// Returns Celery's result tuple, `[[id, parent], members]`.
    pub fn tuple(&self, of: Outcome) -> Value {
        self.tuple_of(of, 0)
    }

    fn tuple_of(&self, of: Outcome, depth: usize) -> Value {
        let parent = self.parent(of).filter(|_| depth < GENERATIONS);
        let parent = parent.map(|parent| self.tuple_of(parent, depth + 1));
        let members = if self.is_group(of) && depth < GENERATIONS {
            let members = self.members(of).iter();
            Value::Array(
                members
                    .map(|member| self.tuple_of(*member, depth + 1))
                    .collect(),
            )
        } else {
            Value::Null
        };
        json!([[self.id(of), parent], members])
    }
}
