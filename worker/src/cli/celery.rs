//! Reads the words of a `celery worker` command line that have no effect on this worker.
//!
//! A service line that was written for Python starts, and a warning says for each such word what
//! happens instead. The words that have an effect are settings. Beside a word without effect, the log
//! also says what they do, so that every word of the line is explained once.

use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, SETTINGS, Setting, level_name};
use crate::delivery::PREFETCH_MULTIPLIER;
use crate::printable::one_line;

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

const WITHOUT_EFFECT: [Word; 21] = [
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

/// A setting whose option Celery has, too, and what it does here.
struct Effect {
    setting: &'static Setting,
    says: fn(&Config) -> String,
}

/// The words of Celery's command line that have an effect, in the order of its help.
fn effects() -> [Effect; 15] {
    fn effect(setting: &'static Setting, says: fn(&Config) -> String) -> Effect {
        Effect { setting, says }
    }
    [
        effect(&SETTINGS.broker, |config| {
            format!("messages come from {}", config.broker.display_url())
        }),
        effect(&SETTINGS.hostname, |config| {
            format!("the name of this worker is {}", config.hostname)
        }),
        effect(&SETTINGS.loglevel, |config| {
            format!("lines from {} on are logged", level_name(config.loglevel))
        }),
        effect(&SETTINGS.concurrency, |config| {
            format!("{} tasks run at once, in one process", config.concurrency)
        }),
        effect(&SETTINGS.prefetch_multiplier, |config| {
            let times = config.prefetch_multiplier.unwrap_or(PREFETCH_MULTIPLIER);
            format!("the worker holds up to {times} messages for each task that runs at once")
        }),
        effect(&SETTINGS.task_events, |_| {
            "the worker sends events, and a heartbeat every 2 seconds".to_owned()
        }),
        effect(&SETTINGS.time_limit, |config| limit(config.time_limit)),
        effect(&SETTINGS.soft_time_limit, |config| {
            limit(config.soft_time_limit)
        }),
        effect(&SETTINGS.max_tasks_per_child, |config| {
            let tasks = config.max_tasks_per_child.unwrap_or_default();
            format!(
                "the process ends after {tasks} tasks with exit code 75; its supervisor starts another"
            )
        }),
        effect(&SETTINGS.max_memory_per_child, |config| {
            let size = config.max_memory_per_child.unwrap_or_default();
            format!(
                "the process ends at {size} KiB with exit code 75; its supervisor starts another"
            )
        }),
        effect(&SETTINGS.queues, consumed),
        effect(&SETTINGS.exclude_queues, consumed),
        effect(&SETTINGS.purge, |_| {
            "messages that wait in the queues are deleted at the start".to_owned()
        }),
        effect(&SETTINGS.beat, |_| {
            "the worker takes part in running schedules".to_owned()
        }),
        effect(&SETTINGS.pidfile, |_| {
            "the file has the number of the process while it runs".to_owned()
        }),
    ]
}

fn limit(limit: Option<Duration>) -> String {
    match limit.filter(|limit| !limit.is_zero()) {
        Some(limit) => format!("it is {limit:?} for tasks that have none of their own"),
        None => "only tasks with a limit of their own have one".to_owned(),
    }
}

fn consumed(config: &Config) -> String {
    format!("the consumed queues are {}", config.queues.join(", "))
}

/// The words of Celery that a command line has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// The warnings about those that have no effect.
    without_effect: Vec<String>,
    /// `true` if the word `worker` is there.
    names_worker: bool,
    /// The names of the settings that are given there.
    given: Vec<&'static str>,
}

impl Words {
    /// Logs a warning for each word without effect, and what each of the others does if there is one
    /// without.
    pub(crate) fn explain(&self, config: &Config) {
        for warning in &self.without_effect {
            tracing::warn!("{warning}");
        }
        if self.without_effect.is_empty() {
            return;
        }
        if self.names_worker {
            tracing::info!("worker: the program runs a worker, as without this word");
        }
        for effect in effects() {
            if self.given.contains(&effect.setting.name) {
                let says = (effect.says)(config);
                tracing::info!("{}: {}", effect.setting.words(), one_line(&says));
            }
        }
    }
}

impl Args for Words {
    fn augment_args(command: Command) -> Command {
        command.args(WITHOUT_EFFECT.iter().map(Word::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Words {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let without_effect = WITHOUT_EFFECT.iter().filter(|word| is_given(word.long));
        let given = SETTINGS.all().map(|setting| setting.name);
        Ok(Words {
            without_effect: without_effect.map(Word::warning).collect(),
            names_worker: matches.subcommand_name() == Some("worker"),
            given: given.filter(|name| is_given(name)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
