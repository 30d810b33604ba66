//! `stats`: what the worker has done and uses, with the members of Python's answer.

use std::sync::atomic::Ordering;

use celery_client::Endpoint;
use celery_client::endpoint::Address;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Map, Value, json};

use crate::control::answer::{Answer, answer};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let mut stats = json!({
        "total": node.view.begun(),
        "pid": std::process::id(),
        // A text, as in Python.
        "clock": node.clock.value().to_string(),
        "uptime": node.started.elapsed().as_secs(),
        "pool": {
            "implementation": "celery_worker.executor:Slots",
            "max-concurrency": node.slots.count(),
            // Tasks are futures of this process.
            "processes": [std::process::id()],
            "max-tasks-per-child": "N/A",
            "put-guarded-by-semaphore": true,
            "timeouts": [0, 0],
            "writes": "N/A",
        },
        "broker": broker(node),
        "prefetch_count": node.view.limit(),
        "rusage": usage(),
    });
    // Python has no such limits, so its answer has no such member.
    if node.registry.has_limits() {
        stats["limits"] = limits(node);
    }
    answer(&stats)
}

/// Returns the tasks with limits that hold across all workers, each with the number of its calls
/// that wait here.
fn limits(node: &Node) -> Value {
    let limited = node
        .registry
        .iter()
        .filter(|task| task.policy.fleet.are_set() || task.policy.unique.until.is_some());
    let limits = limited.map(|task| {
        let (fleet, unique) = (&task.policy.fleet, &task.policy.unique);
        let text = |it: Option<String>| it.map_or(Value::Null, Value::from);
        let limits = json!({
            "max_concurrency": fleet.max_concurrency,
            "fleet_rate_limit": text(fleet.rate.as_ref().map(ToString::to_string)),
            "limit_by": text(fleet.by.as_ref().map(ToString::to_string)),
            "unique": text(unique.until.map(|until| until.to_string())),
            "unique_by": text(unique.by_text()),
            "waiting": task.live.waiting.load(Ordering::Relaxed),
        });
        (task.name.to_string(), limits)
    });
    limits.collect::<Map<String, Value>>().into()
}

fn broker(node: &Node) -> Value {
    let (address, user, vhost, tls, transport, login) = match &node.config.broker {
        Endpoint::Redis(redis) => {
            let database = redis.database().to_string();
            let user = redis.username();
            (redis.address(), user, database, redis.tls(), "redis", None)
        }
        Endpoint::Amqp(rabbitmq) => {
            let (user, vhost) = (Some(rabbitmq.username()), rabbitmq.vhost().to_owned());
            let login = if rabbitmq.is_external() {
                "EXTERNAL"
            } else {
                "PLAIN"
            };
            let (address, tls) = (rabbitmq.address(), rabbitmq.tls());
            (address, user, vhost, tls, "amqp", Some(login))
        }
    };
    let (host, port) = match address {
        Address::Tcp { host, port } => (host.clone(), Some(*port)),
        Address::Unix(path) => (path.to_string_lossy().into_owned(), None),
    };
    json!({
        "hostname": host, "userid": user,
        "virtual_host": vhost, "port": port, "insist": false,
        "ssl": tls.is_some(), "transport": transport, "connect_timeout": 4,
        "transport_options": {}, "login_method": login, "uri_prefix": null, "heartbeat": 120.0,
        "failover_strategy": "round-robin", "alternates": [], "credential_provider": null,
    })
}

/// Returns what the process has used so far, or Python's `N/A` if the system does not say.
fn usage() -> Value {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Value::from("N/A");
    };
    #[expect(clippy::cast_precision_loss, reason = "Python's times are floats")]
    let seconds = |micros: i64| micros as f64 / 1e6;
    json!({
        "utime": seconds(usage.user_time().num_microseconds()),
        "stime": seconds(usage.system_time().num_microseconds()),
        "maxrss": usage.max_rss(), "ixrss": usage.shared_integral(),
        "idrss": usage.unshared_data_integral(), "isrss": usage.unshared_stack_integral(),
        "minflt": usage.minor_page_faults(), "majflt": usage.major_page_faults(),
        "nswap": usage.full_swaps(), "inblock": usage.block_reads(),
        "oublock": usage.block_writes(), "msgsnd": usage.ipc_sends(),
        "msgrcv": usage.ipc_receives(), "nsignals": usage.signals(),
        "nvcsw": usage.voluntary_context_switches(),
        "nivcsw": usage.involuntary_context_switches(),
    })
}
