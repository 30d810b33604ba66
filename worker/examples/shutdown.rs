//! A worker that its own program starts and stops: `Worker::builder` and `Shutdown`.
//!
//! The command line of `cli::main` is optional. This program serves three calls and stops warmly:
//! it finishes what runs, and gives back the rest. Signals stop it as well. Run it with the broker's
//! URL as its only argument:
//!
//! ```text
//! > shop.pack [1]
//! SUCCESS "packed 1"
//! > shop.pack [2]
//! SUCCESS "packed 2"
//! > shop.pack [3]
//! SUCCESS "packed 3"
//! < stopped: Warm
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use celery_worker::{Phase, Shutdown, State, Worker, task};

/// The calls that are left, and what stops the worker after them.
struct Left {
    calls: AtomicU64,
    shutdown: Shutdown,
}

/// Packs an order. The last order stops the worker.
#[task(name = "shop.pack")]
async fn pack(left: State<Left>, order: u64) -> String {
    if left.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
        left.shutdown.advance(Phase::Warm);
    }
    format!("packed {order}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = std::env::args().nth(1).ok_or("usage: shutdown URL")?;
    let shutdown = Shutdown::new();
    let left = Left {
        calls: AtomicU64::new(3),
        shutdown: shutdown.clone(),
    };
    let worker = Worker::builder()
        .broker(broker)
        .shutdown(shutdown)
        .state(left)
        .register(pack::task());
    let stopped = worker.run().await?;
    println!("stopped: {stopped:?}");
    Ok(())
}
