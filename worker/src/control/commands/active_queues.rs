//! `active_queues`: the queues that are consumed, with the members of kombu's `Queue`.

use serde_json::{Value, json};

use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let names = node.view.queues().names();
    let queues: Vec<Value> = names.iter().map(|name| queue(name)).collect();
    answer(&queues)
}

/// Describes a queue as Celery declares it on Redis: bound to a direct exchange of its own name.
fn queue(name: &str) -> Value {
    json!({
        "name": name,
        "exchange": {
            "name": name, "type": "direct", "arguments": null, "durable": true, "passive": false,
            "auto_delete": false, "delivery_mode": null, "no_declare": false,
        },
        "routing_key": name, "queue_arguments": null, "binding_arguments": null,
        "consumer_arguments": null, "durable": true, "exclusive": false, "auto_delete": false,
        "no_ack": false, "alias": null, "bindings": [], "no_declare": null, "expires": null,
        "message_ttl": null, "max_length": null, "max_length_bytes": null, "max_priority": null,
    })
}
