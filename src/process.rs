//! The sender's fields of a message, and random ids.
//!
//! A forked child makes its own name and its own random bytes, because parent and child must never
//! use the same id.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use celery_client::blocking::Process;
use celery_protocol::events;
use celery_protocol::message::EncodeOptions;
use uuid::{Builder, Uuid};

use crate::ffi::clock;

/// Number of random bytes fetched at once. A post needs two ids, and a system call costs more than
/// the bytes.
const AHEAD: usize = 32 * ID;
/// Number of bytes of an id.
const ID: usize = 16;

/// The state of this process, which a forked child replaces.
struct Own {
    process: Process,
    sender: Rc<Sender>,
    random: Random,
    /// The sender of events.
    events: Arc<events::Sender>,
}

/// The sender's fields of a message, which stay the same while the process (the thread, under ZTS)
/// lives.
pub(crate) struct Sender {
    /// The name `php<pid>@<host>`, like the name `gen<pid>@<host>` of Python's clients.
    pub(crate) origin: String,
    /// The queue in which a result backend `rpc://` would receive answers: a random id.
    pub(crate) reply_to: String,
}

impl Sender {
    /// Returns the options of a message from this sender.
    pub(crate) fn options<'a>(
        &'a self,
        queue: &'a str,
        delivery_tag: &'a str,
    ) -> EncodeOptions<'a> {
        EncodeOptions::new(queue, delivery_tag)
            .lang("php")
            .origin(&self.origin)
            .reply_to(&self.reply_to)
    }
}

impl Own {
    fn new() -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let mut random = Random::default();
        let pid = std::process::id();
        let origin = format!("php{pid}@{host}");
        Own {
            process: Process::current(),
            events: Arc::new(events::Sender {
                hostname: origin.clone(),
                pid,
                utcoffset: hours_west(clock::local_offset()),
            }),
            sender: Rc::new(Sender {
                origin,
                reply_to: random.id().to_string(),
            }),
            random,
        }
    }
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

fn own<T>(ask: impl FnOnce(&mut Own) -> T) -> T {
    OWN.with_borrow_mut(|slot| {
        slot.take_if(|own| own.process != Process::current());
        ask(slot.get_or_insert_with(Own::new))
    })
}

/// Returns this process as a sender.
pub(crate) fn sender() -> Rc<Sender> {
    own(|own| Rc::clone(&own.sender))
}

/// Returns this process as a sender of events.
pub(crate) fn event_sender() -> Arc<events::Sender> {
    own(|own| Arc::clone(&own.events))
}

/// Returns an offset from UTC in seconds as events have it: in hours, positive west of Greenwich.
fn hours_west(offset: i64) -> f64 {
    // Without the addition it is -0.0 in UTC.
    i32::try_from(offset).map_or(0.0, |offset| -f64::from(offset) / 3600.0 + 0.0)
}

/// Returns a random id that cannot be guessed.
pub(crate) fn new_id() -> Uuid {
    own(|own| own.random.id())
}

/// Random bytes of the system that are fetched ahead and used once.
struct Random {
    bytes: [u8; AHEAD],
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Random {
            bytes: [0; AHEAD],
            used: AHEAD,
        }
    }
}

impl Random {
    fn id(&mut self) -> Uuid {
        if self.used == AHEAD {
            if getrandom::fill(&mut self.bytes).is_err() {
                // Random bytes could not be fetched in advance. The crate `uuid` fetches its own,
                // and panics if it cannot.
                return Uuid::new_v4();
            }
            self.used = 0;
        }
        let mut id = [0; ID];
        let next = self.used + ID;
        id.copy_from_slice(&self.bytes[self.used..next]);
        // Used bytes are erased, so that memory does not reveal them later.
        self.bytes[self.used..next].fill(0);
        self.used = next;
        Builder::from_random_bytes(id).into_uuid()
    }
}
