//! Checks a broker on RabbitMQ.

use celery_client::aio::Failure;
use celery_client::amqp::aio::{self, ConnectOptions, Connection};
use celery_client::amqp::{AmqpEndpoint, Exchange, Temporary};
use celery_protocol::amqp::Close;
use celery_protocol::control::ReplyTo;
use celery_protocol::names::CONTROL_EXCHANGE;
use uuid::Uuid;

use super::finding::Finding;
use crate::config::Config;

/// RabbitMQ's code for an exclusive queue of another connection.
const RESOURCE_LOCKED: u16 = 405;

/// The channel for looks at queues. The server closes it if a queue is missing.
const LOOKS: u16 = 1;

/// Opens a connection and closes it.
pub(super) async fn log_in(endpoint: &AmqpEndpoint) -> Result<(), Failure> {
    let connection = connect(endpoint).await?;
    // The server has let us in, which was the question.
    let _ = connection.close().await;
    Ok(())
}

/// Looks for the queues. Returns what is wrong with them.
pub(super) async fn problems(
    endpoint: &AmqpEndpoint,
    config: &Config,
) -> Result<Vec<String>, Failure> {
    let mut connection = connect(endpoint).await?;
    let mut problems = Vec::new();
    for queue in &config.queues {
        let looked = connection.look_at_queue(LOOKS, queue).await;
        match looked.map_err(in_words)? {
            Ok(Some(_)) => {}
            Ok(None) if config.create_queues.0.is_some() => {}
            Ok(None) => problems.push(format!(
                "queue {queue}: it does not exist, and create_queues is none"
            )),
            Err(close) => problems.push(format!("queue {queue}: {close}")),
        }
    }
    let _ = connection.close().await;
    Ok(problems)
}

/// Returns a finding for each right that remote control and events lack. Tasks run without them.
pub(super) async fn of_control(endpoint: &AmqpEndpoint, config: &Config) -> Vec<Finding> {
    let Ok(mut connection) = connect(endpoint).await else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut note = |what: &str, tried: Result<Result<(), Close>, aio::Failure>| match tried {
        // A worker of this name runs, and has its queue.
        Ok(Err(close)) if close.code == RESOURCE_LOCKED => {}
        Ok(Err(close)) => findings.push(Finding::warning(format!("{what}: {close}"))),
        Ok(Ok(())) | Err(_) => {}
    };
    let queue = format!("{}.{CONTROL_EXCHANGE}", config.hostname);
    let client = ReplyTo::new(Uuid::new_v4());
    let replies = client.queue();
    let commands = Temporary::commands(&queue);
    let tried = connection.declare_temporary(LOOKS, &commands).await;
    note("no remote control", tried);
    let replies = Temporary::replies(&replies, &client.routing_key);
    let tried = connection.declare_temporary(LOOKS, &replies).await;
    note("remote control: no questions to other workers", tried);
    let tried = connection.declare_exchange(LOOKS, Exchange::EVENTS).await;
    note("no events", tried);
    let _ = connection.close().await;
    findings
}

async fn connect(endpoint: &AmqpEndpoint) -> Result<Connection, Failure> {
    let options = ConnectOptions::new("celery-worker/cli");
    Connection::open(endpoint, &options).await.map_err(in_words)
}

fn in_words(failure: aio::Failure) -> Failure {
    match failure {
        aio::Failure::Denied(why) => Failure::Denied(why),
        aio::Failure::Connect(why) => Failure::Connect(why),
        other => Failure::Lost(other.to_string()),
    }
}
