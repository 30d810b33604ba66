//! `revoked`: the ids of the revoked tasks, oldest first.

use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    answer(&node.view.revoked().list())
}
