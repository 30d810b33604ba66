//! Mingle: a worker that starts asks the others for revoked tasks and their clocks.
//!
//! The replies are read a second after the request, as in Celery. Redis keeps the revocations of
//! workers of this kind, so that there only the replies of Python workers matter, and tasks run
//! meanwhile. On RabbitMQ the first tasks wait for the replies.

use std::time::Duration;

use celery_protocol::control::{Reply, Request};
use serde_json::Value;
use tokio::time::Instant;

use super::node::Node;
use crate::broker::control::ControlChannel;

/// How long the others may take, as in Celery.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most ids that a request carries, the latest ones: half a megabyte.
const MOST_IDS: usize = 10_000;

/// The argument by which workers of this kind know each other: `true` if they read revocations from
/// the broker. Python ignores it.
pub(super) const NATIVE: &str = "native";

/// Sends the request. Returns when the replies are to be read.
pub(super) async fn begin(node: &Node, channel: &mut impl ControlChannel) -> Option<Instant> {
    if node.config.without_mingle {
        return None;
    }
    tracing::info!("mingle: searching for neighbors");
    let mut ids = node.view.revoked().list();
    let ids = ids.split_off(ids.len().saturating_sub(MOST_IDS));
    let request = Request::new("hello")
        .argument("from_node", node.config.hostname.as_str())
        .argument("revoked", ids)
        .argument(NATIVE, channel.keeps_revocations())
        .clock(node.clock.forward());
    channel.ask(request).await;
    Some(Instant::now() + PATIENCE)
}

/// Waits until the replies are to be read. Without a request it never ends.
pub(super) async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Reads the replies.
pub(super) async fn end(node: &Node, channel: &mut impl ControlChannel) {
    let replies = channel.replies().await;
    let replies: Vec<&Reply> = replies
        .iter()
        .filter(|reply| reply.node != node.config.hostname)
        .collect();
    if replies.is_empty() {
        return tracing::info!("mingle: all alone");
    }
    for reply in &replies {
        let Ok(Value::Object(answer)) = serde_json::from_str(reply.answer.get()) else {
            continue;
        };
        if let Some(clock) = answer.get("clock").and_then(Value::as_u64) {
            node.clock.adjust(clock);
        }
        node.merge(answer.get("revoked")).await;
    }
    tracing::info!("mingle: sync with {} nodes", replies.len());
}
