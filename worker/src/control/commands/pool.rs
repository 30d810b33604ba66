//! `pool_grow` and `pool_shrink`: change the number of slots.

use crate::control::answer::{Answer, ok, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::delivery::{MAX_HELD, PREFETCH_MULTIPLIER, held_limit};

/// Adds slots.
pub(super) fn grow(node: &Node, arguments: Arguments<'_>) -> Answer {
    if !node.slots.grow(arguments.number("n", 1)?, MAX_HELD) {
        let message = format!("Can't grow pool. There are at most {MAX_HELD} slots!");
        return Err(raised("ValueError", &message));
    }
    changed(node);
    ok("pool will grow")
}

/// Takes slots away. Tasks that run keep theirs until they end.
pub(super) fn shrink(node: &Node, arguments: Arguments<'_>) -> Answer {
    if !node.slots.shrink(arguments.number("n", 1)?) {
        let message = "Can't shrink pool. At least one slot that can run tasks must stay!";
        return Err(raised("ValueError", message));
    }
    changed(node);
    ok("pool will shrink")
}

/// Lets the number of held messages follow the number of slots, as Celery's prefetch count does.
fn changed(node: &Node) {
    let slots = node.slots.count();
    let batch = node.registry.largest_batch();
    let multiplier = node
        .config
        .prefetch_multiplier
        .unwrap_or(PREFETCH_MULTIPLIER);
    let held = held_limit(slots, multiplier, batch);
    node.view.set_limit(held);
    tracing::info!("The worker has {slots} slots, by remote control");
}
