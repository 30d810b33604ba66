//! `disable_events`: sends no more events of tasks. Heartbeats go on.

use crate::control::answer::{Answer, ok};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    if !node.events.disable() {
        return ok("task events already disabled");
    }
    tracing::info!("Events of group task disabled by remote.");
    ok("task events disabled")
}
