//! The entries of schedules, as Redis has them.
//!
//! Workers, the command line and clients write one format: the JSON of an [`Entry`]. When an entry
//! is due depends on the rules of its zone, which only the worker knows.
//!
//! * `fields` – the syntax of Celery's crontab;
//! * `crontab`, `interval` – the two kinds of schedules; `when` – one of them;
//! * `form` – how a schedule is written in the settings and in Redis;
//! * `options` – the options of the messages;
//! * `entry` – an entry as a whole.

mod crontab;
mod entry;
mod fields;
mod form;
mod interval;
mod options;
mod when;

pub use self::crontab::{Crontab, Fields};
pub use self::entry::{Entry, EntryError, Missed, NextDue, check_name};
pub use self::fields::Field;
pub use self::form::{Form, Table};
pub use self::interval::Interval;
pub use self::options::Options;
pub use self::when::Schedule;
