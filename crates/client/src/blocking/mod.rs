//! The blocking driver: Redis for a caller that must get its thread back in time.
//!
//! Every call takes a [`Wait`]: one absolute deadline over everything in it – name, connection, TLS, repeats, answer –
//! and an [`Interrupt`] that is asked at least every 50 ms. A [`Pool`] is a plain value without I/O or locks: clients
//! are taken *out* of it, used, and put back after success, so that a caller who is torn away leaves nothing behind
//! but a closed connection.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use celery_client::blocking::*;
//! # use celery_client::Endpoint;
//! # fn main() -> Result<(), celery_client::ClientError> {
//! let endpoint = Arc::new(Endpoint::from_url("redis://localhost")?);
//! let mut pool = Pool::new(PoolOptions::default());
//! let mut client = pool.take(&endpoint);
//! let post = Post { queue: "celery".into(), priority: 0, task_id: "id".into(), envelope: b"{}".to_vec() };
//! client.publish(&post, Publish::Confirmed, &mut Wait::new(Duration::from_secs(5), &mut NeverInterrupt))?;
//! pool.put(client);
//! # Ok(()) }
//! ```
//!
//! Layout: `wait` (deadline and interrupt), `resolve` (names), `socket` and `stream` (bytes), `reply` (answers), `link` (one
//! connection), `process` (forks), `pool`, `client` (connecting and repeating), `publish`, `pipeline`, `replicas`, `results`, `control`.

mod client;
mod control;
mod link;
mod pipeline;
mod pool;
mod process;
mod publish;
mod replicas;
mod reply;
mod resolve;
mod results;
mod socket;
mod stream;
mod wait;

pub use client::{Client, ClientOptions};
pub use control::Revoke;
pub use link::Link;
pub use pool::{Pool, PoolOptions};
pub use process::Process;
pub use publish::{Post, Publish};
#[doc(hidden)]
pub use reply::{Shape, answers};
pub use wait::{Deadline, Interrupt, Interrupted, NeverInterrupt, Wait};
