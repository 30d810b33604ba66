//! `active_queues`: the queues that are consumed, with the members of kombu's `Queue`.

use celery_protocol::names::DIRECT_EXCHANGE;
use serde_json::{Value, json};

use crate::config::direct_queue;
use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let names = node.view.queues().names();
    let hostname = &node.config.hostname;
    let direct = node.config.direct.then(|| direct_queue(hostname));
    let queues = names.iter().map(|name| match &direct {
        Some(direct) if **direct == **name => queue(name, (DIRECT_EXCHANGE, hostname, true)),
        _ => queue(name, (name, name, false)),
    });
    answer(&queues.collect::<Vec<Value>>())
}

/// Describes a queue as Celery declares it: bound to a direct exchange, which has the name
/// of the queue unless it belongs to one worker alone.
fn queue(name: &str, (exchange, key, auto_delete): (&str, &str, bool)) -> Value {
    json!({
        "name": name,
        "exchange": {
            "name": exchange, "type": "direct", "arguments": null, "durable": true, "passive": false,
            "auto_delete": false, "delivery_mode": null, "no_declare": false,
        },
        "routing_key": key, "queue_arguments": null, "binding_arguments": null,
        "consumer_arguments": null, "durable": true, "exclusive": false, "auto_delete": auto_delete,
        "no_ack": false, "alias": null, "bindings": [], "no_declare": null, "expires": null,
        "message_ttl": null, "max_length": null, "max_length_bytes": null, "max_priority": null,
    })
}
