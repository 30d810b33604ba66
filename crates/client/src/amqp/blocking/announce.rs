//! Celery's `task-sent` events, which a client publishes if it is asked to.
//!
//! An event is written once the confirm of its post has been read, on a channel of its own without
//! confirms. So it costs no round trip, and a post that was refused has none. An event that cannot
//! be sent never fails its post: if it cannot be written in a moment, it is left out, and the
//! connection ends if the event is half written.
//!
//! The exchange of events is declared only after the server has missed it. Without it, no receiver
//! of events exists. If the server refuses events for another reason, such as a missing right, a
//! connection sends none for a while.

use std::borrow::Borrow;
use std::time::{Duration, SystemTime};

use celery_protocol::amqp::{AmqpError, Route, Short};
use celery_protocol::events::sent::sent_amqp;
use celery_protocol::events::{self, Moment, Sender};
use celery_protocol::names::EVENT_EXCHANGE;

use super::client::Client;
use super::link::{EVENTS, Link};
use super::outcome::Outcome;
use super::post::Post;
use super::publish::CHUNK;
use crate::amqp::Exchange;
use crate::amqp::declaration::known_exchange;
use crate::blocking::Wait;
use crate::error::ClientError;

/// The routing key of `task-sent`.
const ROUTING_KEY: &str = "task.sent";
/// Limit for writing the events of a call. A server that reads takes them at once.
const MOMENT: Duration = Duration::from_millis(100);

impl Client {
    /// Publishes the events of those posts that were confirmed, without waiting for answers.
    pub(super) fn announce(
        &self,
        link: &mut Link,
        outcomes: &[(impl Borrow<Post>, Outcome)],
        wait: &mut Wait<'_>,
    ) {
        let Some(sender) = self.options.sent_events.as_deref() else {
            return;
        };
        // A server with an alarm reads nothing.
        if link.is_blocked() || link.announcing.is_paused() {
            return;
        }
        let wait = &mut wait.within(MOMENT);
        let confirmed = outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Done));
        for (post, _) in confirmed {
            // The posts are confirmed. If this fails, the connection is not used again.
            if write(link, post.borrow(), sender, wait).is_err() {
                return;
            }
        }
        let _ = link.flush(wait);
    }
}

/// Writes the event of a post if the channel for events can be opened.
fn write(
    link: &mut Link,
    post: &Post,
    sender: &Sender,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    let _ = pack(link, post, sender);
    if link.session.output().len() >= CHUNK {
        link.flush(wait)?;
    }
    Ok(())
}

fn pack(link: &mut Link, post: &Post, sender: &Sender) -> Result<(), AmqpError> {
    let moment = Moment::without_clock(SystemTime::now().into());
    let sent = events::Route {
        queue: post.queue.as_deref().unwrap_or(&post.routing_key),
        exchange: &post.exchange,
        routing_key: &post.routing_key,
    };
    let Some(event) = sent_amqp(&post.message, sent, sender, moment) else {
        return Ok(());
    };
    open(link)?;
    let route = Route {
        exchange: Short::new(EVENT_EXCHANGE)?,
        routing_key: Short::new(ROUTING_KEY)?,
        mandatory: false,
    };
    let properties = event.properties()?;
    link.session
        .publish(EVENTS, &route, &properties, &event.body)
        .map(drop)
}

/// Opens the channel for events unless it is open or about to be.
fn open(link: &mut Link) -> Result<(), AmqpError> {
    if link.session.has_channel(EVENTS) {
        return Ok(());
    }
    link.session.open_channel(EVENTS)?;
    if link.announcing.is_missing {
        let declare = known_exchange(Exchange::EVENTS, false)?;
        link.session.request(EVENTS, &declare)?;
    }
    Ok(())
}
