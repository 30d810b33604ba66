//! Remote control: kombu's pidbox messages.
//!
//! A client broadcasts a [`Request`] to the exchange [`CONTROL_EXCHANGE`], a fanout that every worker
//! hears. A request that wants replies names an address, [`ReplyTo`]: an exchange and a routing
//! key that the client has bound to a queue of its own. Each worker that the request addresses
//! sends one [`Reply`] there, with the ticket of the request. A worker that is not connected does
//! not receive the request; Celery guarantees no more.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::amqp::{AmqpError, Properties};
use crate::json::write::{Object, strings};
use crate::message::{
    AmqpMessage, Cause, DecodeError, DecodeOptions, DeliveryMode, Document, is_falsy, read_amqp,
    read_document,
};
use crate::names::{CONTROL_EXCHANGE, CONTROL_REPLY_EXCHANGE};
use crate::redis_keys::Keys;

/// A request to workers.
///
/// ```
/// use celery_protocol::control::Request;
/// let ping = Request::new("ping").to(["celery@web1"]);
/// assert!(ping.addresses("celery@web1", |_, _| false));
/// assert!(!ping.addresses("celery@web2", |_, _| false));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The name of the command, such as `ping`.
    pub method: String,
    /// The arguments by name: an object. A client may send any value; the worker refuses what is
    /// not an object.
    pub arguments: Value,
    /// The node names of the workers that are addressed. `None` or an empty list: see `pattern`.
    pub destination: Option<Vec<String>>,
    /// A pattern of node names. It is used if `matcher` is set and `destination` is `None` or
    /// empty.
    pub pattern: Option<String>,
    /// The kind of the pattern: `glob` or `pcre`.
    pub matcher: Option<String>,
    /// The address of the replies, if any are wanted.
    pub reply_to: Option<ReplyTo>,
    /// The text that each reply repeats.
    pub ticket: Option<String>,
    /// The sender's logical clock. A sender without a clock writes 0, which never advances a
    /// worker's clock.
    pub clock: u64,
    /// When the sender stops waiting, in Unix seconds; 0 for never. Workers do not read it.
    pub expires: f64,
}

/// The address of replies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReplyTo {
    /// A direct exchange.
    pub exchange: String,
    /// The key by which the client's queue is bound to it.
    pub routing_key: String,
}

impl ReplyTo {
    /// Returns the address of a client's replies, where `client` is its UUID.
    pub fn new(client: impl Into<String>) -> Self {
        Self {
            exchange: CONTROL_REPLY_EXCHANGE.to_owned(),
            routing_key: client.into(),
        }
    }

    /// Returns the list on Redis into which workers put their replies.
    pub fn list(&self, keys: &Keys) -> String {
        keys.queue(&self.queue(), 0)
    }

    /// Returns the member that binds this address's queue, in the set of the exchange's bindings.
    /// Without it, no worker replies.
    pub fn binding_member(&self, keys: &Keys) -> String {
        keys.binding_member(&self.routing_key, "", &self.queue())
    }

    /// Returns the name of the queue that kombu binds to this address.
    pub fn queue(&self) -> String {
        format!("{}.{}", self.routing_key, self.exchange)
    }
}

