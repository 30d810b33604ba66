//! What a message says of its sender, and random ids.
//!
//! What belongs to a process is made anew in a forked child: its name, and the random bytes fetched ahead – parent and
//! child must never give out the same id.

use std::cell::RefCell;
use std::rc::Rc;

use celery_client::blocking::Process;
use uuid::{Builder, Uuid};

/// Bytes of randomness fetched at once: two ids a post, and a system call costs more than the bytes.
const AHEAD: usize = 32 * ID;
/// Bytes of one id.
const ID: usize = 16;

/// What belongs to one process.
struct Own {
    process: Process,
    sender: Rc<Sender>,
    random: Random,
}

/// What a message says of its sender: the same as long as the process (the thread, under ZTS) lives.
pub(crate) struct Sender {
    /// `php<pid>@<host>`, as Python's clients are `gen<pid>@<host>`.
    pub(crate) origin: String,
    /// Where it would await answers of `rpc://`, a random id.
    pub(crate) reply_to: String,
}

impl Own {
    fn new() -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let mut random = Random::default();
        Own {
            process: Process::current(),
            sender: Rc::new(Sender {
                origin: format!("php{}@{host}", std::process::id()),
                reply_to: random.id(),
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

/// This process as a sender.
pub(crate) fn sender() -> Rc<Sender> {
    own(|own| Rc::clone(&own.sender))
}

/// A random id, which nobody can guess.
pub(crate) fn new_id() -> String {
    own(|own| own.random.id())
}

/// Bytes of the system's randomness, fetched ahead and given out once.
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
    fn id(&mut self) -> String {
        if self.used == AHEAD {
            if getrandom::fill(&mut self.bytes).is_err() {
                // No randomness to fetch ahead: the library says how it fails.
                return Uuid::new_v4().to_string();
            }
            self.used = 0;
        }
        let mut id = [0; ID];
        let next = self.used + ID;
        id.copy_from_slice(&self.bytes[self.used..next]);
        // What was given out cannot be found in memory later.
        self.bytes[self.used..next].fill(0);
        self.used = next;
        Builder::from_random_bytes(id).into_uuid().to_string()
    }
}
