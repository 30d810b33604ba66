//! A Redis client whose calls block the thread, but never beyond a deadline.
//!
//! Every call takes a [`Wait`](crate::blocking::Wait). Its deadline covers the whole call: name,
//! connection, TLS, repeats, answer.
//!
//! A [`Pool`] is a plain value without locks. A client is taken *out* of it, used, and put back
//! after success. An aborted caller does not put its client back, so the connection is closed.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use celery_client::blocking::{NeverInterrupt, Wait};
//! # use celery_client::redis::blocking::*;
//! # use celery_client::redis::RedisEndpoint;
//! # fn main() -> Result<(), celery_client::ClientError> {
//! let endpoint = Arc::new(RedisEndpoint::from_url("redis://localhost")?);
//! let mut pool = Pool::new(PoolOptions::default());
//! let mut client = pool.take(&endpoint);
//! let post = Post {
//!     queue: "celery".into(),
//!     priority: 0,
//!     task_id: "id".into(),
//!     envelope: b"{}".to_vec(),
//! };
//! let mut never = NeverInterrupt;
//! let mut wait = Wait::new(Duration::from_secs(5), &mut never);
//! client.publish(&post, Publish::Confirmed, &mut wait)?;
//! pool.put(client);
//! # Ok(()) }
//! ```
//!
//! The modules, from the bottom:
//!
//! * `outgoing`: a message to post;
//! * `reply`: reading answers;
//! * `link`: a connection, with a type for each of its states;
//! * `client`: repeating commands; `acquire`: its connection; `pool`: idle clients;
//! * `post` and `attempt`: the commands of a post, and when it is repeated;
//! * `watch` and `awaiting`: waiting for results; `groups`: many results, and groups;
//! * `publish`, `batch`, `pipeline`, `replicas`, `results`, `chords`, `queues`, `dead_letters`,
//!   `schedules` and `control`: the calls of a client;
//! * `announce`: the events of posts;
//! * `events`: a subscription that lasts longer than a call.

mod acquire;
mod announce;
mod attempt;
mod awaiting;
mod batch;
mod chords;
mod client;
mod control;
mod dead_letters;
mod events;
mod groups;
mod link;
mod outgoing;
mod pipeline;
mod pool;
mod post;
mod publish;
mod queues;
mod replicas;
mod reply;
mod results;
mod schedules;
mod stored;
mod watch;

pub use attempt::Publish;
pub use awaiting::Awaiting;
pub use client::{Client, ClientOptions};
pub use control::Revoke;
pub use events::Events;
pub use outgoing::{Frame, Outgoing, Post};
pub use pool::{Pool, PoolOptions};
pub use schedules::{EntryChange, StoredEntry};
pub use watch::Stored;

#[doc(hidden)]
pub use reply::{Shape, answers};
