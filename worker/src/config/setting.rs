//! Describes a setting: its name in each source, and the texts of the help and of the reference.
//!
//! [`declare_settings!`] makes everything that depends on the list of settings from one
//! declaration. The list itself is in [`declaration`](super::declaration).

use std::fmt;

use clap::Arg;

/// A group of settings: a heading of the help. The order is that of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Broker,
    Database,
    Queues,
    Running,
    Lost,
    Schedules,
    Log,
}

impl Group {
    fn heading(self) -> &'static str {
        match self {
            Group::Broker => "Broker and results",
            Group::Database => "Database",
            Group::Queues => "Queues and messages",
            Group::Running => "Running tasks",
            Group::Lost => "Lost workers",
            Group::Schedules => "Schedules",
            Group::Log => "Log and monitoring",
        }
    }
}

/// The default of a setting, as texts show it.
#[derive(Clone, Copy)]
pub(crate) enum DefaultText {
    /// As a user would write it.
    Value(&'static str),
    /// In words, with Markdown's backquotes around code.
    Words(&'static str),
}

/// A setting as it is declared, apart from its type.
pub(crate) struct Setting {
    /// The key in the file, and the name of the builder's method.
    pub(crate) name: &'static str,
    /// The long option, if it is not the name with hyphens.
    pub(crate) option: Option<&'static str>,
    pub(crate) short: Option<char>,
    /// The environment variable, if its name does not follow from the option.
    pub(crate) variable: Option<&'static str>,
    /// Another name, as Celery has it.
    pub(crate) alias: Option<&'static str>,
    pub(crate) group: Group,
    /// `true` if the value may begin with a hyphen.
    pub(crate) hyphen: bool,
    /// The placeholder of the value in the help.
    pub(crate) value: &'static str,
    /// The text of the help, with Markdown's backquotes around code.
    pub(crate) help: &'static str,
    pub(crate) default: Option<DefaultText>,
    /// The text that the reference has in addition to the help, as Markdown.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only a test reads the reference")
    )]
    pub(crate) more: Option<&'static str>,
    /// Celery's name of the setting.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only a test reads the reference")
    )]
    pub(crate) celery: Option<&'static str>,
    /// Tells an option how to read its value.
    pub(crate) reads: fn(Arg) -> Arg,
}

impl Setting {
    /// Returns the name of the long option, without the hyphens before it.
    fn option(&self) -> String {
        self.option
            .map_or_else(|| self.name.replace('_', "-"), str::to_owned)
    }

    /// Returns the option as the command line has it: `-b/--broker`.
    pub(crate) fn words(&self) -> String {
        let short = self.short.map(|short| format!("-{short}/"));
        format!("{}--{}", short.unwrap_or_default(), self.option())
    }

    /// Returns the name of the environment variable.
    fn variable(&self) -> String {
        self.variable.map_or_else(
            || {
                let option = self.option().replace('-', "_");
                format!("CELERY_WORKER_{}", option.to_ascii_uppercase())
            },
            str::to_owned,
        )
    }

    /// Returns `true` if the value is a URL, which may contain a password.
    pub(crate) fn is_url(&self) -> bool {
        self.value == "URL"
    }

    /// Returns the option for the command line.
    pub(crate) fn argument(&self) -> Arg {
        let help = match self.default {
            Some(DefaultText::Value(text) | DefaultText::Words(text)) => {
                format!("{} [default: {text}]", self.help)
            }
            None => self.help.to_owned(),
        };
        let mut argument = Arg::new(self.name)
            .long(self.option())
            .env(self.variable())
            .value_name(self.value)
            .help_heading(self.group.heading())
            .help(help.replace('`', ""))
            .allow_hyphen_values(self.hyphen);
        if let Some(short) = self.short {
            argument = argument.short(short);
        }
        if let Some(alias) = self.alias {
            argument = argument.alias(alias.replace('_', "-"));
        }
        (self.reads)(argument)
    }

    /// Returns the row of the table in the reference.
    #[cfg(test)]
    pub(crate) fn row(&self) -> String {
        let short = self.short.map(|short| format!("`-{short}`, "));
        let default = match self.default {
            Some(DefaultText::Value(value)) => format!("`{value}` "),
            Some(DefaultText::Words(words)) => format!("{words} "),
            None => String::new(),
        };
        let mut text = self.help.to_owned();
        if let Some(more) = self.more {
            text = format!("{text}. {more}");
        }
        let celery = self.celery.map(|celery| format!("`{celery}` "));
        format!(
            "| {}`--{}` | `{}` | {default}| {}| {text} |",
            short.unwrap_or_default(),
            self.option(),
            self.variable(),
            celery.unwrap_or_default(),
        )
    }
}

