//! What a worker says when it starts, in the order Celery says it.

use std::io::Write;

use crate::app::Worker;
use crate::consumer::Results;
use crate::database::mask;

/// Prints the banner to standard output. URLs are shown without passwords.
pub(crate) fn print(worker: &Worker) {
    // A closed standard output is no reason not to work.
    let _ = std::io::stdout().lock().write_all(text(worker).as_bytes());
}

fn text(worker: &Worker) -> String {
    let config = worker.config();
    let results = match &config.results {
        Results::Server(server) => server.display_url(),
        Results::Disabled => "disabled".to_owned(),
        _ => config.broker.display_url(),
    };
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
        format!(".> results:     {results}"),
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
