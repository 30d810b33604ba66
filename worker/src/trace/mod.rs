//! Traces: carries the trace context of the W3C from a message to what its task causes, and makes
//! spans of it for OpenTelemetry.
//!
//! ```text
//!   message ──► run/<task> ──┬──► SELECT …, COMMIT         (statements of `Database`)
//!               CONSUMER     └──► apply_async/<task>       (follow-ups, retries, sent tasks)
//!                                 PRODUCER
//! ```
//!
//! Names and attributes are those of opentelemetry-instrumentation-celery, so that a trace through
//! Python and Rust workers reads as one.
//!
//! * `context` – the headers `traceparent` and `tracestate`.
//! * `buffer` – the spans that wait for the exporter.
//! * `run` – the span of a run, and the spans of the messages that it sends.
//! * `current` – the spans on whose behalf code runs, and those of its statements.
//! * `observer` – makes the spans of runs and messages from what is reported about tasks.
//! * `wire` – OTLP's protobuf. `export` – sends it to a collector.
//! * `options` – the values of the settings.
//!
//! **The header of a decoded task names the span of its run.** [`Traces::enter`] puts it there, in
//! the place of the sender's. So whatever copies the header continues the trace at the right place:
//! retries, follow-ups, calls of the task's own code, log lines. The message itself is unchanged,
//! so another delivery of it has a span of its own, with the same parent.
//!
//! Without an endpoint no span is made, but the headers are passed on all the same.
//!
//! Spans are written into a buffer with a limit, which the exporter empties. When it is full, new
//! spans are dropped and counted. A task never waits for an exporter.

#![cfg_attr(
    not(feature = "otlp"),
    allow(dead_code, reason = "only the exporter reads it")
)]

mod buffer;
mod context;
mod current;
#[cfg(feature = "otlp")]
mod export;
mod observer;
mod options;
mod run;
#[cfg(feature = "otlp")]
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use self::buffer::Traces;
pub(crate) use self::context::SpanContext;
pub(crate) use self::current::{Current, MOST_TEXT, Statement, run, run_blocking};
#[cfg(feature = "otlp")]
pub(crate) use self::export::serve;
pub(crate) use self::options::{Collector, Options, Pairs, Ratio};
pub(crate) use self::run::{Produced, Run, carry};

/// Stands for the exporter. It is not reached: the setting of the collector is refused.
#[cfg(not(feature = "otlp"))]
pub(crate) async fn serve(_: Traces, _: Options, end: tokio::sync::oneshot::Receiver<()>) {
    let _ = end.await;
}