impl Request {
    /// Returns a request to all workers that wants no replies.
    pub fn new(method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            arguments: Value::Object(Map::new()),
            destination: None,
            pattern: None,
            matcher: None,
            reply_to: None,
            ticket: None,
            clock: 0,
            expires: 0.0,
        }
    }

    /// Returns the request to skip tasks, as `app.control.revoke` sends it. With `terminate`, tasks
    /// that are running get `signal`, which is a name such as `SIGTERM`.
    pub fn revoke(task_ids: &[&str], terminate: bool, signal: &str) -> Self {
        // A single id is sent as a text and several as a list, as Celery does and older workers
        // expect.
        let task_id = match task_ids {
            [one] => Value::from(*one),
            many => Value::from(many),
        };
        Self::new("revoke")
            .argument("task_id", task_id)
            .argument("terminate", terminate)
            .argument("signal", signal)
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(arguments) = &mut self.arguments {
            arguments.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Addresses these workers alone.
    #[must_use]
    pub fn to<I: IntoIterator<Item = S>, S: Into<String>>(mut self, nodes: I) -> Self {
        self.destination = Some(nodes.into_iter().map(Into::into).collect());
        self
    }

    /// Asks for replies to this address, each with this ticket.
    #[must_use]
    pub fn reply_to(mut self, address: ReplyTo, ticket: impl Into<String>) -> Self {
        (self.reply_to, self.ticket) = (Some(address), Some(ticket.into()));
        self
    }

    /// Sets the sender's logical clock.
    #[must_use]
    pub fn clock(mut self, clock: u64) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the time at which the sender stops waiting, in Unix seconds.
    #[must_use]
    pub fn expires(mut self, seconds: f64) -> Self {
        self.expires = seconds;
        self
    }

    /// Returns `true` if the request addresses the worker of this name. As in kombu, `destination`
    /// decides if it names a worker, otherwise the pattern if there is one. Without both, every
    /// worker is addressed. `matches` gets the pattern and its kind, and returns `true` if the name
    /// matches.
    pub fn addresses(&self, node: &str, matches: impl FnOnce(&str, &str) -> bool) -> bool {
        match (&self.destination, &self.pattern, &self.matcher) {
            (Some(nodes), _, _) if !nodes.is_empty() => nodes.iter().any(|name| name == node),
            (_, Some(pattern), Some(matcher)) if !pattern.is_empty() && !matcher.is_empty() => {
                matches(pattern, matcher)
            }
            _ => true,
        }
    }

    /// Writes the request as the payload for [`Keys::pidbox_channel`][channel]. `delivery_tag` is a
    /// fresh UUID.
    ///
    /// [channel]: crate::redis_keys::Keys::pidbox_channel
    pub fn encode_redis(&self, delivery_tag: &str) -> Vec<u8> {
        let body = self.body();
        Self::document(&body, delivery_tag).encode_redis(|headers| self.write_headers(headers))
    }

    /// Writes the request as a message for the exchange
    /// [`CONTROL_EXCHANGE`] of RabbitMQ.
    ///
    /// # Errors
    ///
    /// [`AmqpError`] if the headers cannot be written.
    pub fn encode_amqp(&self) -> Result<AmqpMessage, AmqpError> {
        let body = self.body();
        Self::document(&body, "").encode_amqp(|headers| self.write_headers(headers))
    }

    fn document<'a>(body: &'a [u8], delivery_tag: &'a str) -> Document<'a> {
        Document {
            exchange: CONTROL_EXCHANGE,
            routing_key: "",
            delivery_mode: DeliveryMode::Persistent,
            delivery_tag,
            body,
        }
    }

    fn write_headers(&self, headers: &mut Object<'_>) {
        json(headers.name("clock"), &self.clock);
        headers.float("expires", self.expires);
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut written = Object::new(&mut body);
        written.string("method", &self.method);
        json(written.name("arguments"), &self.arguments);
        match &self.destination {
            Some(nodes) => strings(written.name("destination"), nodes),
            None => written.null("destination"),
        }
        written.optional("pattern", self.pattern.as_deref());
        written.optional("matcher", self.matcher.as_deref());
        if let Some(address) = &self.reply_to {
            written.optional("ticket", self.ticket.as_deref());
            let mut reply_to = Object::new(written.name("reply_to"));
            reply_to.string("exchange", &address.exchange);
            reply_to.string("routing_key", &address.routing_key);
            reply_to.end();
        }
        written.end();
        body
    }

    /// Reads a request as it was published.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the message is not kombu's, its content type is not accepted, or its body
    /// does not name a command.
    pub fn decode_redis(raw: &[u8], options: &DecodeOptions<'_>) -> Result<Self, DecodeError> {
        read_document(raw, options, Self::read)
    }

    /// Reads a request that RabbitMQ delivered.
    ///
    /// # Errors
    ///
    /// Like [`decode_redis`](Self::decode_redis).
    pub fn decode_amqp(
        properties: &Properties<'_>,
        body: &[u8],
        options: &DecodeOptions<'_>,
    ) -> Result<Self, DecodeError> {
        read_amqp(properties, body, options, Self::read)
    }

    fn read(headers: Option<&RawValue>, body: &str) -> Result<Self, DecodeError> {
        let read: RequestBody = serde_json::from_str(body).map_err(|error| {
            DecodeError::new(Cause::Body, format!("not a control request: {error}"))
        })?;
        Ok(Self {
            method: read.method,
            arguments: match read.arguments.as_deref().filter(|it| !is_falsy(it)) {
                Some(given) => serde_json::from_str(given.get()).unwrap_or(Value::Null),
                None => Value::Object(Map::new()),
            },
            destination: read.destination.map(Nodes::into_list),
            pattern: read.pattern,
            matcher: read.matcher,
            reply_to: read.reply_to,
            ticket: read.ticket,
            clock: header(headers, "clock").unwrap_or(0),
            expires: header(headers, "expires").unwrap_or(0.0),
        })
    }
}

#[derive(Deserialize)]
struct RequestBody {
    method: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
    #[serde(default)]
    destination: Option<Nodes>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    matcher: Option<String>,
    #[serde(default)]
    reply_to: Option<ReplyTo>,
    #[serde(default)]
    ticket: Option<String>,
}

/// A list of node names. Python's worker takes a lone name, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Nodes {
    List(Vec<String>),
    One(String),
}

