//! The trace context of the W3C: the headers `traceparent` and `tracestate` of a message.
//!
//! A header that is malformed counts as missing, as the recommendation wants it
//! (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use celery_protocol::fields::Fields;
use celery_protocol::message::Task;
use serde_json::value::{RawValue, to_raw_value};

/// The header that names the trace and the span that the task belongs to.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The header with what the tracing systems add.
pub(crate) const TRACESTATE: &str = "tracestate";

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;
/// The most bytes of a `tracestate` that are passed on: those of the recommendation.
const MOST_STATE: usize = 512;

/// The number of a trace. It is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) u128);

/// The number of a span. It is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) u64);

/// A span as others refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanContext {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    flags: u8,
}

impl SpanContext {
    /// Returns the first span of a new trace.
    pub(crate) fn root(is_sampled: bool) -> Self {
        SpanContext {
            trace: TraceId(uuid::Uuid::new_v4().as_u128()),
            span: SpanId::random(),
            flags: u8::from(is_sampled) * SAMPLED,
        }
    }

    /// Returns another span of the trace.
    pub(crate) fn next(self, span: SpanId) -> Self {
        SpanContext { span, ..self }
    }

    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Reads a `traceparent`. A later version may have more parts, which are ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next()?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == digits && part.bytes().all(is_hex)).then_some(part)
        };
        let version = part(2)?;
        let trace = u128::from_str_radix(part(32)?, 16).ok()?;
        let span = u64::from_str_radix(part(16)?, 16).ok()?;
        let flags = u8::from_str_radix(part(2)?, 16).ok()?;
        let is_known = version == "00" && parts.next().is_none();
        let is_later = version != "00" && version != "ff";
        (trace != 0 && span != 0 && (is_known || is_later)).then_some(SpanContext {
            trace: TraceId(trace),
            span: SpanId(span),
            flags,
        })
    }

    /// Returns the context in the headers of a task.
    pub(crate) fn of(task: &Task) -> Option<Self> {
        SpanContext::in_headers(&task.headers)
    }

    /// Returns the context in these headers.
    pub(crate) fn in_headers(headers: &Fields) -> Option<Self> {
        SpanContext::parse(&text(headers.get(TRACEPARENT)?)?)
    }

    /// Writes the context into headers.
    pub(crate) fn write(self, headers: &mut Fields) {
        // A text can always be written.
        if let Ok(parent) = to_raw_value(&self.to_string()) {
            headers.insert(TRACEPARENT, parent);
        }
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpanContext { trace, span, flags } = self;
        write!(f, "00-{trace}-{:016x}-{flags:02x}", span.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl SpanId {
    pub(crate) fn random() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        SpanId((high ^ low).max(1))
    }

    /// Returns the number of the span of a message that this span sends. It follows from the task's
    /// id, so that the code that reports the message need not be told.
    pub(crate) fn of_message(self, task_id: &str) -> Self {
        use std::hash::BuildHasher;
        let hash = foldhash::quality::FixedState::with_seed(self.0).hash_one(task_id);
        SpanId(hash.max(1))
    }
}

/// Returns the `tracestate` in these headers, if it is not too long.
pub(crate) fn state(headers: &Fields) -> Option<String> {
    let state = text(headers.get(TRACESTATE)?)?;
    (state.len() <= MOST_STATE).then_some(state)
}

fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written_as_the_recommendation_says() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = SpanContext::parse(text).unwrap();
        assert_eq!(context.to_string(), text);
        assert!(context.is_sampled());
        let parent = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let later = SpanContext::parse(&format!("cc-{parent}-00-what-else")).unwrap();
        assert_eq!(later.to_string(), format!("00-{parent}-00"));
        assert!(!later.is_sampled());
        let zeros = "0".repeat(32);
        for wrong in [
            "",
            "00",
            &format!("00-{parent}"),
            &format!("00-{parent}-1"),
            &format!("00-{parent}-01-more"),
            &format!("ff-{parent}-01"),
            &format!("00-{}-01", parent.to_uppercase()),
            &format!("00-{zeros}-b7ad6b7169203331-01"),
            &format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", &zeros[..16]),
            &format!("00-{parent}-0ä"),
        ] {
            assert_eq!(SpanContext::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn messages_of_a_span_have_spans_of_their_own() {
        let [a, b] = [SpanId::random(), SpanId::random()];
        assert_eq!(a.of_message("id"), a.of_message("id"));
        assert_ne!(a.of_message("id"), a.of_message("another"));
        assert_ne!(a.of_message("id"), b.of_message("id"));
    }
}
