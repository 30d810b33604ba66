//! `time_limit`: changes the time limits of a task. Calls that run keep theirs.

use std::time::Duration;

use crate::control::answer::{Answer, nok, ok, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::printable::one_line;
use crate::task::TimeLimits;
use celery_protocol::duration::LONGEST;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let name = arguments.get("task_name").and_then(|name| name.as_str());
    let Some(task) = name.and_then(|name| node.registry.get(name)) else {
        let name = one_line(name.unwrap_or_default());
        tracing::error!("Change time limit attempt for unknown task {name}");
        return nok("unknown task");
    };
    let (soft, hard) = (limit(arguments, "soft")?, limit(arguments, "hard")?);
    let of_worker = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
    // As in Celery, the worker's own limits count where a task has none.
    task.live.set_time_limits(TimeLimits {
        soft: soft.or(of_worker(node.config.soft_time_limit)),
        hard: hard.or(of_worker(node.config.time_limit)),
    });
    let shown = |limit: Option<Duration>| match limit {
        Some(limit) => limit.as_secs_f64().to_string(),
        None => "None".to_owned(),
    };
    tracing::info!(
        "New time limits for tasks of type {}: soft={} hard={}",
        task.name,
        shown(soft),
        shown(hard)
    );
    ok("time limits set successfully")
}

/// Reads a limit in seconds. Zero is none, as in Celery.
fn limit(arguments: Arguments<'_>, name: &str) -> Result<Option<Duration>, String> {
    let Some(given) = arguments.get(name) else {
        return Ok(None);
    };
    let limit = given.as_f64().and_then(|seconds| {
        let limit = Duration::try_from_secs_f64(seconds).ok()?;
        (limit <= LONGEST).then_some(limit)
    });
    let wrong = || raised("ValueError", &format!("{name} is not a number of seconds"));
    let limit = limit.ok_or_else(wrong)?;
    Ok((!limit.is_zero()).then_some(limit))
}
