//! The parts of the worker that commands use.

use std::sync::Arc;
use std::time::Instant;

use celery_protocol::events::Clock;
use celery_protocol::names::check_task_id;
use serde_json::Value;

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

impl Node {
    /// Adds the revocations of another worker: a list since Celery 5.7; before, an object with the
    /// time of each.
    pub(super) async fn merge(&self, revoked: Option<&Value>) {
        let ids: Vec<&str> = match revoked {
            Some(Value::Object(ids)) => ids.keys().map(String::as_str).collect(),
            Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let ids = ids.into_iter().filter(|id| check_task_id(id).is_ok());
        self.view.revoke(&ids.collect::<Vec<&str>>()).await;
    }
}
