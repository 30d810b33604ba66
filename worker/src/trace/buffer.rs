//! The spans that wait for the exporter, each encoded. The buffer has a limit; what does not fit is
//! dropped and counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;

use super::options::Ratio;
use super::wire::Span;

/// The most bytes of spans that wait: about 20,000 spans. A span has some 400 bytes.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// The most spans of one request: the default of OpenTelemetry's batch processors.
pub(super) const BATCH: usize = 512;

/// The spans of a worker. Clones share them. The default makes none.
#[derive(Clone, Default)]
pub(crate) struct Traces(pub(super) Option<Arc<Inner>>);

pub(super) struct Inner {
    pub(super) ratio: Ratio,
    waiting: Mutex<Waiting>,
    /// Wakes the exporter: a span waits.
    pub(super) news: Notify,
    /// Wakes the exporter before its time: a whole batch waits.
    pub(super) full: Notify,
    pub(super) dropped: Counter,
}

/// The spans that wait for the exporter, each encoded.
#[derive(Default)]
pub(super) struct Waiting {
    spans: VecDeque<Vec<u8>>,
    pub(super) bytes: usize,
}

impl Traces {
    /// Returns traces of which this share is recorded, as far as they begin in this worker.
    pub(crate) fn on(ratio: Ratio) -> Self {
        Traces(Some(Arc::new(Inner {
            ratio,
            waiting: Mutex::default(),
            news: Notify::new(),
            full: Notify::new(),
            dropped: Counter::default(),
        })))
    }

    /// Returns `true` if spans are made.
    pub(crate) fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the counter of spans that were dropped.
    pub(crate) fn dropped(&self) -> Counter {
        let inner = self.0.as_ref();
        inner.map_or_else(Counter::default, |inner| inner.dropped.clone())
    }

    /// Puts a span into the buffer.
    pub(super) fn add(&self, span: &Span<'_>) {
        let Some(inner) = &self.0 else { return };
        let span = span.encode();
        let waiting = {
            let mut waiting = inner.waiting();
            if waiting.bytes + span.len() > MOST_BYTES {
                drop(waiting);
                inner.dropped.inc();
                return;
            }
            waiting.bytes += span.len();
            waiting.spans.push_back(span);
            waiting.spans.len()
        };
        match waiting {
            1 => inner.news.notify_one(),
            BATCH => inner.full.notify_one(),
            _ => {}
        }
    }
}

impl Inner {
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the spans of the next request out of the buffer.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting();
        let count = waiting.spans.len().min(BATCH);
        let spans: Vec<_> = waiting.spans.drain(..count).collect();
        waiting.bytes -= spans.iter().map(Vec::len).sum::<usize>();
        spans
    }
}

/// Returns the nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since: Duration = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the beginning of a text, of at most this many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Traces(on)",
            None => "Traces(off)",
        })
    }
}
