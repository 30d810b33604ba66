//! Routes: the queue of a follow-up that names none, by the name of its task.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use celery_protocol::glob::Glob;
use celery_protocol::names::{NameError, check_queue_name};
use serde::de::{Deserializer, MapAccess, Visitor};

/// Queues by the names of tasks. Celery's `task_routes`.
///
/// A name without `*` is compared as it is and goes first. In a name with `*`, `*` stands for any
/// text and `?` for one character. `[abc]` stands for one of these characters, `[!abc]` for any
/// other. The first matching pattern counts.
///
/// ```
/// use celery_worker::Routes;
/// let routes = Routes::new([("mail.urgent", "urgent"), ("mail.*", "mails")])?;
/// assert_eq!(routes.to_string(), r#"{ "mail.urgent" = "urgent", "mail.*" = "mails" }"#);
/// # Ok::<(), celery_worker::RouteError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Routes {
    written: Vec<(String, Arc<str>)>,
    names: HashMap<String, Arc<str>>,
    patterns: Vec<(Glob, Arc<str>)>,
}

/// A route that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The queue cannot have this name.
    #[error("the route of {0:?}: {1}")]
    Queue(String, NameError),
    /// The pattern has an invalid set of characters, such as `[z-a]`.
    #[error("{0:?} is not a pattern")]
    Pattern(String),
}

impl Routes {
    /// Makes routes from pairs of a task's name, or a pattern of names, and a queue.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the pattern or queue that cannot be used.
    pub fn new<P, Q>(routes: impl IntoIterator<Item = (P, Q)>) -> Result<Self, RouteError>
    where
        P: Into<String>,
        Q: AsRef<str>,
    {
        let mut made = Self::default();
        for (pattern, queue) in routes {
            let (pattern, queue): (String, Arc<str>) = (pattern.into(), queue.as_ref().into());
            if let Err(error) = check_queue_name(&queue) {
                return Err(RouteError::Queue(pattern, error));
            }
            if pattern.contains('*') {
                let glob = Glob::new(&pattern).map_err(|_| RouteError::Pattern(pattern.clone()))?;
                made.patterns.push((glob, Arc::clone(&queue)));
            } else {
                made.names.insert(pattern.clone(), Arc::clone(&queue));
            }
            made.written.push((pattern, queue));
        }
        Ok(made)
    }

    /// Returns `true` if there are no routes.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Returns the queue of a task, if it has a route.
    pub(crate) fn queue(&self, task: &str) -> Option<&Arc<str>> {
        if let Some(queue) = self.names.get(task) {
            return Some(queue);
        }
        let mut patterns = self.patterns.iter();
        let (_, queue) = patterns.find(|(pattern, _)| pattern.matches(task))?;
        Some(queue)
    }
}

/// Writes the routes as a table of a TOML file, in their order.
impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &str| format!("\"{}\"", text.escape_default());
        let routes = self.written.iter();
        let routes: Vec<String> = routes
            .map(|(pattern, queue)| format!("{} = {}", text(pattern), text(queue)))
            .collect();
        write!(f, "{{ {} }}", routes.join(", "))
    }
}

/// Reads a table of routes. A queue is a name, or, as in Celery, a table with the member `queue`.
///
/// A malformed table is an error of the deserializer. A route that cannot be used is left to the
/// caller, whose error can name it: errors of a file are shown without its values.
pub(crate) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Result<Routes, RouteError>>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(
        untagged,
        expecting = "a route is a queue, or a table with the member queue alone"
    )]
    enum Queue {
        Name(String),
        Table(Table),
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        queue: String,
    }
    struct RoutesVisitor;
    impl<'de> Visitor<'de> for RoutesVisitor {
        type Value = Result<Routes, RouteError>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of routes")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut routes = Vec::new();
            while let Some((pattern, queue)) = map.next_entry::<String, Queue>()? {
                let (Queue::Name(queue) | Queue::Table(Table { queue })) = queue;
                routes.push((pattern, queue));
            }
            Ok(Routes::new(routes))
        }
    }
    deserializer.deserialize_map(RoutesVisitor).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_before_patterns_and_patterns_in_order() {
        let routes = Routes::new([
            ("mail.*", "mails"),
            ("mail.urgent", "urgent"),
            ("*.urgent", "later"),
            ("a?c", "exact"),
            ("b?c*", "one"),
            ("x[!ab].*", "set"),
            ("[a-c]*[]]", "bracket"),
            ("open[*", "open"),
            ("a+b*", "plus"),
        ])
        .unwrap();
        for (task, queue) in [
            ("mail.send", Some("mails")),
            ("mail.", Some("mails")),
            ("mail.urgent", Some("urgent")),
            ("sms.urgent", Some("later")),
            ("mails", None),
            ("my.mail.send", None),
            ("abc", None),
            ("a?c", Some("exact")),
            ("bxc", Some("one")),
            ("bc", None),
            ("xc.y", Some("set")),
            ("xa.y", None),
            ("b.]", Some("bracket")),
            ("d.]", None),
            ("open[now", Some("open")),
            ("a+b", Some("plus")),
            ("aab", None),
            ("mail.\n", Some("mails")),
        ] {
            assert_eq!(routes.queue(task).map(|queue| &**queue), queue, "{task}");
        }
    }
}
