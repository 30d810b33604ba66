//! `active`: the tasks whose code runs.

use super::info::Shown;
use crate::control::answer::{Answer, answer};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let (held, safe) = (node.view.in_hand(), arguments.flag("safe"));
    let active = held.iter().filter(|held| held.began.is_some());
    let active: Vec<Shown<'_>> = active
        .map(|held| Shown::of(held, &node.config.hostname, safe))
        .collect();
    answer(&active)
}
