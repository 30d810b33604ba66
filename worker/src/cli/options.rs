//! The command line: subcommands, and the options that are not settings.
//!
//! The options of settings come from their declaration in [`config`](crate::config). They have the
//! names of those of `celery worker`, and each has an environment variable.

use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::celery::Words;
use crate::config::Settings;
use crate::config::given::path;

/// Runs Celery tasks: takes messages from Redis or RabbitMQ, runs their tasks, stores the results.
///
/// Settings come from the command line, the environment, the file given with --config, and the
/// defaults, in this order. Times are in seconds, or have a unit: 500ms, 10s, 2m, 1h.
#[derive(Debug, Parser)]
#[command(name = "celery-worker", version, max_term_width = 100)]
pub(crate) struct Options {
    // Before the subcommand and the settings, which take their values out of what was read.
    #[command(flatten)]
    pub(crate) words: Words,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// A file with settings (TOML)
    #[arg(
        help_heading = "Configuration",
        long,
        value_name = "FILE",
        env = "CELERY_WORKER_CONFIG"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Change to this folder first
    #[arg(
        help_heading = "Configuration",
        long,
        value_name = "FOLDER",
        value_parser = path()
    )]
    pub(crate) workdir: Option<PathBuf>,

    /// Print the settings, without passwords, and exit
    #[arg(help_heading = "Configuration", long)]
    pub(crate) print_config: bool,
}

/// The subcommands. Celery's command line has only `worker`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the worker, as without a subcommand
    #[command(hide = true)]
    Worker,
    /// Check the broker and the database for problems that could lose tasks
    ///
    /// Exits with 0 if nothing is wrong, 1 if something is, 78 if a setting can never work.
    Check {
        /// Exit with 1 also after warnings
        #[arg(long)]
        strict: bool,
    },
    /// Print a script that lets a shell complete this command line
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print this program's manual page
    Man,
    /// Handle messages that could not be run: the stream or queue celery.dead
    Dead {
        #[command(subcommand)]
        command: Dead,
    },
    /// Handle the messages of fair queues that are in groups
    Fair {
        #[command(subcommand)]
        command: Fair,
    },
    /// Send the tasks of schedules, without running tasks; or handle the entries of the schedules
    Beat {
        #[command(subcommand)]
        command: Option<Beat>,
    },
    /// Show workers, queues and tasks while they change; revoke tasks, put dead letters back
    ///
    /// Shows every worker that answers remote control or sends events, Python's too. Keys: 1 to 6
    /// choose the page, x revokes the selected task, p puts the selected dead letter back, q ends.
    Top {
        /// Print everything once as text, as without a terminal
        #[arg(long)]
        once: bool,
        /// Leave events as they are; without this, workers are told to send them
        #[arg(long)]
        no_enable_events: bool,
    },
}

/// The subcommands for dead letters.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Dead {
    /// List them, oldest first
    List {
        /// The most letters to list
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one of them with its message
    Show {
        /// Its place, as `dead list` prints it
        place: String,
    },
    /// Put them back into their queues
    Replay(Back),
    /// Delete them
    Purge(Which),
}

/// The subcommands for fair queues.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Fair {
    /// List the lists of queues and of their groups that have messages, with the lengths
    List {
        /// The queues
        #[arg(required = true)]
        queues: Vec<String>,
    },
    /// Move the messages of groups back to their queues, for workers that know no groups
    ///
    /// Remove the queues from --fair-queues of all workers first.
    Return {
        /// The queues
        #[arg(required = true)]
        queues: Vec<String>,
    },
}

/// The subcommands for schedules.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Beat {
    /// List the entries, and the process that sends their tasks
    List,
    /// Send the task of an entry now; its next due time stays
    Run {
        /// The entry
        name: String,
    },
    /// Let entries be due again, from now on
    Enable {
        /// The entries
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let entries not be due any more
    Disable {
        /// The entries
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Copy the entries of RedBeat that do not exist here yet
    ImportRedbeat {
        /// What RedBeat's keys begin with, as its settings have it
        #[arg(default_value = "redbeat:")]
        prefix: String,
    },
}

/// Some dead letters, or all.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Their places, as `dead list` prints them
    pub(crate) places: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

/// What is put back: some dead letters, all, or what dead workers held.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Back {
    /// Their places, as `dead list` prints them
    pub(crate) places: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Not dead letters, but messages that a dead worker has left in its held list: `check` reports
    /// them
    #[arg(long)]
    pub(crate) held: bool,
}

impl Options {
    /// Reads the command line and the environment. Options may stand before or after a subcommand.
    ///
    /// An empty variable counts as unset: files of variables and systemd units have lines for
    /// settings that are not given.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::full_command().try_get_matches()?)
    }

    /// Returns the description of the command line, as [`read`](Self::read) understands it.
    pub(crate) fn full_command() -> clap::Command {
        let adapt = |arg: Arg| match arg.get_env().map(std::env::var_os) {
            Some(Some(value)) if value.is_empty() => arg.env(Resettable::Reset).global(true),
            // Not even the help may show a password.
            _ => arg.hide_env_values(true).global(true),
        };
        // An option that is given again replaces its value, as in Celery. Lists grow.
        Self::command().args_override_self(true).mut_args(adapt)
    }
}
