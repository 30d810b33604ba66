//! `clock`: the worker's logical clock.

use serde_json::json;

use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    answer(&json!({"clock": node.clock.value()}))
}
