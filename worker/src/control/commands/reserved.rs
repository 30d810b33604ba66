//! `reserved`: the tasks that wait for a slot, or for the rate of their task.

use super::info::list;
use crate::control::answer::Answer;
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let held = node.view.in_hand();
    let reserved = held.iter().filter(|held| held.began.is_none());
    list(reserved, &node.config.hostname, false)
}
