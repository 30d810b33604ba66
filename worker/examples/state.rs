//! A task with a value of the worker: `State<T>`.
//!
//! The value is made once, at the start, and all runs of all tasks share it. Use it for clients,
//! caches and settings. Run it with `--broker redis://localhost/0`; calls then end like this:
//!
//! ```text
//! > shop.price ["apple", 3]
//! SUCCESS 90
//! > shop.price ["pear"]
//! SUCCESS 45
//! > shop.price ["stone"]
//! FAILURE KeyError: stone
//! > shop.asked []
//! SUCCESS 3
//! ```

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use celery_worker::{Exception, State, TaskResult, cli, task};

struct Prices {
    cents: HashMap<&'static str, u64>,
    asked: AtomicU64,
}

/// Returns the price of some pieces of an article, in cents.
#[task(name = "shop.price")]
async fn price(
    prices: State<Prices>,
    article: String,
    #[default(1)] pieces: u64,
) -> TaskResult<u64> {
    prices.asked.fetch_add(1, Ordering::Relaxed);
    match prices.cents.get(&*article) {
        Some(cents) => Ok(cents * pieces),
        None => Err(Exception::new("KeyError", article).into()),
    }
}

/// Returns how often a price was asked for.
#[task(name = "shop.asked")]
async fn asked(prices: State<Prices>) -> u64 {
    prices.asked.load(Ordering::Relaxed)
}

fn main() -> ExitCode {
    let prices = Prices {
        cents: HashMap::from([("apple", 30), ("pear", 45)]),
        asked: AtomicU64::new(0),
    };
    cli::main(|worker| {
        worker
            .state(prices)
            .register(price::task())
            .register(asked::task())
    })
}
