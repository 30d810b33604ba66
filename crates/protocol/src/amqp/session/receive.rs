//! What a session makes of the frames that arrive.

use super::channel::{Arriving, BodyLimit, Phase, Purpose};
use super::event::{Close, Event, Reply};
use super::{Session, Stage};
use crate::amqp::error::AmqpError;
use crate::amqp::frame::{Frame, FrameKind};
use crate::amqp::limits::FRAME_MIN;
use crate::amqp::method::{Method, Reserved};
use crate::amqp::table::TableBuf;
use crate::amqp::wire::Short;

/// What this client can do, which RabbitMQ asks for in its own form of these names.
const CAPABILITIES: &str = r#"{"authentication_failure_close":true,"basic.nack":true,"connection.blocked":true,"consumer_cancel_notify":true,"exchange_exchange_bindings":true,"publisher_confirms":true}"#;

impl Session {
    /// Returns what has happened next, or `None` until more bytes arrive. The session may have
    /// more output then.
    ///
    /// # Errors
    /// [`AmqpError`] for bytes that no server may send. The connection must be dropped.
    pub fn next_event(&mut self) -> Result<Option<Event>, AmqpError> {
        let lent = self.inbox.lend();
        let event = self.next_in(&lent);
        self.inbox.give_back(lent);
        event
    }

