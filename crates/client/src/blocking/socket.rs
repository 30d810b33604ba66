//! Bytes to and from a server, never waiting longer than a slice of a [`Wait`].
//!
//! Sending and receiving never block. Only [`Socket::receive_waiting`] does, in the system's `recv` itself, which wakes
//! up after one slice (`SO_RCVTIMEO`) and after every signal: for the one answer to the one command, which is most of
//! what happens here, that is one system call instead of a failed `recv`, a `poll` and another `recv`.

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

/// The pause before a unix socket with a full backlog is tried again: the kernel offers nothing to wait for.
const FULL_BACKLOG: Duration = Duration::from_millis(5);

/// What a look at a resting connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// Nothing to read, as it should be.
    Quiet,
    /// Something to read.
    Data,
    /// The other end is gone.
    Closed,
}

/// A connected stream.
pub(super) struct Socket(RawSocket);

impl Socket {
    /// Connects to an address. The outer error ends the call, the inner one is the system's about this address.
    pub(super) fn tcp(
        address: IpAddr,
        port: u16,
        wait: &mut Wait<'_>,
    ) -> Result<io::Result<Self>, ClientError> {
        let address = SocketAddr::new(address, port);
        let started = RawSocket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )
        // A post is one small write, and must leave at once.
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

    /// Connects to a unix socket; errors as in [`tcp`](Self::tcp).
    pub(super) fn unix(path: &Path, wait: &mut Wait<'_>) -> Result<io::Result<Self>, ClientError> {
        let opened = SockAddr::unix(path).and_then(|address| {
            Ok((
                address,
                RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?,
            ))
        });
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

    /// Why this process can make no socket, if it cannot: mostly, it has no file descriptor left.
    pub(super) fn cannot_be_made() -> Option<io::Error> {
        RawSocket::new(Domain::UNIX, Type::STREAM.cloexec(), None).err()
    }

    /// From here on, what must not block says so at each call.
    fn blocking_by_slices(self) -> io::Result<Self> {
        self.0.set_read_timeout(Some(SLICE))?;
        self.0.set_nonblocking(false)?;
        Ok(self)
    }

    /// Sends what can be sent at once.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // Without a signal: a closed connection is an error here, not the end of the process.
        Ok(send(
            self.0.as_raw_fd(),
            bytes,
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        )?)
    }

    /// Whether small writes are gathered while earlier ones are under way (Nagle's algorithm); what was gathered leaves
    /// when this is switched off. Unix sockets gather nothing.
    pub(super) fn gather(&self, on: bool) {
        // A refusal changes only the speed.
        let _ = self.0.set_tcp_nodelay(!on);
    }

    /// Receives what is there; 0 at the end of the stream.
    pub(super) fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT)?)
    }

    /// Receives what comes within a slice; `WouldBlock` if nothing does, `Interrupted` after a signal.
    pub(super) fn receive_waiting(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), room, MsgFlags::empty())?)
    }

    /// Looks at the connection without taking anything.
    pub(super) fn peek(&self) -> Peek {
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
    pub(super) fn wait_for(
        &self,
        events: PollFlags,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<PollFlags, ClientError> {
        wait.for_fd(self.0.as_fd(), events, what)
    }
}

/// For rustls, which reads and writes through the standard traits.
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
