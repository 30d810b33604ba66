//! The event of a client that has sent a task: `task-sent`.

use super::{Event, Message, Moment, Route, Sender, TaskInfo};
use crate::message::{AmqpMessage, DecodeOptions, DeliveryInfo, Task};
use crate::serializer::Serializer;

/// Writes the event of a message that was sent, as the payload for its channel: `raw` is the
/// message as an element of a Redis queue. `delivery_tag` is a fresh UUID.
///
/// Returns `None` for a message that no worker of this version could read.
pub fn encode_sent(
    raw: &[u8],
    queue: &str,
    sender: &Sender,
    moment: Moment,
    delivery_tag: &str,
) -> Option<Vec<u8>> {
    let task = Task::decode_redis_with(raw, &readable()).ok()?;
    let route = Route {
        queue,
        exchange: &task.delivery_info.exchange,
        routing_key: &task.delivery_info.routing_key,
    };
    Some(of_task(&task, route, sender, moment).encode_redis(delivery_tag))
}

/// Writes the event of a message that was sent to RabbitMQ, for the exchange of events.
///
/// Returns `None` for a message that no worker of this version could read.
pub fn sent_amqp(
    sent: &AmqpMessage,
    route: Route<'_>,
    sender: &Sender,
    moment: Moment,
) -> Option<AmqpMessage> {
    let properties = sent.properties().ok()?;
    let from = DeliveryInfo::default();
    let task = Task::decode_amqp(&properties, &sent.body, &from, false, &readable()).ok()?;
    of_task(&task, route, sender, moment).encode_amqp().ok()
}

/// Returns how to read a message that was just written.
fn readable() -> DecodeOptions<'static> {
    DecodeOptions::default().accept(&Serializer::ALL)
}

fn of_task(task: &Task, route: Route<'_>, sender: &Sender, moment: Moment) -> Message {
    TaskInfo::of(task, |info| {
        Message::one(&Event::Sent(info, route), sender, moment)
    })
}
