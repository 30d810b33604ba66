//! AMQP 0-9-1, the protocol of RabbitMQ, as values: a codec and the state of a connection.
//!
//! Nothing here has a socket or a clock. A driver gives a [`Session`] the bytes that it has read,
//! sends the bytes that the session wants sent, and acts on its [`Event`]s.
//!
//! A server, and every program that can publish to a queue, decides what arrives here. So each frame
//! is checked before it is parsed, tables are read to a limited depth, and a body is collected up to
//! a limited size. A header table stays bytes until its message is decoded: a hostile table spoils
//! its own message, and not the connection that delivers it.
//!
//! # Layout
//!
//! * [`limits`]: all limits, with their reasons.
//! * `frame` and `wire`: frames, and the elements inside them.
//! * [`Method`]: every method that a client needs, for reading and for writing.
//! * [`Table`]: tables as JSON and JSON as tables; `members`: single members. [`Properties`]: the header of a message.
//! * [`Session`]: handshake, channels, confirms, contents. [`Confirms`] and [`Heartbeats`] are
//!   parts that it or its driver uses.
//!
//! [`Task::encode_amqp`](crate::message::Task::encode_amqp) writes Celery's messages in this form.

mod confirms;
mod error;
mod frame;
mod heartbeat;
pub mod limits;
mod members;
mod method;
mod properties;
mod session;
mod table;
mod wire;

pub use confirms::Confirms;
pub use error::AmqpError;
pub use frame::{Frame, FrameKind, PROTOCOL_HEADER};
pub use heartbeat::{Heartbeats, Pulse};
pub use method::{Method, Reserved};
pub use properties::Properties;
pub use session::{
    Close, Content, Delivery, Event, Login, Reply, Returned, Route, Session, SessionOptions, Tuned,
};
pub use table::{Table, TableBuf};
pub use wire::Short;
