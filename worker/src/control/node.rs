//! The parts of the worker that commands use.

use std::sync::Arc;
use std::time::Instant;

use celery_protocol::events::Clock;

use crate::Shutdown;
use crate::config::Config;
use crate::consumer::View;
use crate::events::Events;
use crate::executor::Slots;
use crate::task::Registry;

/// The parts of the worker that commands see and change.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) view: View,
    pub(crate) shutdown: Shutdown,
    pub(crate) events: Events,
    pub(crate) clock: Arc<Clock>,
    pub(crate) started: Instant,
}
