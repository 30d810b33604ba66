//! Sends tasks at their times: Celery's beat.
//!
//! The entries are in the store of the broker, where the file of settings, the command line and
//! other programs put them. One process of the fleet leads and sends what is due; see `leader`.
//!
//! * `entry` – an entry of the store, with the rules of its zone;
//! * `schedule` – when it is due;
//! * `file` – entries of the file of settings;
//! * `plan` – which due times are sent, and which one is next;
//! * `message` – the message of a due time;
//! * `leader` – the role that sends; `status` – what it shows.

mod entry;
mod file;
mod leader;
mod message;
mod plan;
mod schedule;
mod status;

pub(crate) use self::entry::Zoned;
pub(crate) use self::file::{FileEntry, Section, check as check_file};
pub(crate) use self::leader::Beat;
pub(crate) use self::message::{Outgoing, Sender};
pub(crate) use self::status::Status;
