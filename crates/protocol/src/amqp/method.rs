//! The methods of AMQP 0-9-1 that a client needs, in both directions.
//!
//! Each method is a variant with its arguments in the order of the specification. Reserved
//! arguments, which must be zero, are written as such and ignored when read.

use super::error::AmqpError;
use super::table::Table;
use super::wire::{Field, Reader, Short, Writer};

/// A reserved argument. It is written as zero, and read without a look at its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved<T>(std::marker::PhantomData<T>);

impl<'a, T: Field<'a> + Default> Field<'a> for Reserved<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AmqpError> {
        T::read(reader).map(|_| Self(std::marker::PhantomData))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        T::default().write(writer);
    }
}

macro_rules! methods {
    ($(
        $(#[$doc:meta])*
        $variant:ident($class:literal, $method:literal) $name:literal {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        }
    )*) => {
        /// A method with its arguments, named as in the specification.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the arguments have the names of the specification")]
        pub enum Method<'a> {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type,)* },)*
        }

        impl<'a> Method<'a> {
            /// Returns the name in the specification.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// Returns the numbers of the class and of the method.
            pub fn id(&self) -> (u16, u16) {
                match self {
                    $(Self::$variant { .. } => ($class, $method),)*
                }
            }

            /// Reads the payload of a method frame.
            ///
            /// # Errors
            /// [`AmqpError`] if the method is unknown or its arguments are not complete.
            pub fn read(payload: &'a [u8]) -> Result<Self, AmqpError> {
                let mut reader = Reader::new(payload);
                let (class, method) = (u16::read(&mut reader)?, u16::read(&mut reader)?);
                let read = match (class, method) {
                    $(($class, $method) => Self::$variant {
                        $($field: Field::read(&mut reader)?,)*
                    },)*
                    _ => return Err(AmqpError::UnknownMethod { class, method }),
                };
                if !reader.is_empty() {
                    return Err(AmqpError::Malformed("a method has bytes after its arguments"));
                }
                Ok(read)
            }

            /// Appends the payload of a method frame.
            pub fn write(&self, out: &mut Vec<u8>) {
                let mut writer = Writer::new(out);
                let (class, method) = self.id();
                class.write(&mut writer);
                method.write(&mut writer);
                match self {
                    $(Self::$variant { $($field,)* } => {
                        $($field.write(&mut writer);)*
                    })*
                }
            }
        }
    };
}

