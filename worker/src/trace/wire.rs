//! Writes spans as OTLP has them: protobuf, by the field numbers of `opentelemetry/proto/trace/v1`
//! and `collector/trace/v1` of 1.7.
//!
//! A span is written when it ends, so that the buffer counts real bytes. A batch only joins spans.

use super::context::SpanContext;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

/// Attributes in their order.
pub(crate) type Attributes = Vec<(&'static str, Value)>;

/// The part of a span in a conversation, by its number in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// A span that has ended.
pub(crate) struct Span<'s> {
    pub(crate) context: SpanContext,
    pub(crate) parent: Option<super::context::SpanId>,
    /// The `tracestate`.
    pub(crate) state: &'s str,
    pub(crate) name: &'s str,
    pub(crate) kind: Kind,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Attributes,
    /// The attributes of the event `exception`, if there is one.
    pub(crate) exception: Attributes,
    pub(crate) links: &'s [SpanContext],
    /// The description of the error, if the span failed.
    pub(crate) error: Option<&'s str>,
}

/// OTLP's code of a status.
const ERROR: u64 = 2;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        loop {
            let byte = u8::try_from(number & 0x7f).unwrap_or_default();
            number >>= 7;
            if number == 0 {
                return self.0.push(byte);
            }
            self.0.push(byte | 0x80);
        }
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.tag(field, VARINT);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.tag(field, FIXED_64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes a text, unless it is empty: that is the default.
    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn attributes(&mut self, field: u64, attributes: &[(&str, Value)]) {
        for (name, value) in attributes {
            self.attribute(field, name, value);
        }
    }

    fn attribute(&mut self, field: u64, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| match value {
                // Unlike elsewhere, an empty text must be written: it says which type this is.
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                Value::Whole(number) => any.number(3, number.cast_unsigned()),
            });
        });
    }
}

impl Span<'_> {
    /// Returns the span as a field of `ScopeSpans`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut scope = Message::default();
        scope.message(2, |span| {
            span.bytes(1, &self.context.trace.0.to_be_bytes());
            span.bytes(2, &self.context.span.0.to_be_bytes());
            span.text(3, self.state);
            if let Some(parent) = self.parent {
                span.bytes(4, &parent.0.to_be_bytes());
            }
            span.text(5, self.name);
            span.number(6, self.kind as u64);
            span.fixed(7, self.start);
            span.fixed(8, self.end.max(self.start));
            span.attributes(9, &self.attributes);
            if !self.exception.is_empty() {
                span.message(11, |event| {
                    event.fixed(1, self.end);
                    event.text(2, "exception");
                    event.attributes(3, &self.exception);
                });
            }
            for link in self.links {
                span.message(13, |it| {
                    it.bytes(1, &link.trace.0.to_be_bytes());
                    it.bytes(2, &link.span.0.to_be_bytes());
                });
            }
            if let Some(error) = self.error {
                span.message(15, |status| {
                    status.text(2, error);
                    status.number(3, ERROR);
                });
            }
        });
        scope.0
    }
}

/// Returns the `Resource` of these attributes, as a field of `ResourceSpans`.
pub(crate) fn resource(attributes: &[(String, String)]) -> Vec<u8> {
    let mut spans = Message::default();
    spans.message(1, |resource| {
        for (name, value) in attributes {
            resource.attribute(1, name, &Value::Text(value.clone()));
        }
    });
    spans.0
}

/// Returns the request that hands over these spans of a resource.
pub(crate) fn request(resource: &[u8], spans: &[Vec<u8>]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.0.extend_from_slice(resource);
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, env!("CARGO_PKG_NAME"));
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            for span in spans {
                of_scope.0.extend_from_slice(span);
            }
        });
    });
    request.0
}
