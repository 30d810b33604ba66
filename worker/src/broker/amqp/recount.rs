//! The role that restarts the broker's count of deliveries for messages that have not begun.
//!
//! A quorum queue counts how often a message came back, and drops it beyond a limit: RabbitMQ 4 has
//! one of 20 by default. Messages that a worker only held beside others count, too, when the worker
//! is killed. So before the limit, this role publishes such a message anew and acknowledges the old
//! one. Its own count of redeliveries that have begun stays.

use std::sync::Arc;

use celery_client::amqp::aio::{Confirm, Publication};
use celery_protocol::amqp::TableBuf;

use super::lane::End;
use super::message::Message;
use super::publisher::{Publisher, reason};
use super::shared::Shared;
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// Publishes messages anew as the part that brings messages hands them over. Does not return.
pub(super) async fn run(shared: Arc<Shared>, mut publisher: Publisher, pulse: Arc<Pulse>) {
    loop {
        let messages = shared.often_delivered();
        if messages.is_empty() {
            pulse.idle(shared.delivered_often.notified()).await;
        } else {
            publish_anew(&shared, &mut publisher, messages).await;
        }
    }
}

async fn publish_anew(shared: &Shared, publisher: &mut Publisher, messages: Vec<(Tag, Message)>) {
    let mut copies: Vec<(Tag, Message, TableBuf)> = Vec::with_capacity(messages.len());
    let mut kept = Vec::new();
    for (tag, message) in messages {
        match message.headers_with(message.begun().unwrap_or(0)) {
            Ok(headers) => copies.push((tag, message, headers)),
            // It becomes a dead letter when it is read.
            Err(_) => kept.push(tag),
        }
    }
    let copied = copies
        .iter()
        .map(|(_, it, headers)| it.copy(it.queue(), headers));
    let publications: Vec<Publication<'_>> = copied.collect();
    let published = publisher.publish(&publications).await;
    let mut ends = Vec::with_capacity(copies.len());
    for ((tag, message, _), answer) in copies.iter().zip(&published.answers) {
        if *answer == Confirm::Taken {
            ends.push((*tag, End::Ack));
        } else {
            tracing::warn!(
                "A message of {} came back often, and cannot be published anew: {}",
                message.queue(),
                reason(answer)
            );
            kept.push(*tag);
        }
    }
    shared.keep(kept);
    // What is lost was delivered to another worker.
    shared.end(ends).await;
}