methods! {
    /// The server begins.
    ConnectionStart(10, 10) "connection.start" {
        version_major: u8,
        version_minor: u8,
        server_properties: Table<'a>,
        mechanisms: &'a [u8],
        locales: &'a [u8],
    }
    /// The client logs in.
    ConnectionStartOk(10, 11) "connection.start-ok" {
        client_properties: Table<'a>,
        mechanism: Short<'a>,
        response: &'a [u8],
        locale: Short<'a>,
    }
    /// The server asks for another step of the login.
    ConnectionSecure(10, 20) "connection.secure" { challenge: &'a [u8], }
    /// The server proposes limits.
    ConnectionTune(10, 30) "connection.tune" {
        channel_max: u16,
        frame_max: u32,
        /// Seconds; 0 for none.
        heartbeat: u16,
    }
    /// The client accepts limits.
    ConnectionTuneOk(10, 31) "connection.tune-ok" {
        channel_max: u16,
        frame_max: u32,
        heartbeat: u16,
    }
    /// The client chooses a virtual host.
    ConnectionOpen(10, 40) "connection.open" {
        virtual_host: Short<'a>,
        capabilities: Reserved<Short<'a>>,
        insist: Reserved<bool>,
    }
    /// The server accepts the virtual host.
    ConnectionOpenOk(10, 41) "connection.open-ok" { known_hosts: Reserved<Short<'a>>, }
    /// One side ends the connection.
    ConnectionClose(10, 50) "connection.close" {
        reply_code: u16,
        reply_text: Short<'a>,
        class_id: u16,
        method_id: u16,
    }
    /// The other side confirms the end.
    ConnectionCloseOk(10, 51) "connection.close-ok" {}
    /// The server reads from no publisher.
    ConnectionBlocked(10, 60) "connection.blocked" { reason: Short<'a>, }
    /// The server reads again.
    ConnectionUnblocked(10, 61) "connection.unblocked" {}

    /// The client opens a channel.
    ChannelOpen(20, 10) "channel.open" { out_of_band: Reserved<Short<'a>>, }
    /// The channel is open.
    ChannelOpenOk(20, 11) "channel.open-ok" { channel_id: Reserved<&'a [u8]>, }
    /// One side asks the other to stop or to continue sending content.
    ChannelFlow(20, 20) "channel.flow" { active: bool, }
    /// The answer to `channel.flow`.
    ChannelFlowOk(20, 21) "channel.flow-ok" { active: bool, }
    /// One side ends the channel.
    ChannelClose(20, 40) "channel.close" {
        reply_code: u16,
        reply_text: Short<'a>,
        class_id: u16,
        method_id: u16,
    }
    /// The other side confirms the end of the channel.
    ChannelCloseOk(20, 41) "channel.close-ok" {}

    /// Declares an exchange.
    ExchangeDeclare(40, 10) "exchange.declare" {
        ticket: Reserved<u16>,
        exchange: Short<'a>,
        kind: Short<'a>,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        no_wait: bool,
        arguments: Table<'a>,
    }
    /// The exchange exists.
    ExchangeDeclareOk(40, 11) "exchange.declare-ok" {}
    /// Deletes an exchange.
    ExchangeDelete(40, 20) "exchange.delete" {
        ticket: Reserved<u16>,
        exchange: Short<'a>,
        if_unused: bool,
        no_wait: bool,
    }
    /// The exchange does not exist.
    ExchangeDeleteOk(40, 21) "exchange.delete-ok" {}
    /// Binds an exchange to another one.
    ExchangeBind(40, 30) "exchange.bind" {
        ticket: Reserved<u16>,
        destination: Short<'a>,
        source: Short<'a>,
        routing_key: Short<'a>,
        no_wait: bool,
        arguments: Table<'a>,
    }
    /// The exchanges are bound.
    ExchangeBindOk(40, 31) "exchange.bind-ok" {}

    /// Declares a queue.
    QueueDeclare(50, 10) "queue.declare" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        no_wait: bool,
        arguments: Table<'a>,
    }
    /// The queue exists.
    QueueDeclareOk(50, 11) "queue.declare-ok" {
        queue: Short<'a>,
        message_count: u32,
        consumer_count: u32,
    }
    /// Binds a queue to an exchange.
    QueueBind(50, 20) "queue.bind" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        exchange: Short<'a>,
        routing_key: Short<'a>,
        no_wait: bool,
        arguments: Table<'a>,
    }
    /// The queue is bound.
    QueueBindOk(50, 21) "queue.bind-ok" {}
    /// Removes the messages of a queue.
    QueuePurge(50, 30) "queue.purge" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        no_wait: bool,
    }
    /// The queue has no ready message.
    QueuePurgeOk(50, 31) "queue.purge-ok" { message_count: u32, }
    /// Deletes a queue.
    QueueDelete(50, 40) "queue.delete" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        if_unused: bool,
        if_empty: bool,
        no_wait: bool,
    }
    /// The queue does not exist.
    QueueDeleteOk(50, 41) "queue.delete-ok" { message_count: u32, }
    /// Removes a binding.
    QueueUnbind(50, 50) "queue.unbind" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        exchange: Short<'a>,
        routing_key: Short<'a>,
        arguments: Table<'a>,
    }
    /// The binding does not exist.
    QueueUnbindOk(50, 51) "queue.unbind-ok" {}

    /// Limits the deliveries without an acknowledgement.
    BasicQos(60, 10) "basic.qos" {
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
    }
    /// The limit holds for consumers that start from now on.
    BasicQosOk(60, 11) "basic.qos-ok" {}
    /// Starts a consumer.
    BasicConsume(60, 20) "basic.consume" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        consumer_tag: Short<'a>,
        no_local: bool,
        no_ack: bool,
        exclusive: bool,
        no_wait: bool,
        arguments: Table<'a>,
    }
    /// The consumer is started.
    BasicConsumeOk(60, 21) "basic.consume-ok" { consumer_tag: Short<'a>, }
    /// Ends a consumer: by the client, or by a server whose queue is gone.
    BasicCancel(60, 30) "basic.cancel" { consumer_tag: Short<'a>, no_wait: bool, }
    /// The consumer is ended.
    BasicCancelOk(60, 31) "basic.cancel-ok" { consumer_tag: Short<'a>, }
    /// Publishes the message that follows.
    BasicPublish(60, 40) "basic.publish" {
        ticket: Reserved<u16>,
        exchange: Short<'a>,
        routing_key: Short<'a>,
        mandatory: bool,
        immediate: bool,
    }
    /// Gives back the message that follows: it could not be routed.
    BasicReturn(60, 50) "basic.return" {
        reply_code: u16,
        reply_text: Short<'a>,
        exchange: Short<'a>,
        routing_key: Short<'a>,
    }
    /// Delivers the message that follows to a consumer.
    BasicDeliver(60, 60) "basic.deliver" {
        consumer_tag: Short<'a>,
        delivery_tag: u64,
        redelivered: bool,
        exchange: Short<'a>,
        routing_key: Short<'a>,
    }
    /// Asks for one message.
    BasicGet(60, 70) "basic.get" {
        ticket: Reserved<u16>,
        queue: Short<'a>,
        no_ack: bool,
    }
    /// Delivers the message that follows to the one who asked.
    BasicGetOk(60, 71) "basic.get-ok" {
        delivery_tag: u64,
        redelivered: bool,
        exchange: Short<'a>,
        routing_key: Short<'a>,
        message_count: u32,
    }
    /// The queue has no ready message.
    BasicGetEmpty(60, 72) "basic.get-empty" { cluster_id: Reserved<Short<'a>>, }
    /// Acknowledges deliveries, or confirms publications.
    BasicAck(60, 80) "basic.ack" { delivery_tag: u64, multiple: bool, }
    /// Refuses one delivery.
    BasicReject(60, 90) "basic.reject" { delivery_tag: u64, requeue: bool, }
    /// Refuses deliveries, or reports publications that the broker did not take.
    BasicNack(60, 120) "basic.nack" {
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    }

    /// Switches publisher confirms on.
    ConfirmSelect(85, 10) "confirm.select" { no_wait: bool, }
    /// Publications are counted from now on.
    ConfirmSelectOk(85, 11) "confirm.select-ok" {}
}

impl Method<'_> {
    /// The numbers of `basic.get-ok`.
    pub(super) const GET_OK: (u16, u16) = (60, 71);

    /// Returns the numbers of the method that answers this request of a client, if there is one.
    pub(super) fn answer(&self) -> Option<(u16, u16)> {
        let no_wait = match *self {
            Self::ExchangeDeclare { no_wait, .. }
            | Self::ExchangeDelete { no_wait, .. }
            | Self::ExchangeBind { no_wait, .. }
            | Self::QueueDeclare { no_wait, .. }
            | Self::QueueBind { no_wait, .. }
            | Self::QueuePurge { no_wait, .. }
            | Self::QueueDelete { no_wait, .. }
            | Self::BasicConsume { no_wait, .. }
            | Self::BasicCancel { no_wait, .. }
            | Self::ConfirmSelect { no_wait } => no_wait,
            Self::QueueUnbind { .. } | Self::BasicQos { .. } | Self::BasicGet { .. } => false,
            _ => return None,
        };
        // The number of an answer follows that of its request.
        let (class, method) = self.id();
        (!no_wait).then_some((class, method + 1))
    }
}