impl Nodes {
    fn into_list(self) -> Vec<String> {
        match self {
            Nodes::List(nodes) => nodes,
            Nodes::One(node) if node.is_empty() => Vec::new(),
            Nodes::One(node) => vec![node],
        }
    }
}

/// A worker's answer to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The worker's node name.
    pub node: String,
    /// The answer, as JSON.
    pub answer: Box<RawValue>,
    /// The ticket of the request.
    pub ticket: Option<String>,
    /// The worker's logical clock.
    pub clock: u64,
}

impl Reply {
    /// Returns the answer of a worker to a request with this ticket.
    pub fn new(node: &str, answer: Box<RawValue>, ticket: Option<String>, clock: u64) -> Self {
        Self {
            node: node.to_owned(),
            answer,
            ticket,
            clock,
        }
    }

    /// Writes the reply as an element of the list of [`ReplyTo::queue`]. `delivery_tag` is a fresh
    /// UUID.
    pub fn encode_redis(&self, address: &ReplyTo, delivery_tag: &str) -> Vec<u8> {
        let body = self.body();
        let document = Self::document(address, &body, delivery_tag);
        document.encode_redis(|headers| self.write_headers(headers))
    }

    /// Writes the reply as a message for the address on RabbitMQ.
    ///
    /// # Errors
    ///
    /// [`AmqpError`] if the headers cannot be written.
    pub fn encode_amqp(&self, address: &ReplyTo) -> Result<AmqpMessage, AmqpError> {
        let body = self.body();
        Self::document(address, &body, "").encode_amqp(|headers| self.write_headers(headers))
    }

    fn document<'a>(address: &'a ReplyTo, body: &'a [u8], delivery_tag: &'a str) -> Document<'a> {
        Document {
            exchange: &address.exchange,
            routing_key: &address.routing_key,
            delivery_mode: DeliveryMode::Transient,
            delivery_tag,
            body,
        }
    }

    fn write_headers(&self, headers: &mut Object<'_>) {
        headers.optional("ticket", self.ticket.as_deref());
        json(headers.name("clock"), &self.clock);
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut written = Object::new(&mut body);
        written.other(&self.node, &self.answer);
        written.end();
        body
    }

    /// Reads an element of the list of replies.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the message is not kombu's, or its body is not an object of one member.
    pub fn decode_redis(raw: &[u8], options: &DecodeOptions<'_>) -> Result<Self, DecodeError> {
        read_document(raw, options, Self::read)
    }

    /// Reads a reply that RabbitMQ delivered.
    ///
    /// # Errors
    ///
    /// Like [`decode_redis`](Self::decode_redis).
    pub fn decode_amqp(
        properties: &Properties<'_>,
        body: &[u8],
        options: &DecodeOptions<'_>,
    ) -> Result<Self, DecodeError> {
        read_amqp(properties, body, options, Self::read)
    }

    fn read(headers: Option<&RawValue>, body: &str) -> Result<Self, DecodeError> {
        let refused =
            |why: &str| DecodeError::new(Cause::Body, format!("not a control reply: {why}"));
        let answers: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(body).map_err(|error| refused(&error.to_string()))?;
        let mut answers = answers.into_iter();
        let (Some((node, answer)), None) = (answers.next(), answers.next()) else {
            return Err(refused("it must have the answer of exactly one worker"));
        };
        Ok(Self {
            node,
            answer,
            ticket: header(headers, "ticket"),
            clock: header(headers, "clock").unwrap_or(0),
        })
    }
}

/// Returns a header's value, if it is there and of this type.
fn header<T: for<'de> Deserialize<'de>>(headers: Option<&RawValue>, name: &str) -> Option<T> {
    let headers: Map<String, Value> = serde_json::from_str(headers?.get()).ok()?;
    T::deserialize(headers.get(name)?).ok()
}

/// Appends a value's JSON.
fn json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Values in memory always have a JSON form, and a vector takes every write.
    let _ = serde_json::to_writer(out, value);
}
