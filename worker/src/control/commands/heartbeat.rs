//! `heartbeat`: sends a heartbeat at once, if events are enabled. A monitor that starts asks all
//! workers for one, so that it knows them.

use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    node.events.beat();
    answer(&())
}
