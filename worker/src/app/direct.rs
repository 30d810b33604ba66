//! Binds the queue of this worker alone, so that senders also reach it by the exchange `C.dq2`.
//!
//! Celery's worker binds it when it declares the queue. Senders that name the queue need no binding.

use std::sync::Arc;

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
        tokio::spawn(bind_when_reached(endpoint, node));
    }
}

/// Binds the queue once the server is reached. Gives up if the server refuses.
async fn bind_when_reached(endpoint: Arc<RedisEndpoint>, node: String) {
    let mut backoff = Backoff::new();
    loop {
        match bind(&endpoint, &node).await {
            Ok(()) => return,
            Err(refused) if refused.is_lasting() => {
                tracing::warn!(
                    "The queue {} is not bound to the exchange {DIRECT_EXCHANGE}, so only senders \
                     that name the queue reach it: {refused}",
                    direct_queue(&node)
                );
                return;
            }
            Err(_) => tokio::time::sleep(backoff.pause()).await,
        }
    }
}

/// Adds the binding to both of kombu's sets.
async fn bind(endpoint: &RedisEndpoint, node: &str) -> Result<(), Failure> {
    let options = ConnectOptions::new("celery-worker/direct");
    let mut connection = Connection::open(endpoint, &options).await?;
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