/// Names the setting as it is written in each source.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.words(), self.variable())
    }
}

/// Makes from a list of settings:
///
/// * `Settings`, one source of settings, which clap and serde can read;
/// * `Config`, the settings in force;
/// * `SETTINGS`, the [`Setting`] of each;
/// * `builder_methods!`, which implements the methods of `WorkerBuilder`.
///
/// An entry has these parts, in this order. Those in brackets may be missing.
///
/// ```text
/// /// The documentation of the builder's method, without default and Celery's name.
/// name: Type [= default] {        the type in Config, which implements Checked
///     group: Group,               the heading of the help
///     [option: "priority-sep",]   the option, if it is not the name
///     [short: 'b',]               the letter of the option
///     [variable: "DATABASE_URL",] the variable, if it is not CELERY_WORKER_ and the option
///     [alias: "worker_…",]        another name, for the file and the option
///     [read: "function",]         the function that reads it from the file, for serde
///     [parse: function,]          the function that reads it from the command line
///     [hyphen: true,]             the value may begin with a hyphen
///     [check: |value| …,]         what a value must fulfil besides its type
///     value: "TIME",              the placeholder in the help; URL: it may contain a password
///     help: "…",                  the help, with backquotes around code
///     [default: "the broker",]    the default in words, if it is not a value
///     [more: "…",]                what the reference adds, as Markdown
///     [celery: "task_routes",]    Celery's name
///     builder: |value: Type| …,   the argument of the builder's method, and what it gives
///     example: "…",               the argument in the example of the method
/// }
/// ```
macro_rules! declare_settings {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty $(= $default:literal)? {
            group: $group:ident,
            $(option: $option:literal,)?
            $(short: $short:literal,)?
            $(variable: $variable:literal,)?
            $(alias: $alias:literal,)?
            $(read: $read:literal,)?
            $(parse: $parse:expr,)?
            $(hyphen: $hyphen:literal,)?
            $(check: $check:expr,)?
            value: $value:literal,
            help: $help:literal,
            $(default: $words:literal,)?
            $(more: $more:literal,)?
            $(celery: $celery:literal,)?
            builder: |$given:ident: $given_type:ty| $convert:expr,
            example: $example:literal,
        }
    )+) => {
        /// The settings of one source. Every value may be missing, and none is checked.
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Settings {
            $(
                $(#[serde(alias = $alias)])?
                $(#[serde(default, deserialize_with = $read)])?
                pub(crate) $name: Option<<$type as Checked>::Given>,
            )+
            /// SQL tasks by name, which only the file can define.
            #[serde(default)]
            pub(crate) tasks: BTreeMap<String, SqlTask>,
            /// Celery's `task_annotations`: changes of tasks by name, which only the file can define.
            #[serde(default, alias = "task_annotations")]
            pub(crate) annotations: BTreeMap<String, Annotation>,
            /// Celery's `beat_schedule`: entries of the schedules, which only the file can define.
            /// `None`: without a file.
            #[serde(default, alias = "beat_schedule")]
            pub(crate) schedules: Option<BTreeMap<String, Section>>,
        }

        impl Settings {
            /// Fills in what is missing here with the values of `other`.
            pub(crate) fn or(self, other: Settings) -> Settings {
                Settings {
                    $($name: self.$name.or(other.$name),)+
                    tasks: if self.tasks.is_empty() { other.tasks } else { self.tasks },
                    annotations: if self.annotations.is_empty() {
                        other.annotations
                    } else {
                        self.annotations
                    },
                    schedules: self.schedules.or(other.schedules),
                }
            }

            /// Returns each text that the settings contain, apart from numbers and SQL tasks.
            pub(super) fn texts(&self) -> Vec<(&'static Setting, String)> {
                let mut all = Vec::new();
                $(
                    let texts = self.$name.iter().flat_map(Given::texts);
                    all.extend(texts.map(|text| (&SETTINGS.$name, text)));
                )+
                all
            }
        }

        impl clap::Args for Settings {
            fn augment_args(command: clap::Command) -> clap::Command {
                SETTINGS.in_groups().into_iter().map(Setting::argument).fold(command, clap::Command::arg)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }

        impl clap::FromArgMatches for Settings {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Self::from_arg_matches_mut(&mut matches.clone())
            }

            fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
                Ok(Settings {
                    $($name: Given::take(matches, stringify!($name)),)+
                    tasks: BTreeMap::new(),
                    annotations: BTreeMap::new(),
                    schedules: None,
                })
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?.or(std::mem::take(self));
                Ok(())
            }
        }

        /// The settings in force.
        #[derive(Clone, Debug)]
        pub(crate) struct Config {
            $(pub(crate) $name: $type,)+
            pub(crate) tasks: BTreeMap<String, SqlTask>,
            pub(crate) annotations: BTreeMap<String, Annotation>,
            /// The entries of the file, if there is one.
            pub(crate) schedules: Option<Vec<(String, FileEntry)>>,
        }

        impl Config {
            /// Checks each setting by itself and fills in the defaults.
            pub(super) fn of_each(settings: Settings) -> Result<Self, ConfigError> {
                let sections = settings.schedules;
                let mut config = Config {
                    $($name: {
                        let checks: &[Check<$type>] = &[$($check)?];
                        declare_settings!(
                            @value SETTINGS.$name, settings.$name, checks, $type $(, $default)?
                        )
                    },)+
                    tasks: settings.tasks,
                    annotations: settings.annotations,
                    schedules: None,
                };
                config.read_schedules(sections.as_ref())?;
                Ok(config)
            }

            /// Returns each setting as a value of the file, unless it is not set.
            pub(super) fn values(&self) -> Vec<(&'static Setting, String)> {
                let mut all = Vec::new();
                $(all.extend(self.$name.written().map(|text| (&SETTINGS.$name, text)));)+
                all
            }
        }

        /// The descriptions of all settings, by name.
        pub(crate) struct Table {
            $(pub(crate) $name: Setting,)+
        }

        impl Table {
            /// Returns the settings in the order of their declaration.
            pub(crate) fn all(&self) -> impl Iterator<Item = &Setting> {
                [$(&self.$name),+].into_iter()
            }

            /// Returns the settings in the order of the help.
            fn in_groups(&self) -> Vec<&Setting> {
                let mut all: Vec<&Setting> = self.all().collect();
                all.sort_by_key(|setting| setting.group);
                all
            }
        }

        pub(crate) static SETTINGS: Table = Table {
            $($name: Setting {
                name: stringify!($name),
                option: declare_settings!(@option $($option)?),
                short: declare_settings!(@option $($short)?),
                variable: declare_settings!(@option $($variable)?),
                alias: declare_settings!(@option $($alias)?),
                group: Group::$group,
                hyphen: matches!(declare_settings!(@option $($hyphen)?), Some(true)),
                value: $value,
                help: $help,
                default: declare_settings!(
                    @option $(DefaultText::Value(concat!($default)))? $(DefaultText::Words($words))?
                ),
                more: declare_settings!(@option $($more)?),
                celery: declare_settings!(@option $($celery)?),
                reads: |argument| {
                    let argument = <<$type as Checked>::Given as Given>::reads(argument);
                    $(let argument = argument.value_parser($parse);)?
                    argument
                },
            },)+
        };

        /// Implements a method of `WorkerBuilder` for each setting.
        macro_rules! builder_methods {
            () => {
                impl WorkerBuilder {
                    $(
                        $(#[doc = $doc])+
                        #[doc = ""]
                        $(#[doc = concat!("Default: `", $default, "`.")])?
                        $(#[doc = concat!("Default: ", $words, ".")])?
                        $(#[doc = concat!("Celery's name: `", $celery, "`.")])?
                        #[doc = ""]
                        #[doc = "```"]
                        #[doc = "# use std::time::Duration;"]
                        #[doc = "# use celery_worker::Worker;"]
                        #[doc = concat!(
                            "let worker = Worker::builder().", stringify!($name), "(", $example, ");"
                        )]
                        #[doc = "```"]
                        #[must_use]
                        pub fn $name(mut self, $given: $given_type) -> Self {
                            self.settings.$name = Some($convert);
                            self
                        }
                    )+
                }
            };
        }
        pub(crate) use builder_methods;
    };

    (@option) => { None };
    (@option $value:expr) => { Some($value) };

    (@value $setting:expr, $given:expr, $checks:expr, $type:ty) => {
        match $given {
            Some(given) => checked(&$setting, given, $checks)?,
            None => <$type>::default(),
        }
    };
    (@value $setting:expr, $given:expr, $checks:expr, $type:ty, $default:literal) => {{
        let given = $given.unwrap_or_else(|| Given::of_default($default));
        checked(&$setting, given, $checks)?
    }};
}
pub(super) use declare_settings;
