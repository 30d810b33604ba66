//! Collects the replies to a request of the worker's own.

use celery_protocol::amqp::Delivery;
use celery_protocol::control::Reply;
use celery_protocol::message::DecodeOptions;

use crate::broker::control::{MOST_REPLIES, MOST_REPLY_BYTES};

/// A request that is under way, and the replies so far.
#[derive(Debug)]
pub(super) struct Asked {
    ticket: String,
    replies: Vec<Reply>,
    /// The bytes of the replies.
    size: usize,
}

impl Asked {
    pub(super) fn new(ticket: String) -> Self {
        Asked {
            ticket,
            replies: Vec::new(),
            size: 0,
        }
    }

    /// Takes a reply. Passes over one that cannot be read, or answers another request, and all that
    /// come after enough.
    pub(super) fn take(&mut self, delivery: &Delivery) {
        if self.replies.len() >= MOST_REPLIES || self.size > MOST_REPLY_BYTES {
            return;
        }
        let Ok(properties) = delivery.content.properties() else {
            return;
        };
        let body = &delivery.content.body;
        let read = Reply::decode_amqp(&properties, body, &DecodeOptions::default());
        if let Ok(reply) = read
            && reply.ticket.as_deref() == Some(&self.ticket)
        {
            self.size += body.len();
            self.replies.push(reply);
        }
    }

    pub(super) fn replies(self) -> Vec<Reply> {
        self.replies
    }
}
