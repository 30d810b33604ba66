//! Binds the queue of this worker alone, so that senders also reach it by the exchange `C.dq2`.
//!
//! Celery's worker binds it when it declares the queue. Senders that name the queue need no binding.
//! The binding is written again from time to time, for a server that was emptied. As in Celery, it
//! stays when the worker ends: what is sent to the queue meanwhile waits for the worker.

use std::sync::Arc;
use std::time::Duration;

use celery_client::aio::{ConnectOptions, Connection, Failure, Pipeline};
use celery_client::backoff::Backoff;
use celery_client::redis::RedisEndpoint;
use celery_protocol::names::DIRECT_EXCHANGE;

use crate::config::{Config, direct_queue};

/// Starts to bind the queue, if the worker has one on Redis.
pub(super) fn start(config: &Config) {
    if !config.direct {
        return;
    }
    if let Some(endpoint) = config.redis() {
        let (endpoint, node) = (Arc::clone(endpoint), config.hostname.clone());
        // As often as leases are renewed.
        let pause = (config.lease / 3).max(Duration::from_millis(100));
        tokio::spawn(keep_bound(endpoint, node, pause));
    }
}

/// Binds the queue whenever `pause` is over. Gives up if the server refuses.
async fn keep_bound(endpoint: Arc<RedisEndpoint>, node: String, pause: Duration) {
    let mut backoff = Backoff::new();
    let mut connection = None;
    loop {
        match bind(&endpoint, &node, &mut connection).await {
            Ok(()) => {
                backoff = Backoff::new();
                tokio::time::sleep(pause).await;
            }
            Err(refused) if refused.is_lasting() => {
                tracing::warn!(
                    "The queue {} is not bound to the exchange {DIRECT_EXCHANGE}, so only senders \
                     that name the queue reach it: {refused}",
                    direct_queue(&node)
                );
                return;
            }
            Err(_) => {
                connection = None;
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

/// Adds the binding to both of kombu's sets.
async fn bind(
    endpoint: &RedisEndpoint,
    node: &str,
    connection: &mut Option<Connection>,
) -> Result<(), Failure> {
    let connection = if let Some(open) = connection {
        open
    } else {
        let options = ConnectOptions::new("celery-worker/direct");
        connection.insert(Connection::open(endpoint, &options).await?)
    };
    let keys = endpoint.keys();
    let member = keys.binding_member(node, "", &direct_queue(node));
    let mut add = Pipeline::new();
    for set in [
        keys.binding(DIRECT_EXCHANGE),
        keys.binding_permanent(DIRECT_EXCHANGE),
    ] {
        add.cmd("SADD").arg(set).arg(&member);
    }
    connection.pipeline(&add).await?;
    Ok(())
}
