//! `registered`: the names of the tasks, each with the attributes that are asked for.

use std::collections::HashSet;

use crate::control::answer::{Answer, answer};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::task::{DEFAULT_RETRY_DELAY, TaskDef};

/// The attributes that Celery shows unless others are asked for. Tasks of this worker have only the
/// last of these attributes.
const DEFAULT: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

/// The most attributes that are shown of each task: more than there are.
const MOST_ITEMS: usize = 100;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let mut items = arguments.texts("taskinfoitems");
    // A request may have any number of them; each is shown once.
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(*item));
    items.truncate(MOST_ITEMS);
    if items.is_empty() {
        items = DEFAULT.to_vec();
    }
    let builtins = arguments.flag("builtins");
    let tasks = node.registry.iter();
    let mut tasks: Vec<_> = tasks
        .filter(|task| builtins || !task.name.starts_with("celery."))
        .collect();
    tasks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let described: Vec<String> = tasks.iter().map(|task| describe(task, &items)).collect();
    answer(&described)
}

fn describe(task: &TaskDef, items: &[&str]) -> String {
    let shown = items.iter().filter_map(|item| {
        let value = attribute(task, item)?;
        Some(format!("{item}={value}"))
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        task.name.to_string()
    } else {
        format!("{} [{}]", task.name, shown.join(" "))
    }
}

/// Returns an attribute of a task as Python's `str` shows it, unless it is `None` there.
fn attribute(task: &TaskDef, name: &str) -> Option<String> {
    let policy = &task.policy;
    let seconds = |limit: std::time::Duration| limit.as_secs_f64().to_string();
    let truth = |truth: bool| Some(if truth { "True" } else { "False" }.to_owned());
    match name {
        "name" => Some(task.name.to_string()),
        "max_retries" => Some(policy.max_retries?.number()?.to_string()),
        "default_retry_delay" => Some(seconds(policy.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY))),
        "soft_time_limit" => task.time_limits().soft.map(seconds),
        "time_limit" => task.time_limits().hard.map(seconds),
        "rate_limit" => task.live.rate.rate().map(|rate| rate.to_string()),
        "max_concurrency" => Some(policy.fleet.max_concurrency?.to_string()),
        "fleet_rate_limit" => policy.fleet.rate.as_ref().map(ToString::to_string),
        "limit_by" => policy.fleet.by.as_ref().map(ToString::to_string),
        "unique" => Some(policy.unique.until?.to_string()),
        "unique_by" => policy.unique.by_text(),
        "acks_late" => truth(!policy.acks_early),
        "reject_on_worker_lost" => truth(!policy.fails_when_lost),
        "acks_on_failure" => truth(!policy.keeps_failed),
        "acks_on_timeout" => truth(!policy.requeues_late),
        "store_errors_even_if_ignored" => truth(policy.store_errors),
        "ignore_result" => truth(policy.ignore_result),
        "track_started" => truth(policy.track_started),
        "serializer" => Some("json".to_owned()),
        _ => None,
    }
}
