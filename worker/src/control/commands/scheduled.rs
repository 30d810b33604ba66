//! `scheduled`: the tasks that wait for their ETA.
//!
//! The worker does not keep their bodies, so they are read from the broker: the first thousand, or
//! 4 MiB of them.

use celery_protocol::message::{DecodeOptions, Task};
use serde::Serialize;

use super::info::Shown;
use crate::broker::Tag;
use crate::broker::control::ControlChannel;
use crate::control::answer::{Answer, answer};
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
    let tasks = waiting(node, channel).await;
    let scheduled: Vec<Scheduled<'_>> = tasks
        .iter()
        .map(|task| Scheduled {
            eta: task.eta.map(|eta| eta.to_string()),
            priority: TIMER_PRIORITY,
            request: Shown::waiting(task, &node.config.hostname, false),
        })
        .collect();
    answer(&scheduled)
}

/// Returns the tasks that wait for their ETA, in the order in which they are due.
pub(super) async fn waiting(node: &Node, channel: &mut impl ControlChannel) -> Vec<Task> {
    let waiting = node.view.waiting().await;
    let tags: Vec<Tag> = waiting.iter().map(|waiting| waiting.tag).collect();
    if tags.is_empty() {
        return Vec::new();
    }
    let options = DecodeOptions::default().accept(&node.config.accept_content);
    let messages = channel.read_held(&tags).await;
    let tasks = messages.into_iter().flatten().filter_map(|(_, raw)| {
        // It was read once before, when it was claimed.
        Task::decode_redis_with(&raw, &options).ok()
    });
    tasks.collect()
}
