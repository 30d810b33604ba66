//! A consumer that does nothing with a message but acknowledge it: the fastest that a worker on
//! RabbitMQ could be over lapin.
//!
//! It acknowledges a hundred messages at a time. Each task has a number as its first argument. Like
//! the workers, this program writes a file when it stops: byte N is how often the number N came.

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::signal::unix::{SignalKind, signal};

const PREFETCH: u16 = 400;
const ACKS: u64 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CELERY_BROKER_URL")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let mut messages = channel
        .basic_consume(
            "celery".into(),
            "bench".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut stop = signal(SignalKind::terminate())?;
    let mut runs = vec![0_u8; 1 << 21];
    loop {
        let message = tokio::select! {
            next = messages.next() => match next {
                Some(message) => message?,
                None => break,
            },
            _ = stop.recv() => break,
        };
        if let Some(number) = number(&message.data) {
            runs[number] += 1;
        }
        // The benchmarks send a multiple of a hundred.
        if message.delivery_tag % ACKS == 0 {
            channel
                .basic_ack(message.delivery_tag, BasicAckOptions { multiple: true })
                .await?;
        }
    }
    if let Some(folder) = std::env::var_os("BENCH_TALLY") {
        let file = std::path::Path::new(&folder).join(format!("{}.runs", std::process::id()));
        std::fs::write(file, runs)?;
    }
    Ok(())
}

/// Returns the first argument in the body of a message of Celery, `[[17], {}, …]`.
fn number(body: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(body).ok()?.strip_prefix("[[")?;
    text[..text.find(|c: char| !c.is_ascii_digit())?]
        .parse()
        .ok()
}
