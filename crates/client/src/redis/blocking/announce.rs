//! Celery's `task-sent` events, which a client publishes if it is asked to.
//!
//! An event is written right after the broker has confirmed its post, and its answer is not
//! awaited. So it costs no round trip, a post that was refused has none, and a post that is repeated
//! has one. A pipelined post is followed by its event at once, before it is confirmed. An event that
//! cannot be sent never fails its post.

use std::time::SystemTime;

use celery_protocol::events::Moment;
use celery_protocol::events::sent::encode_sent;
use redis::Cmd;
use uuid::Uuid;

use super::Client;
use super::link::Link;
use super::outgoing::{Frame, Outgoing};
use crate::blocking::Wait;

/// The routing key of `task-sent`.
const ROUTING_KEY: &str = "task.sent";

impl Client {
    /// Returns the command that publishes the event of a post, if events are asked for.
    pub(super) fn announcement(&self, post: &impl Outgoing) -> Option<Cmd> {
        let sender = self.options.sent_events.as_deref()?;
        let mut framed = Vec::new();
        post.write(Frame::new(&mut framed));
        // The message follows the line with its length.
        let start = framed.iter().position(|byte| *byte == b'\n')? + 1;
        let moment = Moment::without_clock(SystemTime::now().into());
        let tag = Uuid::new_v4().to_string();
        let payload = encode_sent(&framed[start..], post.queue(), sender, moment, &tag)?;
        let database = self.endpoint().database();
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys().event_channel(database, ROUTING_KEY))
            .arg(payload);
        Some(publish)
    }

    /// Publishes the events of posts that were confirmed, without waiting for the answers.
    pub(super) fn announce<'p, P: Outgoing + 'p>(
        &self,
        link: &mut Link,
        posts: impl IntoIterator<Item = &'p P>,
        wait: &mut Wait<'_>,
    ) {
        if self.options.sent_events.is_none() {
            return;
        }
        let mut count = 0;
        for publish in posts.into_iter().filter_map(|post| self.announcement(post)) {
            link.wire.pack(&publish);
            count += 1;
        }
        // The posts were confirmed. If this fails, the connection is not used again.
        if count > 0 && link.wire.flush(wait).is_ok() {
            link.wire.expect_unawaited(count);
        }
    }
}
