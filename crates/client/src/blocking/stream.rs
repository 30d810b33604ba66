//! An open stream to an endpoint: a socket, with or without TLS.
//!
//! Opening tries each address of the name within the deadline. Errors describe the failure for the
//! caller. The stream does not know what its bytes mean: a driver gives it an [`Inbox`] for what
//! the server sends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::poll::PollFlags;
use rustls::ClientConnection;

use super::not_open::NotOpen;
use super::resolve;
use super::socket::{Peek, Socket};
use super::spin::{self, Spin};
use super::wait::{SLICE, Wait};
use crate::endpoint::{Address, TlsOptions};
use crate::error::{ClientError, ConfigError, TlsProblem};
use crate::tls;

/// The most bytes that a TLS record can hold.
const RECORD: usize = 16 << 10;

/// A server to connect to, as its endpoint describes it.
pub(crate) trait Server {
    /// Returns the address to connect to.
    fn address(&self) -> &Address;

    /// Returns what tells the server from all others, without a login.
    fn place(&self) -> String {
        self.address().to_string()
    }

    /// Returns the TLS options if the connection uses TLS.
    fn tls(&self) -> Option<&TlsOptions>;

    /// Returns the URL with a masked password, for errors.
    fn display_url(&self) -> String;
}

/// The buffer for what a server sends.
pub(crate) trait Inbox {
    /// Returns room to read into, which is not empty.
    fn room(&mut self) -> &mut [u8];

    /// Notes that `count` more bytes were read into the room.
    fn filled(&mut self, count: usize);

    /// Returns `true` if more has arrived than the server may send while the client writes.
    fn is_overfull(&self) -> bool;
}

/// An open stream.
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    spin: Spin,
}

