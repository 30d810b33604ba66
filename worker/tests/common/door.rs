//! Calls that a test sees running, and ends.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use celery_testkit::wait_for;

/// The longest wait. It is generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// The door to which running calls of `proj.occupy` connect. It sees which calls run at once, also
/// those of a process that was killed, because the system closes their connections.
pub struct Door {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub struct Seen {
    pub open: Vec<Guest>,
    /// The most calls that ran at once, by their keys.
    pub most: HashMap<String, usize>,
}

/// A call that runs.
pub struct Guest {
    pub pid: u32,
    pub key: String,
    port: u16,
    connection: TcpStream,
}

impl Seen {
    fn enter(&mut self, guest: Guest) {
        let key = guest.key.clone();
        self.open.push(guest);
        let now = self.open.iter().filter(|guest| guest.key == key).count();
        let most = self.most.entry(key).or_default();
        *most = now.max(*most);
    }
}

impl Door {
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Seen>>::default();
        let door = Door {
            address,
            seen: Arc::clone(&seen),
        };
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, seen) = (connection.unwrap(), Arc::clone(&seen));
                std::thread::spawn(move || welcome(connection, &seen));
            }
        });
        door
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Waits until this many calls run.
    pub fn wait_for(&self, calls: usize) {
        let what = format!("{calls} running calls");
        wait_for(PATIENCE, &what, || self.seen().open.len() == calls).unwrap();
    }

    /// Lets the call end that has run longest.
    pub fn release(&self) {
        let mut seen = self.seen();
        // It counts as ended before its worker can know.
        let guest = seen.open.remove(0);
        guest.connection.shutdown(Shutdown::Both).unwrap();
    }

    pub fn args(&self, key: &str) -> String {
        format!("[{:?}, {key:?}]", self.address)
    }
}

/// Counts a call as running until its connection ends.
fn welcome(connection: TcpStream, seen: &Mutex<Seen>) {
    let port = connection.peer_addr().unwrap().port();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    // A process that is killed here has not shown its call.
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let (pid, key) = line.trim_end_matches('\n').split_once(' ').unwrap();
    seen.lock().unwrap().enter(Guest {
        pid: pid.parse().unwrap(),
        key: key.to_owned(),
        port,
        connection,
    });
    line.clear();
    // It ends with the connection, in an error or not.
    let _ = reader.read_line(&mut line);
    seen.lock().unwrap().open.retain(|guest| guest.port != port);
}
