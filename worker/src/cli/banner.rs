//! Announces the start of a worker: with a banner in Celery's order, or with a line of a JSON log.

use std::io::Write;

use celery_client::mask::mask;

use crate::app::Worker;
use crate::broker::{RPC, Results};
use crate::config::{Config, LogFormat};
use crate::lifecycle::ALWAYS;

/// Prints the banner to standard output. With JSON logs, logs its content as one line instead. URLs
/// are shown without passwords.
pub(crate) fn print(worker: &Worker) {
    let config = worker.config();
    match config.log_format {
        // A closed standard output must not stop the worker.
        LogFormat::Text => {
            let _ = std::io::stdout().lock().write_all(text(worker).as_bytes());
        }
        LogFormat::Json => tracing::info!(
            target: ALWAYS,
            version = env!("CARGO_PKG_VERSION"),
            transport = config.broker.display_url(),
            results = results(config),
            database = config.database.as_deref().map(mask),
            concurrency = config.concurrency,
            queues = config.queues.join(","),
            tasks = worker.task_names().join(","),
            "{} starts.",
            config.hostname
        ),
    }
}

fn results(config: &Config) -> String {
    match &config.result_backend {
        Results::Server(server) => server.display_url(),
        Results::Replies => RPC.to_owned(),
        Results::Disabled => "disabled".to_owned(),
        Results::Broker => config.broker.display_url(),
    }
}

fn text(worker: &Worker) -> String {
    let config = worker.config();
    let mut lines = vec![
        String::new(),
        format!(
            " {} v{} (celery-worker)",
            config.hostname,
            env!("CARGO_PKG_VERSION")
        ),
        String::new(),
        "[config]".to_owned(),
        format!(".> transport:   {}", config.broker.display_url()),
        format!(".> results:     {}", results(config)),
    ];
    if let Some(database) = &config.database {
        lines.push(format!(".> database:    {}", mask(database)));
    }
    lines.push(format!(".> concurrency: {} (futures)", config.concurrency));
    lines.push(String::new());
    lines.push("[queues]".to_owned());
    for queue in &config.queues {
        lines.push(format!(".> {queue}"));
    }
    lines.push(String::new());
    lines.push("[tasks]".to_owned());
    for task in worker.task_names() {
        lines.push(format!("  . {task}"));
    }
    lines.push(String::new());
    lines.push(String::new());
    lines.join("\n")
}
