//! Where the entries of schedules are: on the broker, or in the memory of a `FakeClient`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, Wait};
use celery_client::redis::blocking::{self as redis, EntryChange, StoredEntry};

use crate::client::Config;
use crate::ffi::throw::{self, Thrown};
use crate::{errors, pool};

/// The entries of a `FakeClient`, by name.
pub(in crate::classes) type Memory = Rc<RefCell<BTreeMap<String, String>>>;

/// Where entries are.
#[derive(Clone)]
pub(in crate::classes) enum Store {
    Broker(Rc<Config>),
    Memory(Memory),
}

impl Store {
    /// Returns the entry of this name, or all entries.
    pub(super) fn read(&self, name: Option<&str>) -> Result<Vec<StoredEntry>, Thrown> {
        match self {
            Store::Broker(config) => ask(config, "read the schedules", |client, wait| {
                client.schedules(name, wait)
            }),
            Store::Memory(entries) => {
                let entries = entries.borrow();
                let wanted = entries
                    .iter()
                    .filter(|(own, _)| name.is_none_or(|name| name == *own));
                Ok(wanted.map(|(name, entry)| unsent(name, entry)).collect())
            }
        }
    }

    /// Changes an entry. Returns `false` if it is no longer as it was read.
    pub(super) fn write(&self, change: &EntryChange<'_>) -> Result<bool, Thrown> {
        match self {
            Store::Broker(config) => ask(config, "change the schedule", |client, wait| {
                client.change_schedule(change, wait)
            }),
            Store::Memory(entries) => {
                let mut entries = entries.borrow_mut();
                if change.entry.is_empty() {
                    entries.remove(change.name);
                } else {
                    entries.insert(change.name.to_owned(), change.entry.to_owned());
                }
                Ok(true)
            }
        }
    }
}

/// Returns an entry that was not sent yet, and whose due time is not computed.
pub(super) fn unsent(name: &str, entry: &str) -> StoredEntry {
    StoredEntry {
        name: name.to_owned(),
        entry: entry.to_owned(),
        ..StoredEntry::default()
    }
}

fn ask<T>(
    config: &Config,
    what: &str,
    call: impl FnOnce(&mut redis::Client, &mut Wait<'_>) -> Result<T, ClientError>,
) -> Result<T, Thrown> {
    let endpoint = config.broker.redis(
        "schedules()",
        "celery-worker --beat keeps its entries in a Redis that is the broker. Use Python's celery beat.",
    )?;
    let deadline = Deadline::after(config.command_timeout());
    let answer = pool::with_limits(endpoint, config.limits(), deadline, call)
        .map_err(|error| errors::command(what, &config.broker, error))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(answer)
}
