//! Reads the worker's settings from the command line, the environment, a file, or the defaults, in
//! this order.
//!
//! [`declaration`] declares each setting once. [`Settings`] holds one source: every value may be
//! missing, and none is checked. [`Config`] is the checked result. Its errors name the setting as
//! it is written in each source. Nothing here connects.
//!
//! * [`setting`] – what describes a setting, and the macro behind the declaration;
//! * [`given`] – how a value is read from a source;
//! * [`checked`], [`log`] – how a value is checked by its type and written;
//! * [`combined`] – the checks of settings that depend on each other;
//! * [`annotation`] – changes of tasks by their names;
//! * [`file`], [`misplaced`], [`node`] – the file, URLs in the wrong setting, the node's name.

mod annotation;
mod checked;
mod claim;
mod combined;
mod declaration;
mod file;
pub(crate) mod given;
mod log;
mod misplaced;
mod node;
mod rabbitmq;
mod setting;
pub(crate) mod value;

use std::fmt;

pub(crate) use self::declaration::{Config, SETTINGS, Settings, builder_methods};
pub(crate) use self::given::Steps;
pub(crate) use self::log::{LogFields, LogFormat, OTHERS, level_name};
pub(crate) use self::node::direct_queue;
pub(crate) use self::setting::Setting;

/// Prints the settings as a file that would give them again, except for passwords.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (setting, value) in self.values() {
            // Without a database, its settings have no effect.
            if self.database.is_some() || !setting.name.starts_with("database") {
                writeln!(f, "{} = {value}", setting.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
