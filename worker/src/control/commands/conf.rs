//! `conf`: the settings, by Celery's names where it has one. Passwords are hidden.

use serde_json::{Map, Value, json};

use crate::broker::RPC;
use crate::config::Config;
use crate::consumer::Results;
use crate::control::answer::{Answer, answer};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::delivery::PREFETCH_MULTIPLIER;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let mut settings = settings(&node.config);
    if arguments.flag("with_defaults") {
        settings.extend(fixed());
    }
    answer(&settings)
}

/// Returns the settings of this worker.
pub(super) fn settings(config: &Config) -> Map<String, Value> {
    let accept: Vec<&str> = config.accept_content.iter().map(|it| it.name()).collect();
    let settings = json!({
        "broker_url": config.broker.display_url(),
        "result_backend": match &config.result_backend {
            Results::Broker => Value::from(config.broker.display_url()),
            Results::Server(server) => Value::from(server.display_url()),
            Results::Replies => Value::from(RPC),
            Results::Disabled => Value::from("disabled"),
        },
        "accept_content": accept,
        "result_expires": config.result_expires.as_secs(),
        "result_failure_expires": config.result_failure_expires.map(|time| time.as_secs()),
        "result_serializer": config.result_serializer.name(),
        "task_default_queue": config.default_queue,
        "task_queues": config.queues,
        "worker_concurrency": config.concurrency,
        "worker_prefetch_multiplier": config.prefetch_multiplier.unwrap_or(PREFETCH_MULTIPLIER),
        "worker_eta_task_limit": config.eta_task_limit,
        "worker_soft_shutdown_timeout": config.soft_shutdown_timeout.as_secs_f64(),
        "broker_transport_options": {
            "visibility_timeout": config.visibility_timeout.as_secs(),
            "global_keyprefix": config.redis().map_or("", |redis| redis.key_prefix()),
        },
        // Settings that Celery does not have.
        "lease": config.lease.as_secs_f64(),
        "exactly_once": config.exactly_once,
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

/// Returns Celery's settings whose values this worker cannot change.
fn fixed() -> Map<String, Value> {
    let fixed = json!({
        "enable_utc": true, "task_acks_late": true,
        "task_protocol": 2, "task_reject_on_worker_lost": true, "task_serializer": "json",
        "worker_enable_remote_control": true,
    });
    match fixed {
        Value::Object(fixed) => fixed,
        _ => Map::new(),
    }
}
