//! `enable_events`: sends the events of tasks, and from the first time on heartbeats.

use crate::control::answer::{Answer, ok};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    if !node.events.enable() {
        return ok("task events already enabled");
    }
    tracing::info!("Events of group task enabled by remote.");
    ok("task events enabled")
}