impl Stream {
    pub(crate) fn open(endpoint: &impl Server, wait: &mut Wait<'_>) -> Result<Self, NotOpen> {
        let socket = open_socket(endpoint, wait)?;
        let (Some(options), Address::Tcp { host, .. }) = (endpoint.tls(), endpoint.address())
        else {
            return Ok(Self {
                socket,
                tls: None,
                spin: Spin::default(),
            });
        };
        let never = |error: ConfigError| NotOpen::for_good(error.into());
        let name = tls::server_name(options, host).map_err(never)?;
        let config = tls::client_config(options).map_err(never)?;
        let session = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| NotOpen::for_good(refused(endpoint, error)))?;
        let mut stream = Self {
            socket,
            tls: Some(Box::new(session)),
            spin: Spin::default(),
        };
        stream.shake_hands(endpoint, wait)?;
        Ok(stream)
    }

    fn shake_hands(&mut self, endpoint: &impl Server, wait: &mut Wait<'_>) -> Result<(), NotOpen> {
        let Some(session) = &mut self.tls else {
            return Ok(());
        };
        let broken =
            |error: io::Error| NotOpen::for_now(refused(endpoint, format!("TLS: {error}")));
        let disagreed = |problem| ClientError::Tls {
            endpoint: endpoint.display_url(),
            problem,
        };
        // Whether the server has sent anything.
        let mut heard = false;
        while session.is_handshaking() {
            let events = if session.wants_write() {
                PollFlags::POLLOUT
            } else {
                PollFlags::POLLIN
            };
            let moved = if session.wants_write() {
                session.write_tls(&mut &self.socket)
            } else {
                session.read_tls(&mut &self.socket)
            };
            match moved {
                Ok(0) if events == PollFlags::POLLIN => {
                    return Err(broken(ErrorKind::UnexpectedEof.into()));
                }
                Ok(_) => {
                    heard |= events == PollFlags::POLLIN;
                    if let Err(error) = session.process_new_packets() {
                        // The alert tells the server the reason. If it cannot be sent, the server
                        // notices only the closed connection.
                        let _ = session.write_tls(&mut &self.socket);
                        return Err(NotOpen::for_good(disagreed(tls::explain(&error))));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let waited = self.socket.wait_for(events, wait, "the TLS handshake");
                    waited.map_err(|error| {
                        NotOpen::for_good(match error {
                            ClientError::Timeout { .. } if !heard => disagreed(TlsProblem::Silent),
                            error => error,
                        })
                    })?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// Sets whether a wait for an answer may look for it before it sleeps, see [`Spin`].
    pub(crate) fn spin(&mut self, on: bool) {
        self.spin.enable(on);
    }

    /// Sets whether small writes are gathered, see [`Socket::gather`].
    pub(crate) fn gather(&self, on: bool) {
        self.socket.gather(on);
    }

    /// Writes all of `bytes` and counts in `sent` the bytes that may have been sent. It reads
    /// meanwhile, so that two full buffers never wait for each other.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        sent: &mut u64,
        inbox: &mut impl Inbox,
        wait: &mut Wait<'_>,
    ) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = match &mut self.tls {
                None => self.socket.send(rest),
                Some(session) => session.writer().write(&rest[..rest.len().min(RECORD)]),
            };
            match step {
                Ok(count) => {
                    *sent += count as u64;
                    rest = &rest[count..];
                    self.push(inbox, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_while_writing(inbox, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => wait.check()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends the bytes that TLS has encrypted.
    fn push(&mut self, inbox: &mut impl Inbox, wait: &mut Wait<'_>) -> Result<(), Broken> {
        while let Some(session) = self.tls.as_mut().filter(|session| session.wants_write()) {
            match session.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_while_writing(inbox, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => wait.check()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait_while_writing(
        &mut self,
        inbox: &mut impl Inbox,
        wait: &mut Wait<'_>,
    ) -> Result<(), Broken> {
        let events =
            self.socket
                .wait_for(PollFlags::POLLOUT | PollFlags::POLLIN, wait, "writing")?;
        if events.contains(PollFlags::POLLIN) {
            self.read_available(inbox)?;
            if inbox.is_overfull() {
                return Err(Broken::Lost("more answers than commands".to_owned()));
            }
        }
        Ok(())
    }

    /// Reads at least one byte of an answer that is expected soon. It may look for the answer before
    /// it sleeps.
    pub(crate) fn read_soon(
        &mut self,
        inbox: &mut impl Inbox,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<(), Broken> {
        let start = Instant::now();
        if self.spin.tries() && wait.slice(what)? > spin::LONGEST {
            let found = self.look(start, inbox)?;
            self.spin.tried(found);
            if found {
                return Ok(());
            }
        }
        self.read(inbox, wait, what)?;
        self.spin.slept(start, Instant::now());
        Ok(())
    }

    /// Looks for bytes again and again for a moment. Returns `true` if there were some.
    fn look(&mut self, start: Instant, inbox: &mut impl Inbox) -> Result<bool, Broken> {
        loop {
            if self.read_available(inbox)? > 0 {
                return Ok(true);
            }
            if start.elapsed() >= spin::LONGEST {
                return Ok(false);
            }
            // Without this, a server on the same processor could not answer.
            std::thread::yield_now();
        }
    }

    /// Reads at least one byte.
    pub(crate) fn read(
        &mut self,
        inbox: &mut impl Inbox,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<(), Broken> {
        loop {
            // Without TLS, and with at least a slice of time left, the system call itself can wait.
            let slice = wait.slice(what)?;
            let got = if self.tls.is_none() && slice == SLICE {
                self.socket.receive_waiting(inbox.room())
            } else {
                match self.read_available(inbox)? {
                    0 => self.socket.wait_for(PollFlags::POLLIN, wait, what)?,
                    _ => return Ok(()),
                };
                continue;
            };
            match got {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    inbox.filled(count);
                    return Ok(());
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    wait.check()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what a single call returns, perhaps nothing. The end of the stream is an error.
    pub(crate) fn read_available(&mut self, inbox: &mut impl Inbox) -> Result<usize, Broken> {
        loop {
            let got = match &mut self.tls {
                None => self.socket.receive(inbox.room()),
                Some(session) => read_tls(session, &self.socket, inbox.room()),
            };
            match got {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    inbox.filled(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes the end of the connection a reset: bytes that the other end has not read are lost.
    pub(crate) fn reset_on_drop(&self) {
        self.socket.reset_on_drop();
    }

    /// Looks at the connection without consuming bytes.
    pub(crate) fn peek(&self) -> Peek {
        self.socket.peek()
    }

    /// Returns `true` if the stream uses TLS. Then bytes may arrive that are not answers.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Returns decrypted bytes, or `WouldBlock` once the socket has no more.
fn read_tls(
    session: &mut ClientConnection,
    mut socket: &Socket,
    room: &mut [u8],
) -> io::Result<usize> {
    loop {
        match session.reader().read(room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other,
        }
        session.read_tls(&mut socket)?;
        session.process_new_packets().map_err(io::Error::other)?;
    }
}

/// The reason why an open stream cannot be used any longer.
pub(crate) enum Broken {
    /// The stream itself broke.
    Lost(String),
    /// The two ends disagree about TLS. A server may report that only after the handshake.
    Tls(TlsProblem),
    /// The wait ended.
    Ended(ClientError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
        match of_tls.map(tls::explain) {
            Some(problem @ TlsProblem::ClientCertificate) => Self::Tls(problem),
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Self::Ended(error)
    }
}

fn closed() -> Broken {
    Broken::Lost("the server closed it".to_owned())
}

fn open_socket(endpoint: &impl Server, wait: &mut Wait<'_>) -> Result<Socket, NotOpen> {
    let system = |error: io::Error| NotOpen::for_now(refused(endpoint, &error)).caused_by(&error);
    let (host, port) = match endpoint.address() {
        Address::Unix(path) => {
            let opened = Socket::unix(path, wait).map_err(NotOpen::for_good)?;
            return opened.map_err(system);
        }
        Address::Tcp { host, port } => (host, *port),
    };
    let addresses = match resolve::addresses(host, wait).map_err(NotOpen::for_good)? {
        Ok(addresses) => addresses,
        Err(error) => {
            // A resolver that cannot open a file reports the name as unknown, so the real cause is
            // checked here.
            let error = Socket::cannot_be_made().unwrap_or(error);
            return Err(NotOpen::for_good(refused(endpoint, &error)).caused_by(&error));
        }
    };
    let opened = first_that_connects(&addresses, port, wait).map_err(|error| {
        resolve::forget(host);
        NotOpen::for_good(error)
    })?;
    opened.map_err(|error| {
        resolve::forget(host);
        system(error)
    })
}

/// Connects to the first address that answers.
///
/// Each address gets an equal share of the time left. An address that never answers does not use up
/// the time of the next ones.
fn first_that_connects(
    addresses: &[IpAddr],
    port: u16,
    wait: &mut Wait<'_>,
) -> Result<io::Result<Socket>, ClientError> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = wait.deadline().remaining() / left;
        match Socket::tcp(*address, port, &mut wait.within(share)) {
            Ok(Ok(socket)) => return Ok(Ok(socket)),
            Ok(Err(error)) => last = error,
            Err(ClientError::Timeout { .. }) if left > 1 => last = ErrorKind::TimedOut.into(),
            Err(ended) => return Err(ended),
        }
    }
    Ok(Err(last))
}

fn refused(endpoint: &impl Server, reason: impl ToString) -> ClientError {
    ClientError::Connect {
        endpoint: endpoint.display_url(),
        reason: reason.to_string(),
    }
}
