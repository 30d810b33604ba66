//! A worker of rusty-celery with one task that does nothing, with its fastest settings.
//!
//! Its only setting is the prefetch count, `BENCH_CONCURRENCY` (0 means no limit). It acknowledges
//! a message after its task. Each task has a number as its argument. Like the other workers, this
//! one writes a file when it stops: byte N is how often the task with number N ran.

#![allow(non_local_definitions, reason = "the macro of the crate makes them")]

use std::sync::atomic::{AtomicU8, Ordering};

use celery::prelude::*;

static RUNS: [AtomicU8; 1 << 21] = [const { AtomicU8::new(0) }; 1 << 21];

#[celery::task(name = "noop")]
fn noop(n: u32) -> TaskResult<()> {
    if let Some(runs) = RUNS.get(n as usize) {
        runs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CELERY_BROKER_URL")?;
    let prefetch: u16 = std::env::var("BENCH_CONCURRENCY")?.parse()?;
    let app = celery::app!(
        broker = RedisBroker { url },
        tasks = [noop],
        task_routes = ["*" => "celery"],
        prefetch_count = prefetch,
        heartbeat = None,
        acks_late = true,
    )
    .await?;
    eprintln!("rusty-celery ready.");
    app.consume().await?;
    if let Some(folder) = std::env::var_os("BENCH_TALLY") {
        let runs: Vec<u8> = RUNS.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let file = std::path::Path::new(&folder).join(format!("{}.runs", std::process::id()));
        std::fs::write(file, runs)?;
    }
    Ok(())
}
