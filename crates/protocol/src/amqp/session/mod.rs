//! The state of a connection to a broker, without its socket.
//!
//! ```text
//!  protocol header ─► Start ─► StartOk ─► Tune ─► TuneOk, Open ─► OpenOk ─► … ─► Close
//!                                          │                         │              │
//!                                     Event::Tuned             Event::Opened   Event::Closed
//! ```
//!
//! After [`Event::Tuned`] the driver may open channels and use them at once, so that a login takes
//! two round trips. An error of [`Session::next_event`] ends the connection: later bytes have no known
//! meaning.

mod channel;
mod event;
mod inbox;
mod options;
mod receive;

use std::collections::BTreeMap;

use channel::{Channel, Phase};
pub use event::{Close, Content, Delivery, Event, Reply, Returned};
use inbox::Inbox;
pub use options::{Login, SessionOptions, Tuned};

use super::confirms::Confirms;
use super::error::AmqpError;
use super::frame::{FRAMING, FrameKind, PROTOCOL_HEADER, write_frame};
use super::limits::FRAME_MIN;
use super::method::{Method, Reserved};
use super::properties::Properties;
use super::wire::Short;

/// The code of an end without an error.
const SUCCESS: u16 = 200;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Tune,
    Open,
    Ready,
    /// The server was asked to end the connection; what arrives meanwhile is skipped.
    Closing,
    Ended,
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    phase: Stage,
    tuned: Tuned,
    channels: BTreeMap<u16, Channel>,
    inbox: Inbox,
    output: Vec<u8>,
}

impl Session {
    /// Begins a connection. The first output is the protocol header.
    pub fn new(options: SessionOptions) -> Self {
        let tuned = Tuned {
            channel_max: 0,
            frame_max: options.frame_max.max(FRAME_MIN),
            heartbeat: 0,
        };
        Self {
            options,
            phase: Stage::Start,
            tuned,
            channels: BTreeMap::new(),
            inbox: Inbox::default(),
            output: PROTOCOL_HEADER.to_vec(),
        }
    }

    /// Returns room for bytes of the server. Report with [`filled`](Self::filled) how many were
    /// read.
    pub fn room(&mut self) -> &mut [u8] {
        self.inbox.room()
    }

