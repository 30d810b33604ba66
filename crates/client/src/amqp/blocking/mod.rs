//! A client of RabbitMQ whose calls block the thread, but never beyond a deadline.
//!
//! Every call takes a [`Wait`](crate::blocking::Wait). Its deadline covers the whole call: name,
//! connection, TLS, login, repeats, confirm.
//!
//! A post is published with `mandatory` on a channel with confirms. The broker then answers each
//! post: it has the message in a queue, it has no queue for it, or it does not take it. Without an
//! answer the outcome is unknown, and the post is not repeated.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use celery_client::amqp::{AmqpEndpoint, blocking::*};
//! # use celery_client::blocking::{NeverInterrupt, Wait};
//! # use celery_protocol::message::AmqpMessage;
//! # fn post(message: AmqpMessage) -> Result<(), celery_client::ClientError> {
//! let endpoint = Arc::new(AmqpEndpoint::from_url("amqp://localhost")?);
//! let mut client = Client::new(endpoint, ClientOptions::default());
//! let post = Post {
//!     exchange: String::new(),
//!     routing_key: "celery".into(),
//!     queue: None,
//!     task_id: "id".into(),
//!     message,
//! };
//! let mut never = NeverInterrupt;
//! client.publish(&post, &mut Wait::new(Duration::from_secs(5), &mut never))?;
//! # Ok(()) }
//! ```
//!
//! The modules, from the bottom:
//!
//! * `post`: what to post;
//! * `link`: a connection, opened and logged in;
//! * `client`: the connection of a client, and requests that may be repeated;
//! * `publish`: posts, one or many; `pipeline` and `owing`: posts that are confirmed later; `outcome`: what the answers to posts mean;
//! * `announce` and `announcing`: the events of posts;
//! * `receive`: messages from a queue; `declare`: queues; `follow`: replies of workers;
//! * `control`: remote control of workers; `events`: their events; `temporary`: the queues for both;
//! * `dead_letters`: what could not be run;
//! * `replies`: replies that have arrived and were not asked for yet;
//! * `pool`: idle connections.

mod announce;
mod announcing;
mod client;
mod control;
mod dead_letters;
mod declare;
mod events;
mod follow;
mod link;
mod outcome;
mod owing;
mod pipeline;
mod pool;
mod post;
mod publish;
mod receive;
mod replies;
mod temporary;

pub use client::{Client, ClientOptions};
pub use dead_letters::{Letter, Replayed};
pub use events::Events;
pub use follow::Remains;
pub use pool::{Pool, PoolOptions};
pub use post::Post;
pub use receive::Flow;
pub use replies::{Arrived, Known, Replies};

pub use super::{Queue, QueueState, QueueType};
