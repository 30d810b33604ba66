//! `reserved`: the tasks that wait for a slot.

use super::info::Shown;
use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let held = node.view.in_hand();
    let reserved = held.iter().filter(|held| held.began.is_none());
    let reserved: Vec<Shown<'_>> = reserved
        .map(|held| Shown::of(held, &node.config.hostname, false))
        .collect();
    answer(&reserved)
}
