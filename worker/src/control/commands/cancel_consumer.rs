//! `cancel_consumer`: claims no more messages from a queue. Those that are held stay held.

use crate::control::answer::{Answer, ok};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let queue = arguments.text("queue")?;
    if node.view.queues().cancel(queue) {
        tracing::info!("Stopped consuming from {queue}");
    }
    ok(&format!("no longer consuming from {queue}"))
}
