//! A command of remote control to which workers reply, for the clients of both brokers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_protocol::control::{ReplyTo, Request};
use uuid::Uuid;

/// The most replies that a call returns: more than the workers of any fleet.
pub(crate) const MOST_REPLIES: usize = 10_000;

/// A command, and the address of its replies.
#[derive(Debug)]
pub(crate) struct Question {
    /// The command. It names the address and the ticket, and expires with the wait for replies.
    pub(crate) request: Request,
    pub(crate) address: ReplyTo,
    /// The name of the call, which each reply repeats.
    pub(crate) ticket: String,
    /// The number of replies after which the call ends.
    pub(crate) wanted: usize,
}

impl Question {
    /// Makes a question of a command. As in kombu, the default limit of the number of replies is
    /// the number of destinations.
    pub(crate) fn new(request: Request, limit: Option<usize>, replies: Duration) -> Self {
        let address = ReplyTo::new(Uuid::new_v4().to_string());
        let ticket = Uuid::new_v4().to_string();
        let limit = limit.or_else(|| Some(request.destination.as_ref()?.len()).filter(|&n| n > 0));
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires = (since.unwrap_or_default() + replies).as_secs_f64();
        let request = request
            .reply_to(address.clone(), ticket.as_str())
            .expires(expires);
        Question {
            request,
            address,
            ticket,
            wanted: limit.unwrap_or(MOST_REPLIES).min(MOST_REPLIES),
        }
    }
}
