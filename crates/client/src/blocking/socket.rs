//! Bytes to and from a server, with waits no longer than a slice of a [`Wait`].
//!
//! Sending and receiving never block, except [`Socket::receive_waiting`]. It blocks in the system's
//! `recv`, which returns after one slice (`SO_RCVTIMEO`) and after every signal. Most calls send
//! one command and wait for one answer. For them this is one system call instead of three: a failed
//! `recv`, a `poll` and another `recv`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::wait::{SLICE, Wait};
use crate::error::ClientError;

/// The pause before another attempt to connect to a unix socket with a full backlog. The kernel
/// offers no event to wait for.
const FULL_BACKLOG: Duration = Duration::from_millis(5);

/// How bytes are sent. `MSG_NOSIGNAL` turns the signal for a closed connection into an error, so that
/// the process survives. macOS has a socket option for that, which socket2 sets.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_DONTWAIT);
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// The result of a look at an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peek {
    /// There is nothing to read, as expected.
    Quiet,
    /// There is something to read.
    Data,
    /// The other end has closed the connection.
    Closed,
}

/// Returns a new socket whose calls do not block. A program that this process starts does not
/// inherit it.
fn new_socket(domain: Domain, protocol: Option<Protocol>) -> io::Result<RawSocket> {
    let socket = RawSocket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A connected socket.
pub(crate) struct Socket(RawSocket);

impl Socket {
    /// Connects to an address. The outer error ends the call, the inner one is the system's error
    /// for this address.
    pub(crate) fn tcp(
        address: IpAddr,
        port: u16,
        wait: &mut Wait<'_>,
    ) -> Result<io::Result<Self>, ClientError> {
        let address = SocketAddr::new(address, port);
        let started = new_socket(Domain::for_address(address), Some(Protocol::TCP))
        // A post is one small write and must be sent at once.
        .and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket))
        .and_then(|socket| match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        });
        let socket = match started {
            Ok(socket) => Self(socket),
            Err(error) => return Ok(Err(error)),
        };
        socket.wait_for(PollFlags::POLLOUT, wait, "connecting")?;
        Ok(match socket.0.take_error() {
            Ok(None) => socket.blocking_by_slices(),
            Ok(Some(error)) | Err(error) => Err(error),
        })
    }

    /// Connects to a unix socket. The errors are those of [`tcp`](Self::tcp).
    pub(crate) fn unix(path: &Path, wait: &mut Wait<'_>) -> Result<io::Result<Self>, ClientError> {
        let opened =
            SockAddr::unix(path).and_then(|address| Ok((address, new_socket(Domain::UNIX, None)?)));
        let (address, socket) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(Self(socket).blocking_by_slices()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait.pause(FULL_BACKLOG, "connecting")?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => wait.check()?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Returns the reason why this process cannot create a socket, if it cannot. Mostly, it has no
    /// file descriptor left.
    pub(crate) fn cannot_be_made() -> Option<io::Error> {
        new_socket(Domain::UNIX, None).err()
    }

    /// Makes the socket blocking, with reads of one slice. Calls that must not block say so
    /// themselves from now on.
    fn blocking_by_slices(self) -> io::Result<Self> {
        self.0.set_read_timeout(Some(SLICE))?;
        self.0.set_nonblocking(false)?;
        Ok(self)
    }

    /// Sends as many bytes as the system takes at once.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), bytes, SEND_FLAGS)?)
    }

    /// Sets whether small writes are gathered while earlier ones are in flight (Nagle's algorithm).
    /// Switching it off sends the gathered bytes. Unix sockets do not gather.
    pub(crate) fn gather(&self, on: bool) {
        // A failure changes only the speed.
        let _ = self.0.set_tcp_nodelay(!on);
    }

    /// Receives the bytes that have arrived; 0 at the end of the stream.
    pub(crate) fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT)?)
    }

    /// Receives the bytes that arrive within a slice. Fails with `WouldBlock` if none do, and with
    /// `Interrupted` after a signal.
    pub(crate) fn receive_waiting(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), room, MsgFlags::empty())?)
    }

    /// Makes the end of the connection a reset: bytes that the other end has not read are lost.
    pub(crate) fn reset_on_drop(&self) {
        // After a failure, the connection ends in the usual way.
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }

    /// Looks at the connection without consuming bytes.
    pub(crate) fn peek(&self) -> Peek {
        match recv(
            self.0.as_raw_fd(),
            &mut [0],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) => Peek::Closed,
            Ok(_) => Peek::Data,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Peek::Quiet,
            Err(_) => Peek::Closed,
        }
    }

    /// Sleeps until one of `events` is true.
    pub(crate) fn wait_for(
        &self,
        events: PollFlags,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<PollFlags, ClientError> {
        wait.for_fd(self.0.as_fd(), events, what)
    }
}

/// Lets rustls read and write through the standard traits.
impl io::Read for &Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.receive(room)
    }
}

impl io::Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
