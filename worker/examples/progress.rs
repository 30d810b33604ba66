//! A long task that shows how far it is: `Context::update_state`.
//!
//! A state has a name that the task chooses, and any value. Clients read it with the result, as
//! `examples/php/stored_results.php` does. Run it with `--broker redis://localhost/0`; calls then
//! end like this:
//!
//! ```text
//! > shop.export [["ann", "bob"]]
//! PROGRESS {"done":1,"total":2}
//! PROGRESS {"done":2,"total":2}
//! SUCCESS "ann,bob"
//! > shop.export [[]]
//! SUCCESS ""
//! ```

use std::process::ExitCode;

use celery_worker::{Context, TaskResult, cli, task};
use serde_json::json;

/// Joins names, one after the other.
#[task(name = "shop.export")]
async fn export(context: Context, names: Vec<String>) -> TaskResult<String> {
    let mut lines: Vec<&str> = Vec::new();
    for name in &names {
        lines.push(name);
        let meta = json!({ "done": lines.len(), "total": names.len() });
        context.update_state("PROGRESS", meta).await?;
    }
    Ok(lines.join(","))
}

fn main() -> ExitCode {
    cli::main(|worker| worker.register(export::task()))
}
