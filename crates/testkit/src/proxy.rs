//! A TCP proxy on the loopback interface that causes faults on request.
//!
//! Placed between a client and a server, it simulates the faults of a network: delay, a trickle,
//! silence, a reset. A fault applies to connections that are open and to new ones. The proxy can
//! also strand the open connections without limit, or connect new ones to another server. It cannot
//! drop packets: the system acknowledges data before the proxy reads it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Error;

/// The interval at which a connection checks for a new fault; also the granularity of every fault.
const TICK: Duration = Duration::from_millis(5);
/// The largest number of bytes to pass on at once.
const CHUNK: usize = 16 * 1024;

/// A fault: how the proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Data is passed on at once.
    #[default]
    None,
    /// Data is passed on this long after it was read.
    Latency(Duration),
    /// One byte is passed on in each interval of this length.
    Drip(Duration),
    /// The proxy reads and writes nothing: connections, old and new, stay open and silent.
    Silence,
    /// New connections are reset.
    Reset,
}

/// The place where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Before the request: the server never sees it.
    Request,
    /// After the request: the server has carried it out, and its answer is thrown away.
    Answer,
}

#[derive(Debug)]
struct Shared {
    /// The server for new connections.
    target: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    /// The text of the request at which to cut a connection, and the place of the cut.
    cut: Mutex<Option<(Vec<u8>, Cut)>>,
    cuts: AtomicU64,
    /// The current generation. A connection of an older one resets itself.
    generation: AtomicU64,
    /// The number of stranded connections: the first ones accepted, which stay silent without
    /// limit.
    stranded: AtomicU64,
    accepted: AtomicU64,
    open: AtomicU64,
    closing: AtomicBool,
}

impl Shared {
    fn leading_to(target: SocketAddr) -> Self {
        Shared {
            target: Mutex::new(target),
            fault: Mutex::default(),
            cut: Mutex::default(),
            cuts: AtomicU64::default(),
            generation: AtomicU64::default(),
            stranded: AtomicU64::default(),
            accepted: AtomicU64::default(),
            open: AtomicU64::default(),
            closing: AtomicBool::default(),
        }
    }

    fn target(&self) -> MutexGuard<'_, SocketAddr> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) -> MutexGuard<'_, Option<(Vec<u8>, Cut)>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where to cut the connection because of this request, or `None`.
    fn cut_because_of(&self, request: &[u8]) -> Option<Cut> {
        let mut armed = self.cut();
        let (text, cut) = armed.as_ref()?;
        let mut parts = request.windows(text.len().max(1));
        let cut = parts.any(|part| part == text).then_some(*cut)?;
        *armed = None;
        Some(cut)
    }

    fn fault(&self) -> MutexGuard<'_, Fault> {
        // A panic while the lock was held cannot have left this plain value half-written.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy. Dropping it resets the open connections and stops listening.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy on a free port in front of `target`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] when no port can be listened on.
    pub fn start(target: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(Error::io("listening for the proxy"))?;
        let address = listener
            .local_addr()
            .map_err(Error::io("listening for the proxy"))?;
        let shared = Arc::new(Shared::leading_to(target));
        let state = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &state));
        Ok(Self { address, shared })
    }

    /// Starts a proxy in front of a server of this machine.
    ///
    /// # Errors
    ///
    /// Fails like [`Proxy::start`].
    pub fn to_port(port: u16) -> Result<Self, Error> {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Returns the port on 127.0.0.1 to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the behaviour from now on, for all connections.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault() = fault;
    }

    /// Resets every open connection: the client sees `ECONNRESET`, not an orderly end.
    pub fn reset_all(&self) {
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Connects new connections to another server, as if a name or an address had moved. Open
    /// connections stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        *self.shared.target() = target;
    }

    /// Silences every open connection without limit, as if a device on the way had forgotten it.
    /// The connections stay open, but no data passes. New connections are served.
    pub fn strand_all(&self) {
        let accepted = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.stranded.store(accepted, Ordering::SeqCst);
    }

    /// Cuts the connection of the next request that contains `text`; later requests pass. A request
    /// of more than some kilobytes may be missed.
    pub fn cut_at(&self, text: &str, cut: Cut) {
        *self.shared.cut() = Some((text.as_bytes().to_vec(), cut));
    }

    /// Returns the number of connections cut by [`Proxy::cut_at`].
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.reset_all();
        // Wakes the accepting thread, which then sees the end.
        let _woken = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        if *shared.fault() == Fault::Reset {
            reset(&client);
            continue;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&client, number, &shared));
    }
}

/// Serves one connection until either side ends it or it must be reset.
fn serve(client: &TcpStream, number: u64, shared: &Shared) {
    shared.open.fetch_add(1, Ordering::SeqCst);
    let target = *shared.target();
    let generation = shared.generation.load(Ordering::SeqCst);
    let (cut, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let end = || {
        over.store(true, Ordering::SeqCst);
        shared.cuts.fetch_add(1, Ordering::SeqCst);
        Err(broken())
    };
    let request = |bytes: &[u8]| match shared.cut_because_of(bytes) {
        Some(Cut::Request) => end(),
        Some(Cut::Answer) => {
            cut.store(true, Ordering::SeqCst);
            Ok(())
        }
        None => Ok(()),
    };
    let answer = |_: &[u8]| {
        if cut.load(Ordering::SeqCst) {
            end()
        } else {
            Ok(())
        }
    };
    let wanted =
        || !over.load(Ordering::SeqCst) && shared.generation.load(Ordering::SeqCst) == generation;
    let silent =
        || *shared.fault() == Fault::Silence || number < shared.stranded.load(Ordering::SeqCst);
    // A direction that breaks ends the other one, too, as a reset does.
    let end_both = |_: &io::Error| over.store(true, Ordering::SeqCst);
    let outcome = TcpStream::connect(target).and_then(|server| {
        thread::scope(|scope| {
            let back = scope.spawn(|| {
                pass(&server, client, shared, wanted, silent, answer).inspect_err(end_both)
            });
            let there =
                pass(client, &server, shared, wanted, silent, request).inspect_err(end_both);
            let back = back.join().unwrap_or_else(|_| Err(broken()));
            there.and(back)
        })
    });
    if outcome.is_err() {
        reset(client);
    }
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

/// Passes on what one side sends until its end; calls `look` with the data first.
fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    shared: &Shared,
    still_wanted: impl Fn() -> bool,
    is_silent: impl Fn() -> bool,
    look: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    from.set_read_timeout(Some(TICK))?;
    to.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        if !still_wanted() {
            return Err(broken());
        }
        if is_silent() {
            thread::sleep(TICK);
            continue;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if is_idle(&error) => continue,
            Err(error) => return Err(error),
        };
        look(&buffer[..read])?;
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let fault = *shared.fault();
            let (part, pause) = match fault {
                _ if is_silent() => (0, TICK),
                Fault::Latency(time) => (rest.len(), time),
                Fault::Drip(interval) => (1, interval),
                Fault::None | Fault::Reset | Fault::Silence => (rest.len(), Duration::ZERO),
            };
            thread::sleep(pause);
            if !still_wanted() {
                return Err(broken());
            }
            to.write_all(&rest[..part])?;
            rest = &rest[part..];
        }
    }
    // Only this side has ended: the other direction may go on.
    to.shutdown(Shutdown::Write)
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

/// Closes with a reset: with a linger time of zero, the system drops unsent data and sends RST.
fn reset(stream: &TcpStream) {
    // An error means that the connection is gone, which is the goal.
    let _gone = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}