    fn next_in(&mut self, bytes: &[u8]) -> Result<Option<Event>, AmqpError> {
        while self.phase != Stage::Ended {
            let Some(frame) = self.inbox.frame(bytes, self.tuned.frame_max)? else {
                return Ok(None);
            };
            if let Some(event) = self.take(&frame)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<Option<Event>, AmqpError> {
        let number = frame.channel;
        match frame.kind {
            FrameKind::Heartbeat if number == 0 && frame.payload.is_empty() => Ok(None),
            FrameKind::Heartbeat => Err(unexpected("heartbeat", number)),
            FrameKind::Method if number == 0 => self.take_method_0(Method::read(frame.payload)?),
            FrameKind::Method => self.take_method(number, Method::read(frame.payload)?),
            FrameKind::Header | FrameKind::Body if self.phase == Stage::Closing => Ok(None),
            FrameKind::Header | FrameKind::Body => {
                let is_header = frame.kind == FrameKind::Header;
                let what = if is_header { "header" } else { "body" };
                let limit = BodyLimit {
                    most: self.options.max_body,
                    leaves_out: self.options.leaves_out,
                };
                let channel = self.channels.get_mut(&number);
                let channel = channel.ok_or_else(|| unexpected(what, number))?;
                if channel.phase == Phase::Closing {
                    return Ok(None);
                }
                if is_header {
                    channel.header(number, frame.payload, limit)
                } else {
                    channel.body(number, frame.payload)
                }
            }
        }
    }

    /// Takes a method of the connection itself.
    fn take_method_0(&mut self, method: Method<'_>) -> Result<Option<Event>, AmqpError> {
        match (self.phase, method) {
            (Stage::Closing, Method::ConnectionCloseOk {}) => {
                self.phase = Stage::Ended;
                Ok(Some(Event::Ended))
            }
            (
                _,
                Method::ConnectionClose {
                    reply_code,
                    reply_text,
                    class_id,
                    method_id,
                },
            ) => {
                self.write(0, &Method::ConnectionCloseOk {})?;
                self.phase = Stage::Ended;
                Ok(Some(Event::Closed(Close {
                    code: reply_code,
                    text: reply_text.text().into_owned(),
                    method: (class_id, method_id),
                })))
            }
            (Stage::Closing, _) => Ok(None),
            (
                Stage::Start,
                Method::ConnectionStart {
                    version_major,
                    version_minor,
                    mechanisms,
                    ..
                },
            ) => {
                if (version_major, version_minor) != (0, 9) {
                    return Err(AmqpError::Version);
                }
                self.log_in(mechanisms)?;
                Ok(None)
            }
            (
                Stage::Tune,
                Method::ConnectionTune {
                    channel_max,
                    frame_max,
                    heartbeat,
                },
            ) => {
                self.tune(channel_max, frame_max, heartbeat)?;
                Ok(Some(Event::Tuned))
            }
            (Stage::Open, Method::ConnectionOpenOk { .. }) => {
                self.phase = Stage::Ready;
                Ok(Some(Event::Opened))
            }
            (Stage::Open | Stage::Ready, Method::ConnectionBlocked { reason }) => {
                Ok(Some(Event::Blocked(reason.text().into_owned())))
            }
            (Stage::Open | Stage::Ready, Method::ConnectionUnblocked {}) => {
                Ok(Some(Event::Unblocked))
            }
            (_, other) => Err(unexpected(other.name(), 0)),
        }
    }

    /// Answers `connection.start`.
    fn log_in(&mut self, mechanisms: &[u8]) -> Result<(), AmqpError> {
        let login = self.options.login.clone();
        let mut offered = mechanisms.split(|byte| *byte == b' ');
        if !offered.any(|name| name == login.mechanism().as_bytes()) {
            return Err(AmqpError::Mechanism(login.mechanism()));
        }
        let mut about = crate::fields::Fields::new();
        let json = |error: serde_json::Error| AmqpError::Json(error.to_string());
        about.set("product", "celery-php").map_err(json)?;
        about
            .set("version", env!("CARGO_PKG_VERSION"))
            .map_err(json)?;
        about.set("platform", "Rust").map_err(json)?;
        if !self.options.name.is_empty() {
            about
                .set("connection_name", &self.options.name)
                .map_err(json)?;
        }
        let capabilities = serde_json::value::RawValue::from_string(CAPABILITIES.to_owned());
        about.insert("capabilities", capabilities.map_err(json)?);
        let about = TableBuf::from_fields(&about)?;
        self.write(
            0,
            &Method::ConnectionStartOk {
                client_properties: about.as_table(),
                mechanism: Short::new(login.mechanism())?,
                response: &login.response(),
                locale: Short::new("en_US")?,
            },
        )?;
        self.phase = Stage::Tune;
        Ok(())
    }

    /// Answers `connection.tune` and chooses the virtual host.
    fn tune(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16) -> Result<(), AmqpError> {
        if frame_max != 0 && frame_max < FRAME_MIN {
            return Err(AmqpError::Malformed("the server proposes too small frames"));
        }
        let own = &self.options;
        self.tuned.channel_max = smaller(channel_max, own.channel_max);
        self.tuned.frame_max = smaller(frame_max, own.frame_max).max(FRAME_MIN);
        self.tuned.heartbeat = match own.heartbeat {
            0 => 0,
            wanted => smaller(heartbeat, wanted),
        };
        let tuned = self.tuned;
        self.write(
            0,
            &Method::ConnectionTuneOk {
                channel_max: tuned.channel_max,
                frame_max: tuned.frame_max,
                heartbeat: tuned.heartbeat,
            },
        )?;
        let vhost = self.options.vhost.clone();
        self.write(
            0,
            &Method::ConnectionOpen {
                virtual_host: Short::new(&vhost)?,
                capabilities: Reserved::default(),
                insist: Reserved::default(),
            },
        )?;
        self.phase = Stage::Open;
        Ok(())
    }

    /// Takes a method of a channel.
    fn take_method(&mut self, number: u16, method: Method<'_>) -> Result<Option<Event>, AmqpError> {
        if self.phase == Stage::Closing {
            return Ok(None);
        }
        let wrong = unexpected(method.name(), number);
        let Some(channel) = self.channels.get_mut(&number) else {
            return Err(wrong);
        };
        if channel.phase == Phase::Closing {
            return match method {
                Method::ChannelCloseOk {} => {
                    self.channels.remove(&number);
                    Ok(Some(Event::ChannelEnded(number)))
                }
                // Both ends close it at once. The own close gets its answer, too.
                Method::ChannelClose { .. } => {
                    self.write(number, &Method::ChannelCloseOk {})?;
                    Ok(None)
                }
                _ => Ok(None),
            };
        }
        if channel.arriving.is_some() {
            return Err(wrong);
        }
        if let Method::ChannelClose {
            reply_code,
            reply_text,
            class_id,
            method_id,
        } = method
        {
            self.write(number, &Method::ChannelCloseOk {})?;
            self.channels.remove(&number);
            let close = Close {
                code: reply_code,
                text: reply_text.text().into_owned(),
                method: (class_id, method_id),
            };
            return Ok(Some(Event::ChannelClosed(number, close)));
        }
        if channel.phase == Phase::Opening {
            let Method::ChannelOpenOk { .. } = method else {
                return Err(wrong);
            };
            channel.phase = Phase::Open;
            return Ok(Some(Event::ChannelOpened(number)));
        }
        if let Some(arriving) = arriving(&method) {
            if let Method::BasicGetOk { .. } = method
                && !channel.answered(method.id())
            {
                return Err(wrong);
            }
            channel.arriving = Some(arriving);
            return Ok(None);
        }
        match method {
            Method::BasicAck {
                delivery_tag,
                multiple,
            }
            | Method::BasicNack {
                delivery_tag,
                multiple,
                ..
            } => {
                let confirms = channel.confirms.as_mut().ok_or(wrong)?;
                Ok(Some(Event::Confirmed {
                    channel: number,
                    numbers: confirms.answer(delivery_tag, multiple)?,
                    accepted: matches!(method, Method::BasicAck { .. }),
                }))
            }
            Method::BasicCancel { consumer_tag, .. } => {
                Ok(Some(Event::ConsumerCancelled(number, text(consumer_tag))))
            }
            Method::ChannelFlow { active: true } => {
                self.write(number, &Method::ChannelFlowOk { active: true })?;
                Ok(None)
            }
            other => {
                let answered = match other {
                    // A message answers the request as well.
                    Method::BasicGetEmpty { .. } => Method::GET_OK,
                    other => other.id(),
                };
                match reply(&other) {
                    Some(reply) if channel.answered(answered) => {
                        Ok(Some(Event::Replied(number, reply)))
                    }
                    _ => Err(wrong),
                }
            }
        }
    }
}

fn unexpected(what: &'static str, channel: u16) -> AmqpError {
    AmqpError::Unexpected { what, channel }
}

fn text(short: Short<'_>) -> String {
    short.text().into_owned()
}

/// Returns the smaller of two limits, of which 0 means none.
fn smaller<T: Ord + Default>(one: T, other: T) -> T {
    if one == T::default() {
        other
    } else if other == T::default() {
        one
    } else {
        one.min(other)
    }
}

/// Returns the message that a method announces, if it announces one.
fn arriving(method: &Method<'_>) -> Option<Arriving> {
    let (purpose, exchange, routing_key) = match *method {
        Method::BasicReturn {
            reply_code,
            reply_text,
            exchange,
            routing_key,
        } => {
            let purpose = Purpose::Return {
                code: reply_code,
                text: text(reply_text),
            };
            (purpose, exchange, routing_key)
        }
        Method::BasicDeliver {
            consumer_tag,
            delivery_tag,
            redelivered,
            exchange,
            routing_key,
        } => {
            let purpose = Purpose::Deliver {
                consumer: text(consumer_tag),
                tag: delivery_tag,
                redelivered,
            };
            (purpose, exchange, routing_key)
        }
        Method::BasicGetOk {
            delivery_tag,
            redelivered,
            exchange,
            routing_key,
            message_count,
        } => {
            let purpose = Purpose::Get {
                tag: delivery_tag,
                redelivered,
                left: message_count,
            };
            (purpose, exchange, routing_key)
        }
        _ => return None,
    };
    Some(Arriving::new(purpose, text(exchange), text(routing_key)))
}

/// Returns the answer that a method is, if it answers a request.
fn reply(method: &Method<'_>) -> Option<Reply> {
    Some(match *method {
        Method::ConfirmSelectOk {}
        | Method::ExchangeDeclareOk {}
        | Method::ExchangeDeleteOk {}
        | Method::ExchangeBindOk {}
        | Method::QueueBindOk {}
        | Method::QueueUnbindOk {}
        | Method::BasicQosOk {} => Reply::Done,
        Method::QueueDeclareOk {
            queue,
            message_count,
            consumer_count,
        } => Reply::Queue {
            name: text(queue),
            messages: message_count,
            consumers: consumer_count,
        },
        Method::QueuePurgeOk { message_count } | Method::QueueDeleteOk { message_count } => {
            Reply::Removed(message_count)
        }
        Method::BasicConsumeOk { consumer_tag } => Reply::Consuming(text(consumer_tag)),
        Method::BasicCancelOk { consumer_tag } => Reply::Cancelled(text(consumer_tag)),
        Method::BasicGetEmpty { .. } => Reply::Empty,
        _ => return None,
    })
}
