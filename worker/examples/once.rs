//! A task whose effect happens once, however often its message comes: `Database::once`.
//!
//! A message comes again if its worker dies before it is acknowledged. `once` stores the call's id
//! and its answer in the transaction of the effect, in the table `celery_inbox`. A second run finds
//! them and changes nothing. The tables of this example, on SQLite:
//!
//! ```sql
//! CREATE TABLE accounts (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
//! INSERT INTO accounts VALUES (1, 100);
//! CREATE TABLE celery_inbox (task_id TEXT NOT NULL PRIMARY KEY, result TEXT,
//!     created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
//! CREATE INDEX celery_inbox_created_at ON celery_inbox (created_at);
//! ```
//!
//! Run it with `--broker redis://localhost/0 --database sqlite:///path/to/file`. The result is the
//! number of changed accounts. The second call has the id of the first, so it charges nothing:
//!
//! ```text
//! > shop.charge [1, 60] id=order-1
//! SUCCESS 1
//! > shop.charge [1, 60] id=order-1
//! SUCCESS 1
//! > shop.charge [1, 40] id=order-2
//! SUCCESS 1
//! > shop.charge [1, 1] id=order-3
//! SUCCESS 0
//! ```

use std::process::ExitCode;

use celery_worker::{Context, Database, State, TaskResult, cli, task};
use serde_json::json;

/// Takes money from an account that has enough.
#[task(name = "shop.charge")]
async fn charge(
    context: Context,
    database: State<Database>,
    account: u64,
    cents: u64,
) -> TaskResult<u64> {
    let sql = "UPDATE accounts SET cents = cents - :cents WHERE id = :account AND cents >= :cents";
    let work = database.once(context.id(), move |open| {
        Box::pin(async move {
            let values = [("cents", json!(cents)), ("account", json!(account))];
            open.execute(sql, &values).await
        })
    });
    work.await
}

fn main() -> ExitCode {
    cli::main(|worker| worker.register(charge::task()))
}
