//! `active`: the tasks whose code runs.

use super::info::list;
use crate::control::answer::Answer;
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let held = node.view.in_hand();
    let active = held.iter().filter(|held| held.began.is_some());
    list(active, &node.config.hostname, arguments.flag("safe"))
}
