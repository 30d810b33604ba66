//! `scheduled`: the tasks that wait for their ETA.
//!
//! The worker does not keep their bodies, so they are read from the broker: the first thousand, or
//! 4 MiB of them.

use celery_protocol::message::{DecodeOptions, Task};
use serde::Serialize;

use super::info::Shown;
use crate::broker::Tag;
use crate::broker::control::ControlChannel;
use crate::control::answer::{Answer, Budget, answer};
use crate::control::node::Node;

/// kombu's timer priority of tasks with an ETA, as Python's workers show it.
const TIMER_PRIORITY: u8 = 6;

#[derive(Serialize)]
struct Scheduled<'a> {
    eta: Option<String>,
    priority: u8,
    request: Shown<'a>,
}

pub(super) async fn run(node: &Node, channel: &mut impl ControlChannel) -> Answer {
    let (mut scheduled, mut budget) = (Vec::new(), Budget::default());
    for_each_waiting(node, channel, |task| {
        let safe = budget.is_tight();
        scheduled.push(budget.spend(answer(&Scheduled {
            eta: task.eta.map(|eta| eta.to_string()),
            priority: TIMER_PRIORITY,
            request: Shown::waiting(task, &node.config.hostname, safe),
        })?)?);
        Ok(())
    })
    .await?;
    answer(&scheduled)
}

/// Calls `see` with each task that waits for its ETA, in the order in which they are due.
///
/// A compressed body may be many times as large as its message. Only one task is therefore unpacked
/// at a time, and other roles get their turn after each.
pub(super) async fn for_each_waiting(
    node: &Node,
    channel: &mut impl ControlChannel,
    mut see: impl FnMut(&Task) -> Result<(), String>,
) -> Result<(), String> {
    let waiting = node.view.waiting().await;
    let tags: Vec<Tag> = waiting.iter().map(|waiting| waiting.tag).collect();
    if tags.is_empty() {
        return Ok(());
    }
    let options = DecodeOptions::default().accept(&node.config.accept_content);
    for held in channel.read_held(&tags).await.into_iter().flatten() {
        // It was read once before, when it was claimed.
        if let Ok(task) = held.decode(&options) {
            see(&task)?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
