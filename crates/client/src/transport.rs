//! The byte stream to the server: TCP, TLS over TCP, or a unix socket.
//!
//! This module, and not redis-rs, opens connections to Redis. There are two reasons. One deadline covers
//! the lookup of the name, the connection and TLS; and both drivers use one implementation of TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::endpoint::{Address, TlsOptions};
use crate::error::TlsProblem;
use crate::tls;

/// Idle time before the kernel probes a connection. A worker that waits for pushes may receive
/// nothing for hours, so the kernel must detect a peer that vanished without a FIN.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time between two probes. The kernel drops the connection after three unanswered ones.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Time reserved before the deadline to report that the server did not answer the handshake.
const SILENCE: Duration = Duration::from_millis(50);

/// A connected stream.
pub(crate) enum Transport {
    Tcp(Plain),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Transport {
    /// Connects to the server.
    ///
    /// The caller enforces the deadline. This function uses it only to give each address of the host
    /// name a share of the time that is left.
    pub(crate) async fn open(
        address: &Address,
        tls: Option<&TlsOptions>,
        deadline: Instant,
    ) -> io::Result<Self> {
        let (host, port) = match address {
            Address::Unix(path) => return UnixStream::connect(path).await.map(Transport::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let stream = connect_to_one_of(&addresses, deadline).await?;
        // Each write is a whole command. If the kernel waited for more bytes, as it does by default
        // (Nagle's algorithm), it would only delay the command by up to 40 ms.
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let Some(options) = tls else {
            return Ok(Transport::Tcp(Plain {
                stream,
                heard: false,
            }));
        };
        let config = tls::client_config(options).map_err(io::Error::other)?;
        let name = tls::server_name(options, host).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // A server that expects plain text may stay silent. `SILENCE` leaves the time to report
        // that.
        let shaken = timeout_at(deadline - SILENCE, connector.connect(name, stream)).await;
        let shaken = shaken.map_err(|_| io::Error::other(TlsProblem::Silent))?;
        Ok(Transport::Tls(Box::new(shaken.map_err(in_words)?)))
    }
}

/// Replaces a TLS error of the handshake with an explanation for people.
fn in_words(error: io::Error) -> io::Error {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_tls {
        Some(of_tls) => io::Error::other(tls::explain(of_tls)),
        None => error,
    }
}

/// A TCP stream without TLS.
pub(crate) struct Plain {
    stream: TcpStream,
    /// `true` once the server has sent anything.
    heard: bool,
}

impl Plain {
    /// Reads. If the first bytes are a TLS alert, returns an error that says that the server speaks
    /// TLS.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        if !self.heard && !came.is_empty() {
            self.heard = true;
            if tls::is_alert(came) {
                return Poll::Ready(Err(io::Error::other(TlsProblem::Spoken)));
            }
        }
        read
    }
}

/// Connects to the first address that answers.
///
/// Each address gets an equal share of the time left. An address that never answers does not use up
/// the time of the next ones.
async fn connect_to_one_of(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "timed out while connecting"),
        }
    }
    Err(last)
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(plain) => plain.poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(plain) => Pin::new(&mut plain.stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(plain) => Pin::new(&mut plain.stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(plain) => Pin::new(&mut plain.stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Returns a listener that accepts nothing, with the connections that fill its backlog. The
    /// kernel ignores any further connection attempt.
    async fn black_hole() -> (Socket, SocketAddr, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..16 {
            let soon = Instant::now() + Duration::from_millis(200);
            match timeout_at(soon, TcpStream::connect(address)).await {
                Ok(stream) => waiting.push(stream.unwrap()),
                Err(_) => return (socket, address, waiting),
            }
        }
        panic!("the backlog has no end");
    }

    #[tokio::test]
    async fn an_address_that_never_answers_does_not_hide_the_next() {
        let (_socket, silent, _waiting) = black_hole().await;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let there = listener.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let addresses = [silent, silent, there];
        let connecting = connect_to_one_of(&addresses, deadline);
        let stream = timeout_at(deadline, connecting).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let none = connect_to_one_of(&[], deadline).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
