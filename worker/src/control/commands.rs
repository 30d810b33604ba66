//! The commands by name. Each has a file of its own.

mod active;
mod active_queues;
mod add_consumer;
mod cancel_consumer;
mod clock;
mod conf;
mod disable_events;
mod enable_events;
mod heartbeat;
mod hello;
mod info;
mod memsample;
mod ping;
mod pool;
mod query_task;
mod rate_limit;
mod registered;
mod report;
mod reserved;
mod revoke;
mod revoke_by_stamped_headers;
mod revoked;
mod scheduled;
mod shutdown;
mod stats;
mod time_limit;

use super::answer::{Answer, answer, quoted, raised};
use super::arguments::Arguments;
use super::node::Node;
use crate::broker::control::ControlChannel;

/// Runs a command. Returns `None` if the command is never answered.
///
/// Celery still accepts the older names that begin with `dump_`.
pub(super) async fn run(
    node: &Node,
    arguments: Arguments<'_>,
    channel: &mut impl ControlChannel,
) -> Option<Answer> {
    Some(match arguments.command() {
        "ping" => ping::run(),
        "clock" => clock::run(node),
        "active" | "dump_active" => active::run(node, arguments),
        "reserved" | "dump_reserved" => reserved::run(node),
        "scheduled" | "dump_schedule" => scheduled::run(node, channel).await,
        "query_task" => query_task::run(node, arguments, channel).await,
        "registered" | "dump_tasks" => registered::run(node, arguments),
        "active_queues" => active_queues::run(node),
        "conf" | "dump_conf" => conf::run(node, arguments),
        "report" => report::run(node),
        "hello" => hello::run(node, arguments).await,
        "revoke" | "terminate" => revoke::run(node, arguments, channel).await,
        "revoked" | "dump_revoked" => revoked::run(node),
        "revoke_by_stamped_headers" => {
            revoke_by_stamped_headers::run(node, arguments, channel).await
        }
        // Answers as a Python worker without gossip does.
        "election" => answer(&()),
        "heartbeat" => heartbeat::run(node),
        "rate_limit" => rate_limit::run(node, arguments),
        "time_limit" => time_limit::run(node, arguments),
        "add_consumer" => add_consumer::run(node, arguments, channel).await,
        "cancel_consumer" => cancel_consumer::run(node, arguments),
        "pool_grow" => pool::grow(node, arguments),
        "pool_shrink" => pool::shrink(node, arguments),
        "stats" => stats::run(node),
        "enable_events" => enable_events::run(node),
        "disable_events" => disable_events::run(node),
        "memsample" => memsample::run(),
        "memdump" | "objgraph" => Err(raised(
            "NotImplementedError",
            "this worker has no Python objects to count",
        )),
        "autoscale" => Err(raised("ValueError", "Autoscale not enabled")),
        "pool_restart" => Err(raised("ValueError", "Pool restarts not enabled")),
        "shutdown" => {
            shutdown::run(node, arguments);
            return None;
        }
        unknown => Err(format!("KeyError({})", quoted(unknown))),
    })
}
