//! `hello`: exchanges revocations and clocks with a worker that starts (mingle).

use serde_json::{Value, json};

use crate::control::answer::{Answer, answer};
use crate::control::arguments::Arguments;
use crate::control::mingle::NATIVE;
use crate::control::node::Node;
use crate::printable::one_line;

pub(super) async fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let from = arguments
        .required("from_node")?
        .as_str()
        .unwrap_or_default();
    if from == node.config.hostname {
        return answer(&Value::Null);
    }
    tracing::info!("sync with {}", one_line(from));
    node.merge(arguments.get("revoked")).await;
    // A worker of this kind reads the list from a broker that keeps it.
    let revoked = if arguments.flag(NATIVE) {
        Vec::new()
    } else {
        node.view.revoked().list()
    };
    answer(&json!({"revoked": revoked, "clock": node.clock.forward()}))
}
