//! The spans on whose behalf code runs, and the spans of its statements.

use std::borrow::Cow;
use std::sync::Arc;

use super::buffer::{Traces, cut, now};
use super::context::{SpanContext, SpanId};
use super::run::Run;
use super::wire::{Attributes, Kind, Span};

/// The most links of a span: the default of OpenTelemetry. More calls of a batch are left out.
const MOST_LINKS: usize = 128;
/// The most bytes of a statement's text in its span.
pub(crate) const MOST_TEXT: usize = 2_048;

tokio::task_local! {
    static CURRENT: Current;
}

/// The spans of the calls that code runs for: one, or those of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    traces: Traces,
    first: SpanContext,
    others: Arc<[SpanContext]>,
}

impl Current {
    /// Returns the spans of these runs, or `None` if there are none.
    pub(crate) fn of<'r>(traces: &Traces, runs: impl Iterator<Item = &'r Run>) -> Option<Self> {
        let mut spans = runs.map(|run| run.context);
        let first = spans.next()?;
        Some(Current {
            traces: traces.clone(),
            first,
            others: spans.take(MOST_LINKS).collect(),
        })
    }

    /// Returns the spans of the code that calls this.
    pub(crate) fn here() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }
}

/// Runs code on behalf of these spans.
pub(crate) async fn run<F: Future>(current: Option<Current>, code: F) -> F::Output {
    match current {
        Some(current) => CURRENT.scope(current, code).await,
        None => code.await,
    }
}

/// Like [`run`], for code that blocks its thread.
pub(crate) fn run_blocking<R>(current: Option<Current>, code: impl FnOnce() -> R) -> R {
    match current {
        Some(current) => CURRENT.sync_scope(current, code),
        None => code(),
    }
}

/// The span of a statement. It ends when it is dropped; unless it was [`finished`](Self::finish)
/// before, as a statement that was cancelled.
pub(crate) struct Statement {
    current: Current,
    context: SpanContext,
    /// OpenTelemetry's name of the database.
    system: &'static str,
    text: String,
    start: u64,
    error: Option<Cow<'static, str>>,
}

impl Statement {
    /// Begins the span of a statement, unless the code that calls this is not traced. The text is
    /// that with placeholders, without the values of parameters.
    pub(crate) fn begin(system: &'static str, text: impl FnOnce() -> String) -> Option<Self> {
        let current = Current::here()?;
        Some(Statement {
            context: current.first.next(SpanId::random()),
            current,
            system,
            text: text(),
            start: now(),
            error: Some(Cow::Borrowed("cancelled")),
        })
    }

    /// Ends the span. `error` is the kind of the error: the text of one can have values in it.
    pub(crate) fn finish(mut self, error: Option<String>) {
        self.error = error.map(Cow::Owned);
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        let text = cut(self.text.trim_start(), MOST_TEXT);
        let word = text.split(|char: char| !char.is_ascii_alphabetic()).next();
        let word = word.filter(|word| !word.is_empty()).unwrap_or("SQL");
        let word = word.to_ascii_uppercase();
        let mut attributes: Attributes = vec![
            ("db.system", self.system.into()),
            ("db.system.name", self.system.into()),
            ("db.operation.name", word.as_str().into()),
            ("db.query.text", text.into()),
        ];
        let error = self.error.as_deref();
        if let Some(error) = error {
            attributes.push(("error.type", error.into()));
        }
        self.current.traces.add(&Span {
            context: self.context,
            parent: Some(self.current.first.span),
            state: "",
            name: &word,
            kind: Kind::Client,
            start: self.start,
            end: now(),
            attributes,
            exception: Vec::new(),
            links: &self.current.others,
            error,
        });
    }
}
