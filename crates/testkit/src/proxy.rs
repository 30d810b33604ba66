//! A TCP proxy on the loopback interface that misbehaves on request.
//!
//! Put between a client and a server, it makes the faults of a network: delay, a trickle, silence, a reset. What
//! is set holds for the connections that are open and for those that come. It can leave the open ones behind for good, and
//! lead new ones elsewhere. Swallowed packets it cannot make: the system acknowledges what the proxy has not read.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Error;

/// How often a connection looks at what it shall do; also the granularity of every fault.
const TICK: Duration = Duration::from_millis(5);
/// What is passed on at once.
const CHUNK: usize = 16 * 1024;

/// How the proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Everything is passed on at once.
    #[default]
    None,
    /// What was read is passed on after this time.
    Latency(Duration),
    /// One byte is passed on in each such interval.
    Drip(Duration),
    /// Nothing is read any more and nothing is said: connections stay open and silent, new ones too.
    Silence,
    /// New connections are reset.
    Reset,
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Before the request: the server never sees it.
    Request,
    /// After it: the server has carried it out, and its answer is thrown away.
    Answer,
}

#[derive(Debug)]
struct Shared {
    /// Where new connections lead.
    target: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    /// What a request has to contain for its connection to be cut, and where.
    cut: Mutex<Option<(Vec<u8>, Cut)>>,
    cuts: AtomicU64,
    /// Connections of an older generation are to be reset.
    generation: AtomicU64,
    /// So many connections, the first ones accepted, are silent for ever.
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

    /// Where to cut because of this request, if at all.
    fn cut_because_of(&self, request: &[u8]) -> Option<Cut> {
        let mut armed = self.cut();
        let (text, cut) = armed.as_ref()?;
        let mut parts = request.windows(text.len().max(1));
        let cut = parts.any(|part| part == text).then_some(*cut)?;
        *armed = None;
        Some(cut)
    }

    fn fault(&self) -> MutexGuard<'_, Fault> {
        // A plain value: a thread that died holding the lock left it whole.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running proxy; dropped, it resets what is open and stops listening.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy on a free port in front of `target`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when no port can be listened on.
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

    /// A proxy in front of a server of this machine.
    ///
    /// # Errors
    ///
    /// As [`Proxy::start`].
    pub fn to_port(port: u16) -> Result<Self, Error> {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The port on 127.0.0.1 to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the behaviour, from now on and for all connections.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault() = fault;
    }

    /// Resets every open connection: the client sees `ECONNRESET`, not an orderly end.
    pub fn reset_all(&self) {
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Leads connections that come elsewhere, as a name or an address does that has moved. Open ones stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        *self.shared.target() = target;
    }

    /// Has every open connection fall silent for ever, as when something on the way has forgotten it: it stays open, and
    /// nothing passes. New ones are served.
    pub fn strand_all(&self) {
        let accepted = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.stranded.store(accepted, Ordering::SeqCst);
    }

    /// Cuts the connection of the next request that contains `text`: only that one, and once. A request of more than some
    /// kilobytes may be overlooked.
    pub fn cut_at(&self, text: &str, cut: Cut) {
        *self.shared.cut() = Some((text.as_bytes().to_vec(), cut));
    }

    /// How many connections have been cut by [`Proxy::cut_at`].
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// How many connections have been accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.reset_all();
        // Wakes the accepting thread, which then sees that it is over.
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

/// One connection, until either side ends it or it is to be reset.
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
    let outcome = TcpStream::connect(target).and_then(|server| {
        thread::scope(|scope| {
            let back = scope.spawn(|| pass(&server, client, shared, wanted, silent, answer));
            let there = pass(client, &server, shared, wanted, silent, request);
            let back = back.join().unwrap_or_else(|_| Err(broken()));
            there.and(back)
        })
    });
    if outcome.is_err() {
        reset(client);
    }
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

/// Passes on what comes from one side until its end. `look` sees it first.
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
    // The other direction may go on: one side has said all it had to say.
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

/// Closes with a reset: no time to linger means that what is unsent is thrown away and the other side told so.
fn reset(stream: &TcpStream) {
    // Failing means that the connection is gone, which is what was wanted.
    let _gone = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}
