//! Results that come as replies over RabbitMQ: Celery's result backend `rpc://`.
//!
//! A worker sends each state of a task to the queue that the message of the task names, once. The
//! queue must exist by then, so it is declared before the task is posted. There are two kinds:
//!
//! * `process`: one queue for this process (this thread, under ZTS). Only the request that posted a
//!   task can read its result. The queue is not exclusive, so a lost connection loses no reply.
//! * `task`: a queue for each task, which any process can read. Each costs RabbitMQ memory until the
//!   result is read or expires.
//!
//! The modules, from the bottom:
//!
//! * `queues`: names and arguments of the queues; `letterbox`: what this process knows;
//! * `source`: the server, and what is said if replies cannot be read;
//! * `prepare`: before a post; `look`: what has arrived; `awaiting`: waiting for more.

mod awaiting;
mod letterbox;
mod look;
mod prepare;
mod queues;
mod source;

pub(crate) use self::awaiting::Awaiting;
pub(crate) use self::letterbox::request_end;
pub(crate) use self::look::{forget, look};
pub(crate) use self::prepare::{Wanted, address, prepare};
pub(crate) use self::source::Source;
