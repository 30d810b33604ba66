//! Starts the role that asks the broker whether calls of limited tasks may begin.

use tokio::sync::mpsc;

use crate::broker::Role;
use crate::broker::admission::{self, Request};
use crate::consumer::{Consumer, spawn};
use crate::executor::Stage;
use crate::shutdown::Shutdown;

/// The most requests that wait for the role.
const REQUESTS: usize = 16;

/// Starts the role if a task has limits that hold across all workers. The role ends with the
/// consumer.
pub(super) fn start(
    consumer: &Consumer,
    stage: &Stage,
    shutdown: &Shutdown,
) -> Option<mpsc::Sender<Request>> {
    if !stage.shared.registry.has_fleet_limits() {
        return None;
    }
    let monitor = &stage.monitor;
    monitor.metrics.adopt(
        "celery_worker_limit_waits",
        "How often a call could not begin because of a limit across all workers",
        stage.limit_waits.clone(),
    );
    let (requests, asked) = mpsc::channel(REQUESTS);
    let role = Role::new("admission", &monitor.pulses, |pulse| {
        admission::serve(consumer.admission(&pulse), asked, pulse)
    });
    spawn(role, shutdown);
    Some(requests)
}