    /// Notes that `count` bytes were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.inbox.filled(count);
    }

    /// Returns the number of bytes that have arrived and are not parsed.
    pub fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// Returns the bytes that have arrived and are not parsed.
    pub fn rest(&self) -> &[u8] {
        self.inbox.rest()
    }

    /// Returns the bytes to send. The driver takes them out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Returns the limits that client and server have agreed on.
    pub fn tuned(&self) -> Tuned {
        self.tuned
    }

    /// Returns `true` if the login has ended well and the connection has not ended.
    pub fn is_open(&self) -> bool {
        self.phase == Stage::Ready
    }

    /// Returns `true` if the channel is open.
    pub fn is_channel_open(&self, channel: u16) -> bool {
        let known = self.channels.get(&channel);
        known.is_some_and(|known| known.phase == Phase::Open)
    }

    /// Returns `true` if the channel is open, or the server was asked to open it.
    pub fn has_channel(&self, channel: u16) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Returns the numbers of a channel's publications without an answer, the lowest first.
    pub fn open_confirms(&self, channel: u16) -> Vec<u64> {
        let confirms = self
            .channels
            .get(&channel)
            .and_then(|c| c.confirms.as_ref());
        confirms.map_or_else(Vec::new, |confirms| confirms.open().collect())
    }

    /// Asks for a channel.
    ///
    /// # Errors
    /// [`AmqpError::Channel`] if the number is zero, too high or in use, or if the connection is
    /// not ready for channels.
    pub fn open_channel(&mut self, channel: u16) -> Result<(), AmqpError> {
        let ready = matches!(self.phase, Stage::Open | Stage::Ready);
        if !ready
            || channel == 0
            || channel > self.tuned.channel_max
            || self.channels.contains_key(&channel)
        {
            return Err(AmqpError::Channel(channel));
        }
        self.write(
            channel,
            &Method::ChannelOpen {
                out_of_band: Reserved::default(),
            },
        )?;
        self.channels.insert(channel, Channel::opening());
        Ok(())
    }

    /// Asks for confirms of the publications on a channel.
    ///
    /// # Errors
    /// Like [`request`](Self::request).
    pub fn confirm(&mut self, channel: u16) -> Result<(), AmqpError> {
        self.request(channel, &Method::ConfirmSelect { no_wait: false })?;
        self.usable(channel)?.confirms = Some(Confirms::default());
        Ok(())
    }

    /// Ends a channel. Publications on it may be made nevertheless.
    ///
    /// # Errors
    /// [`AmqpError::Channel`] if the channel is not open.
    pub fn close_channel(&mut self, channel: u16) -> Result<(), AmqpError> {
        self.usable(channel)?.phase = Phase::Closing;
        let method = Method::ChannelClose {
            reply_code: SUCCESS,
            reply_text: Short::default(),
            class_id: 0,
            method_id: 0,
        };
        self.write(channel, &method)
    }

    /// Sends a method on a channel. If the method has an answer, an [`Event`] reports it.
    ///
    /// # Errors
    /// [`AmqpError::Channel`] if the channel is not open, and [`AmqpError::TooLarge`] if the method
    /// does not fit a frame. Then nothing is sent.
    pub fn request(&mut self, channel: u16, method: &Method<'_>) -> Result<(), AmqpError> {
        self.usable(channel)?;
        self.write(channel, method)?;
        if let (Some(answer), Ok(channel)) = (method.answer(), self.usable(channel)) {
            channel.expect(answer);
        }
        Ok(())
    }

    /// Publishes a message. Returns its number if the channel has confirms, otherwise 0.
    ///
    /// # Errors
    /// Like [`request`](Self::request), also for properties that do not fit a frame.
    pub fn publish(
        &mut self,
        channel: u16,
        route: &Route<'_>,
        properties: &Properties<'_>,
        body: &[u8],
    ) -> Result<u64, AmqpError> {
        self.usable(channel)?;
        let start = self.output.len();
        let method = Method::BasicPublish {
            ticket: Reserved::default(),
            exchange: route.exchange,
            routing_key: route.routing_key,
            mandatory: route.mandatory,
            immediate: false,
        };
        let written = self.write(channel, &method).and_then(|()| {
            let limit = self.tuned.frame_max;
            write_frame(&mut self.output, FrameKind::Header, channel, limit, |out| {
                properties.write(body.len() as u64, out);
            })
        });
        if let Err(error) = written {
            self.output.truncate(start);
            return Err(error);
        }
        let most = usize::try_from(self.tuned.frame_max).unwrap_or(usize::MAX) - FRAMING;
        for part in body.chunks(most) {
            let limit = self.tuned.frame_max;
            write_frame(&mut self.output, FrameKind::Body, channel, limit, |out| {
                out.extend_from_slice(part);
            })?;
        }
        let confirms = self.usable(channel)?.confirms.as_mut();
        Ok(confirms.map_or(0, Confirms::publish))
    }

    /// Sends a heartbeat.
    pub fn beat(&mut self) {
        // An empty frame always fits.
        let _ = write_frame(&mut self.output, FrameKind::Heartbeat, 0, FRAME_MIN, |_| {});
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// [`AmqpError::Channel`] if it has ended or has not begun.
    pub fn close(&mut self) -> Result<(), AmqpError> {
        if self.phase != Stage::Ready {
            return Err(AmqpError::Channel(0));
        }
        self.phase = Stage::Closing;
        let method = Method::ConnectionClose {
            reply_code: SUCCESS,
            reply_text: Short::default(),
            class_id: 0,
            method_id: 0,
        };
        self.write(0, &method)
    }

    fn usable(&mut self, number: u16) -> Result<&mut Channel, AmqpError> {
        let channel = self.channels.get_mut(&number);
        channel
            .filter(|channel| channel.phase != Phase::Closing)
            .ok_or(AmqpError::Channel(number))
    }

    fn write(&mut self, channel: u16, method: &Method<'_>) -> Result<(), AmqpError> {
        let limit = self.tuned.frame_max;
        write_frame(&mut self.output, FrameKind::Method, channel, limit, |out| {
            method.write(out);
        })
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Route<'a> {
    /// The exchange; empty for the one that knows each queue by its name.
    pub exchange: Short<'a>,
    /// The routing key: with an empty exchange, the queue.
    pub routing_key: Short<'a>,
    /// Whether the broker returns the message if no queue gets it.
    pub mandatory: bool,
}
