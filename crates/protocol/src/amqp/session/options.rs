//! What a session needs to begin: login, virtual host and limits.

use std::fmt;

use crate::amqp::limits::{FRAME_MAX, MAX_BODY};

/// The way to log in.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    Plain {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// The certificate of the TLS connection.
    External,
}

impl Login {
    /// Returns the name of the mechanism.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "PLAIN",
            Self::External => "EXTERNAL",
        }
    }

    /// Returns the response of the mechanism.
    pub(super) fn response(&self) -> Vec<u8> {
        match self {
            Self::Plain { user, password } => format!("\0{user}\0{password}").into_bytes(),
            Self::External => Vec::new(),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mechanism())
    }
}

/// The options of a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The login.
    pub login: Login,
    /// The virtual host.
    pub vhost: String,
    /// A name for the connection, which RabbitMQ's tools show.
    pub name: String,
    /// The interval of heartbeats in seconds; 0 switches them off.
    pub heartbeat: u16,
    /// The highest number of a channel to use.
    pub channel_max: u16,
    /// The largest frame to send or accept.
    pub frame_max: u32,
    /// The largest body to accept.
    pub max_body: usize,
    /// `true` if a message with a larger body is handed over without its body. Otherwise it ends the
    /// connection, so that the broker keeps it.
    pub leaves_out: bool,
}

impl SessionOptions {
    /// Returns options without heartbeats and with all other limits at their defaults.
    pub fn new(login: Login, vhost: impl Into<String>) -> Self {
        Self {
            login,
            vhost: vhost.into(),
            name: String::new(),
            heartbeat: 0,
            channel_max: 16,
            frame_max: FRAME_MAX,
            max_body: MAX_BODY,
            leaves_out: false,
        }
    }
}

/// The limits that client and server have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// The highest number of a channel.
    pub channel_max: u16,
    /// The largest frame.
    pub frame_max: u32,
    /// The interval of heartbeats in seconds; 0 for none.
    pub heartbeat: u16,
}
