//! `add_consumer`: consumes one more queue from now on.

use celery_protocol::names::check_queue_name;

use crate::broker::control::ControlChannel;
use crate::control::answer::{Answer, ok, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;

pub(super) async fn run(
    node: &Node,
    arguments: Arguments<'_>,
    channel: &mut impl ControlChannel,
) -> Answer {
    let queue = arguments.text("queue")?;
    check_queue_name(queue).map_err(|error| raised("ValueError", &error.to_string()))?;
    // A queue of this worker is the one of its name. Another exchange would need a binding, which the
    // clients that publish there declare.
    for name in ["exchange", "routing_key"] {
        if arguments.get(name).is_some_and(|given| given != queue) {
            let message = format!("this worker consumes {queue} by its name: leave out {name}");
            return Err(raised("NotImplementedError", &message));
        }
    }
    // A list that belongs to two queues would be claimed twice.
    let names = node.view.queues().names();
    let others = names.iter().filter(|name| ***name != *queue);
    let mut queues: Vec<String> = others.map(ToString::to_string).collect();
    queues.push(queue.to_owned());
    let checked = node.config.check_names(&queues);
    checked.map_err(|why| raised("ValueError", &why))?;
    if let Some(why) = channel.obstacle(queue).await {
        return Err(raised("PermissionError", &format!("{queue}: {why}")));
    }
    match node.view.queues().add(queue) {
        Ok(true) => tracing::info!("Started consuming from {queue}"),
        Ok(false) => {}
        Err(_) => {
            return Err(raised(
                "ValueError",
                "this worker has consumed too many queues",
            ));
        }
    }
    ok(&format!("add consumer {queue}"))
}
