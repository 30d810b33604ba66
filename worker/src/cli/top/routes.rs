//! Finds the queue that a routing key leads to.
//!
//! Python's results name the routing key of a task where ours name its queue. They are equal unless a
//! queue was declared with a routing key of its own. A result does not say the exchange, so all that
//! are known count: those of the queues that workers serve, and the one with the key's own name, to
//! which Celery binds a queue by default.

use std::collections::BTreeSet;

use celery_client::aio::{Connection, Failure, Pipeline};
use celery_protocol::redis_keys::Keys;
use serde_json::Value;

use super::super::redis::{items, text};
use crate::broker::redis::binding::Binding;
use crate::printable::one_line;

/// A queue that a worker serves, and how it has declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) queue: String,
    exchange: String,
    routing_key: String,
}

impl Route {
    /// Reads a queue of an answer to `active_queues`.
    pub(super) fn read(queue: &Value) -> Option<Self> {
        let text = |value: Option<&Value>| value?.as_str().map(str::to_owned);
        let name = text(queue.get("name"))?;
        let exchange = queue.get("exchange").and_then(|it| text(it.get("name")));
        Some(Route {
            exchange: exchange.unwrap_or_default(),
            routing_key: text(queue.get("routing_key")).unwrap_or_else(|| name.clone()),
            queue: name,
        })
    }
}

/// Returns the only queue that a routing key leads to, or why there is not exactly one.
pub(super) async fn queue_of(
    connection: &mut Connection,
    keys: &Keys,
    routes: &[&Route],
    routing_key: &str,
) -> Result<Result<String, String>, Failure> {
    let exchanges = routes.iter().map(|route| &*route.exchange);
    let exchanges: BTreeSet<&str> = exchanges.chain([routing_key]).collect();
    let mut reads = Pipeline::new();
    for exchange in exchanges.iter().filter(|exchange| !exchange.is_empty()) {
        reads.cmd("SMEMBERS").arg(keys.binding(exchange));
    }
    let mut bindings = Vec::new();
    if !reads.is_empty() {
        // A set that cannot be read leads nowhere.
        let sets = connection.each(&reads).await?;
        let members = sets.into_iter().flatten().flat_map(items);
        bindings.extend(members.filter_map(|it| Binding::read(&text(&it), keys.separator())));
    }
    Ok(chosen(routes, &bindings, routing_key))
}

fn chosen(routes: &[&Route], bindings: &[Binding], routing_key: &str) -> Result<String, String> {
    let declared = routes.iter().filter(|it| it.routing_key == routing_key);
    let declared = declared.map(|it| it.queue.clone());
    let bound = bindings.iter().filter(|it| it.leads(routing_key));
    let queues: BTreeSet<String> = declared.chain(bound.map(Binding::queue)).collect();
    let queues: Vec<String> = queues.into_iter().collect();
    match &*queues {
        [queue] => Ok(queue.clone()),
        [] => Err(format!(
            "no queue is bound to its routing key {}",
            one_line(routing_key)
        )),
        _ => Err(format!(
            "its routing key {} leads to several queues: {}",
            one_line(routing_key),
            one_line(&queues.join(", "))
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(name: &str, exchange: &str, routing_key: &str) -> Route {
        let exchange = json!({ "name": exchange, "type": "direct" });
        let queue = json!({ "name": name, "exchange": exchange, "routing_key": routing_key });
        Route::read(&queue).unwrap()
    }

    #[test]
    fn a_routing_key_leads_to_one_queue_or_is_refused() {
        let routes = [
            route("celery", "celery", "celery"),
            route("mails", "work", "mail.*"),
            route("eu", "regions", "orders"),
            route("us", "regions", "orders"),
        ];
        let routes: Vec<&Route> = routes.iter().collect();
        let separator = "\u{6}\u{16}";
        let bindings = [
            "celery::celery",
            "mail.*:^mail\\..*$:mails",
            "own::own",
            "other::own",
        ];
        let bindings = bindings.map(|it| Binding::read(&it.replace(':', separator), separator));
        let bindings = bindings.map(Option::unwrap);
        let chosen = |key: &str| chosen(&routes, &bindings, key);
        assert_eq!(chosen("celery").unwrap(), "celery");
        assert_eq!(chosen("mail.now").unwrap(), "mails");
        assert_eq!(chosen("other").unwrap(), "own");
        assert!(
            chosen("orders")
                .unwrap_err()
                .contains("several queues: eu, us")
        );
        assert!(chosen("mails").unwrap_err().contains("no queue is bound"));
    }
}
