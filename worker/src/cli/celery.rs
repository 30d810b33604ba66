//! Reads the words of a `celery worker` command line that have no effect on this worker.
//!
//! A service line that was written for Python starts, and a warning says for each such word what
//! happens instead. The words that have an effect are settings.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// A word of Celery's command line without effect.
struct Word {
    long: &'static str,
    short: Option<char>,
    /// Other names that Celery has for the option.
    aliases: &'static [&'static str],
    /// `true` if a value follows.
    valued: bool,
    /// What the worker does instead, or why there is nothing to do.
    instead: &'static str,
}

impl Word {
    const fn flag(long: &'static str, short: Option<char>, instead: &'static str) -> Self {
        let (aliases, valued): (&[&str], _) = (&[], false);
        Word {
            long,
            short,
            aliases,
            valued,
            instead,
        }
    }

    const fn valued(long: &'static str, short: Option<char>, instead: &'static str) -> Self {
        let mut word = Word::flag(long, short, instead);
        word.valued = true;
        word
    }

    const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    fn argument(&self) -> Arg {
        let mut argument = Arg::new(self.long)
            .long(self.long)
            .aliases(self.aliases)
            .hide(true);
        if let Some(short) = self.short {
            argument = argument.short(short);
        }
        if self.valued {
            argument.action(ArgAction::Append).allow_hyphen_values(true)
        } else {
            argument.action(ArgAction::Count)
        }
    }

    /// Returns the warning about this word.
    fn warning(&self) -> String {
        let short = self
            .short
            .map(|short| format!("-{short}/"))
            .unwrap_or_default();
        format!("{short}--{} has no effect: {}", self.long, self.instead)
    }
}

const TASKS: &str = "tasks are compiled in, or come from the file of --config";
const FUTURES: &str = "tasks are futures in one process, not child processes";
const EVENTS: &str = "with --task-events the worker sends a heartbeat every 2 seconds";
const BEAT: &str = "schedules are kept in Redis, for all processes that run them";
const USER: &str = "the worker keeps the user and the mask that it is started with; set them in \
    the unit of the supervisor";
const CONTROL: &str = "the worker takes no part in gossip";

const WORDS: [Word; 21] = [
    Word::valued("app", Some('A'), TASKS),
    Word::valued("include", Some('I'), TASKS),
    Word::valued("loader", None, TASKS),
    Word::flag("skip-checks", None, TASKS),
    Word::valued("executable", None, TASKS),
    Word::valued("pool", Some('P'), FUTURES),
    Word::valued("pool-start-method", None, FUTURES),
    Word::valued(
        "autoscale",
        None,
        "a free slot costs nothing, so their number does not change; set it with --concurrency",
    ),
    Word::valued(
        "optimization",
        Some('O'),
        "a task always starts in a slot that is free, as with fair",
    ),
    Word::valued("heartbeat-interval", None, EVENTS),
    Word::flag("without-heartbeat", None, EVENTS),
    Word::flag("without-gossip", None, CONTROL),
    Word::valued(
        "statedb",
        Some('S'),
        "revoked tasks are kept in Redis, for all workers",
    ),
    Word::valued("schedule-filename", Some('s'), BEAT).or(&["schedule"]),
    Word::valued("scheduler", None, BEAT),
    Word::flag(
        "detach",
        Some('D'),
        "the worker stays in the foreground; let a supervisor such as systemd run it",
    ),
    Word::valued("uid", None, USER),
    Word::valued("gid", None, USER),
    Word::valued("umask", None, USER),
    Word::flag("no-color", Some('C'), "the log has no colours"),
    Word::flag(
        "quiet",
        Some('q'),
        "the banner is always written, except with --log-format json",
    ),
];

/// The words that a command line has and that have no effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct WithoutEffect(Vec<String>);

impl WithoutEffect {
    /// Logs a warning for each word.
    pub(crate) fn warn(&self) {
        for warning in &self.0 {
            tracing::warn!("{warning}");
        }
    }
}

impl Args for WithoutEffect {
    fn augment_args(command: Command) -> Command {
        command.args(WORDS.iter().map(Word::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for WithoutEffect {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given =
            |word: &&Word| matches.value_source(word.long) == Some(ValueSource::CommandLine);
        Ok(WithoutEffect(
            WORDS.iter().filter(given).map(Word::warning).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
