//! The event of a client that has sent a task: `task-sent`.

use super::{Event, Message, Moment, Route, Sender, TaskInfo};
use crate::message::{DecodeOptions, Task};
use crate::repr;
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
    let accept = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
    let options = DecodeOptions::default().accept(&accept);
    let task = Task::decode_redis_with(raw, &options).ok()?;
    let args = task.argsrepr.clone();
    let kwargs = task.kwargsrepr.clone();
    let info = TaskInfo {
        uuid: &task.id,
        name: &task.name,
        args: &args.unwrap_or_else(|| repr::args(task.args.get())),
        kwargs: &kwargs.unwrap_or_else(|| repr::value(task.kwargs.get(), repr::MAX_CHARS)),
        root_id: task.root_id.as_deref(),
        parent_id: task.parent_id.as_deref(),
        retries: task.retries,
        eta: task.eta,
        expires: task.expires,
    };
    let route = Route {
        queue,
        exchange: &task.delivery_info.exchange,
        routing_key: &task.delivery_info.routing_key,
    };
    let event = Event::Sent(&info, route);
    Some(Message::one(&event, sender, moment).encode_redis(delivery_tag))
}
