//! `hello`: exchanges revocations and clocks with a worker that starts (mingle).

use std::time::Instant;

use celery_protocol::names::check_task_id;
use serde_json::{Value, json};

use crate::control::answer::{Answer, answer};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::printable::one_line;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let from = arguments
        .required("from_node")?
        .as_str()
        .unwrap_or_default();
    if from == node.config.hostname {
        return answer(&Value::Null);
    }
    tracing::info!("sync with {}", one_line(from));
    let revoked = node.view.revoked();
    // A list since Celery 5.7; before, an object with the time of each revocation.
    let ids: Vec<&str> = match arguments.get("revoked") {
        Some(Value::Object(ids)) => ids.keys().map(String::as_str).collect(),
        _ => arguments.texts("revoked"),
    };
    let ids = ids.into_iter().filter(|id| check_task_id(id).is_ok());
    revoked.add(ids, Instant::now());
    answer(&json!({"revoked": revoked.list(), "clock": node.clock.forward()}))
}
