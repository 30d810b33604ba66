//! The end of subcommands that handle things on the broker.

use std::fmt::Display;
use std::process::ExitCode;

use crate::config::Config;

/// Returns the exit code of a subcommand that handles things on the broker: 1 if not all could be
/// handled, or if the broker failed. Prints why it failed.
pub(super) fn ended(config: &Config, all_handled: Result<bool, impl Display>) -> ExitCode {
    match all_handled {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("celery-worker: {}: {failure}", config.broker.display_url());
            ExitCode::FAILURE
        }
    }
}
