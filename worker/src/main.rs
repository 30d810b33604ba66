//! The worker for users who do not write Rust: it serves `task_created` and the SQL tasks of its
//! configuration file.

use std::process::ExitCode;

fn main() -> ExitCode {
    celery_worker::cli::main(|worker| worker.register(celery_worker::tasks::task_created::task()))
}
