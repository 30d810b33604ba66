//! The span of a run of a task, and the spans of the messages that the run sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celery_protocol::message::Task;

use super::buffer::{Inner, Traces, now};
use super::context::{self, SpanContext, SpanId, TRACESTATE};

/// The span of one delivery of a task.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) context: SpanContext,
    /// The span that sent the message.
    pub(super) parent: Option<SpanId>,
    /// The `tracestate` of the message.
    pub(super) state: Option<String>,
    /// When the code began, in nanoseconds since 1970; 0 before.
    began: AtomicU64,
}

impl Run {
    pub(super) fn new(context: SpanContext, parent: Option<SpanId>, state: Option<String>) -> Self {
        Run {
            context,
            parent,
            state,
            began: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) {
        self.began.store(now(), Ordering::Relaxed);
    }

    /// Ends the span. Returns when it began, or `None` if it has not begun or has ended before.
    pub(super) fn end(&self) -> Option<u64> {
        Some(self.began.swap(0, Ordering::Relaxed)).filter(|began| *began != 0)
    }
}

impl Traces {
    /// Begins the span of a task that was received, and names it in the task's headers. Returns
    /// `None` if the trace is not recorded.
    pub(crate) fn enter(&self, task: &mut Task) -> Option<Arc<Run>> {
        let inner = self.0.as_ref()?;
        let sender = SpanContext::of(task);
        let context = match sender {
            Some(sender) if sender.is_sampled() => sender.next(SpanId::random()),
            // The decision of the sender holds for the whole trace.
            Some(_) => return None,
            None => inner.root(),
        };
        context.write(&mut task.headers);
        let state = context::state(&task.headers).filter(|_| sender.is_some());
        let parent = sender.map(|sender| sender.span);
        let run = || Arc::new(Run::new(context, parent, state));
        context.is_sampled().then(run)
    }
}

impl Traces {
    /// Begins a trace with a message that no task sends, and names it in the message's headers, unless
    /// they name one. Returns the span of the message, if the trace is recorded.
    pub(crate) fn begin(&self, message: &mut Task) -> Option<Box<Produced>> {
        let inner = self.0.as_ref()?;
        if SpanContext::of(message).is_some() {
            return None;
        }
        let context = inner.root();
        context.write(&mut message.headers);
        context.is_sampled().then(|| {
            Box::new(Produced {
                context,
                parent: None,
                id: message.id.clone(),
                task: message.name.clone(),
                began: now(),
            })
        })
    }
}

impl Inner {
    /// Returns the first span of a new trace, which is recorded or not as the ratio says.
    fn root(&self) -> SpanContext {
        let root = SpanContext::root(true);
        if self.ratio.takes(root.trace) {
            root
        } else {
            SpanContext::root(false)
        }
    }
}

/// The span of a message that a worker publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(super) context: SpanContext,
    /// The span of the run that sends it; `None` for a schedule.
    pub(super) parent: Option<SpanId>,
    pub(super) id: String,
    pub(super) task: String,
    /// When the message was made, in nanoseconds since 1970.
    pub(super) began: u64,
}

impl Produced {
    /// Returns the span of a message that the run of `from` sends, if it has one: [`carry`] wrote
    /// it into `header`.
    pub(crate) fn of(
        from: &Task,
        id: &str,
        task: &str,
        header: Option<SpanContext>,
    ) -> Option<Box<Self>> {
        let parent = SpanContext::of(from)?;
        let context = parent.next(parent.span.of_message(id));
        let is_made = header == Some(context) && context.is_sampled();
        is_made.then(|| {
            Box::new(Produced {
                context,
                parent: Some(parent.span),
                id: id.to_owned(),
                task: task.to_owned(),
                began: now(),
            })
        })
    }
}

/// Continues the trace of a task in the headers of a message that it causes. With `spans`, the
/// message gets a span of its own.
///
/// A message that belongs to another trace keeps it: the sender of the workflow chose that.
pub(crate) fn carry(from: &Task, message: &mut Task, spans: bool) {
    let Some(parent) = SpanContext::of(from) else {
        return;
    };
    let own = SpanContext::of(message);
    if own.is_some_and(|own| own.trace != parent.trace) {
        return;
    }
    let span = if spans && parent.is_sampled() {
        parent.span.of_message(&message.id)
    } else {
        parent.span
    };
    parent.next(span).write(&mut message.headers);
    if let Some(state) = from.headers.get(TRACESTATE) {
        message.headers.insert(TRACESTATE, state.to_owned());
    }
}
