//! `rate_limit` and `time_limit`: answered with an error, because limits of a task cannot be changed
//! while the worker runs.

use crate::control::answer::{Answer, nok, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let task = arguments.get("task_name").and_then(|name| name.as_str());
    if task.is_none_or(|task| node.registry.get(task).is_none()) {
        return nok("unknown task");
    }
    let command = arguments.command();
    let message = format!("this worker has no {command} that could be changed while it runs");
    Err(raised("NotImplementedError", &message))
}
