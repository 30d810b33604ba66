//! Checks a broker on RabbitMQ.

use celery_client::aio::Failure;
use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::aio::{self, ConnectOptions, Connection};

use crate::config::Config;

/// What a worker on RabbitMQ does without.
pub(super) const NO_CONTROL: &str =
    "remote control and events: this worker has none with a broker on RabbitMQ";

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
