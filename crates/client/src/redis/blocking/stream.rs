//! An open stream to an endpoint: a socket, with or without TLS.
//!
//! Opening tries each address of the name within the deadline. Errors describe the failure for the
//! caller. The stream does not know what its bytes mean.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::poll::PollFlags;
use rustls::ClientConnection;

use super::reply::ReplyReader;
use crate::blocking::resolve;
use crate::blocking::socket::{Peek, Socket};
use crate::blocking::spin::{self, Spin};
use crate::blocking::wait::{SLICE, Wait};
use crate::endpoint::Address;
use crate::error::{ClientError, TlsProblem};
use crate::redis::RedisEndpoint;
use crate::tls;

/// The most bytes that a TLS record can hold.
const RECORD: usize = 16 << 10;

/// The reason why a stream could not be opened.
pub(super) struct NotOpen {
    pub(super) error: ClientError,
    /// Whether another attempt may succeed a moment later.
    pub(super) again: bool,
}

/// An open stream.
pub(super) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    spin: Spin,
}

impl Stream {
    pub(super) fn open(endpoint: &RedisEndpoint, wait: &mut Wait<'_>) -> Result<Self, NotOpen> {
        let socket = open_socket(endpoint, wait)?;
        let (Some(options), Address::Tcp { host, .. }) = (endpoint.tls(), endpoint.address())
        else {
            return Ok(Self {
                socket,
                tls: None,
                spin: Spin::default(),
            });
        };
        let never = |error: ClientError| NotOpen {
            error,
            again: false,
        };
        let name = tls::server_name(options, host).map_err(|error| never(error.into()))?;
        let config = tls::client_config(options).map_err(|error| never(error.into()))?;
        let session = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| never(refused(endpoint, error)))?;
        let mut stream = Self {
            socket,
            tls: Some(Box::new(session)),
            spin: Spin::default(),
        };
        stream.shake_hands(endpoint, wait)?;
        Ok(stream)
    }

    fn shake_hands(
        &mut self,
        endpoint: &RedisEndpoint,
        wait: &mut Wait<'_>,
    ) -> Result<(), NotOpen> {
        let Some(session) = &mut self.tls else {
            return Ok(());
        };
        let broken = |error: io::Error| NotOpen {
            error: refused(endpoint, format!("TLS: {error}")),
            again: true,
        };
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
                        return Err(NotOpen {
                            error: disagreed(tls::explain(&error)),
                            again: false,
                        });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let waited = self.socket.wait_for(events, wait, "the TLS handshake");
                    waited.map_err(|error| NotOpen {
                        error: match error {
                            ClientError::Timeout { .. } if !heard => disagreed(TlsProblem::Silent),
                            error => error,
                        },
                        again: false,
                    })?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// Sets whether a wait for an answer may look for it before it sleeps, see [`Spin`].
    pub(super) fn spin(&mut self, on: bool) {
        self.spin.enable(on);
    }

    /// Sets whether small writes are gathered, see [`Socket::gather`].
    pub(super) fn gather(&self, on: bool) {
        self.socket.gather(on);
    }

    /// Writes all of `bytes` and counts in `sent` the bytes that may have been sent. It reads
    /// meanwhile, so that two full buffers never wait for each other.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        sent: &mut u64,
        replies: &mut ReplyReader,
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
                    self.push(replies, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_while_writing(replies, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => wait.check()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends the bytes that TLS has encrypted.
    fn push(&mut self, replies: &mut ReplyReader, wait: &mut Wait<'_>) -> Result<(), Broken> {
        while let Some(session) = self.tls.as_mut().filter(|session| session.wants_write()) {
            match session.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_while_writing(replies, wait)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => wait.check()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait_while_writing(
        &mut self,
        replies: &mut ReplyReader,
        wait: &mut Wait<'_>,
    ) -> Result<(), Broken> {
        let events =
            self.socket
                .wait_for(PollFlags::POLLOUT | PollFlags::POLLIN, wait, "writing")?;
        if events.contains(PollFlags::POLLIN) {
            self.read_available(replies)?;
            if replies.is_overfull() {
                return Err(Broken::Lost("more answers than commands".to_owned()));
            }
        }
        Ok(())
    }

    /// Reads at least one byte of an answer that is expected soon. It may look for the answer before
    /// it sleeps.
    pub(super) fn read_soon(
        &mut self,
        replies: &mut ReplyReader,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<(), Broken> {
        let start = Instant::now();
        if self.spin.tries() && wait.slice(what)? > spin::LONGEST {
            let found = self.look(start, replies)?;
            self.spin.tried(found);
            if found {
                return Ok(());
            }
        }
        self.read(replies, wait, what)?;
        self.spin.slept(start, Instant::now());
        Ok(())
    }

    /// Looks for bytes again and again for a moment. Returns `true` if there were some.
    fn look(&mut self, start: Instant, replies: &mut ReplyReader) -> Result<bool, Broken> {
        loop {
            if self.read_available(replies)? > 0 {
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
    pub(super) fn read(
        &mut self,
        replies: &mut ReplyReader,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<(), Broken> {
        loop {
            // Without TLS, and with at least a slice of time left, the system call itself can wait.
            let slice = wait.slice(what)?;
            let got = if self.tls.is_none() && slice == SLICE {
                self.socket.receive_waiting(replies.room())
            } else {
                match self.read_available(replies)? {
                    0 => self.socket.wait_for(PollFlags::POLLIN, wait, what)?,
                    _ => return Ok(()),
                };
                continue;
            };
            match got {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    replies.filled(count);
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
    pub(super) fn read_available(&mut self, replies: &mut ReplyReader) -> Result<usize, Broken> {
        loop {
            let got = match &mut self.tls {
                None => self.socket.receive(replies.room()),
                Some(session) => read_tls(session, &self.socket, replies.room()),
            };
            match got {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    replies.filled(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks at the connection without consuming bytes.
    pub(super) fn peek(&self) -> Peek {
        self.socket.peek()
    }

    /// Returns `true` if the stream uses TLS. Then bytes may arrive that are not answers.
    pub(super) fn is_tls(&self) -> bool {
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
pub(super) enum Broken {
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

fn open_socket(endpoint: &RedisEndpoint, wait: &mut Wait<'_>) -> Result<Socket, NotOpen> {
    let ended = |error| NotOpen {
        error,
        again: false,
    };
    let (host, port) = match endpoint.address() {
        Address::Unix(path) => {
            let opened = Socket::unix(path, wait).map_err(ended)?;
            return opened.map_err(|error| NotOpen {
                error: refused(endpoint, error),
                again: true,
            });
        }
        Address::Tcp { host, port } => (host, *port),
    };
    let addresses = match resolve::addresses(host, wait).map_err(ended)? {
        Ok(addresses) => addresses,
        Err(error) => {
            // A resolver that cannot open a file reports the name as unknown, so the real cause is
            // checked here.
            let error = Socket::cannot_be_made().unwrap_or(error);
            return Err(NotOpen {
                error: refused(endpoint, error),
                again: false,
            });
        }
    };
    let opened = first_that_connects(&addresses, port, wait).map_err(|error| {
        resolve::forget(host);
        ended(error)
    })?;
    opened.map_err(|error| {
        resolve::forget(host);
        NotOpen {
            error: refused(endpoint, error),
            again: true,
        }
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

fn refused(endpoint: &RedisEndpoint, reason: impl ToString) -> ClientError {
    ClientError::Connect {
        endpoint: endpoint.display_url(),
        reason: reason.to_string(),
    }
}
