//! The bytes' way to the server: TCP, TLS over TCP, or a unix socket.
//!
//! Done here and not by redis-rs, so that one deadline covers the look-up of the name, the connection and TLS, and so
//! that the blocking driver and this one share what TLS means.

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

use crate::endpoint::{Address, Endpoint};
use crate::error::TlsProblem;
use crate::tls;

/// Idle time before the kernel probes a connection. A doorbell hears nothing for hours; a peer that vanished without a
/// FIN must not keep it waiting (the safety claim notices sooner, but costs a connection).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time between two probes; after three without an answer the connection is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Time kept of the deadline to say that a handshake was not answered.
const SILENCE: Duration = Duration::from_millis(50);

/// One connected stream.
pub(super) enum Transport {
    Tcp(Plain),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Transport {
    /// Connects. The caller ends it at the deadline; here it decides how long each address of a name is tried.
    pub(super) async fn open(endpoint: &Endpoint, deadline: Instant) -> io::Result<Self> {
        let (host, port) = match endpoint.address() {
            Address::Unix(path) => return UnixStream::connect(path).await.map(Transport::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let stream = connect_to_one_of(&addresses, deadline).await?;
        // Scripts are written whole; waiting for more would only add 40 ms.
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let Some(options) = endpoint.tls() else {
            return Ok(Transport::Tcp(Plain {
                stream,
                heard: false,
            }));
        };
        let config = tls::client_config(options).map_err(io::Error::other)?;
        let name = tls::server_name(options, host).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // A server that expects plain text may say nothing: the time left is for what it could say.
        let shaken = timeout_at(deadline - SILENCE, connector.connect(name, stream)).await;
        let shaken = shaken.map_err(|_| io::Error::other(TlsProblem::Silent))?;
        Ok(Transport::Tls(Box::new(shaken.map_err(in_words)?)))
    }
}

/// An error of the handshake in words for a person.
fn in_words(error: io::Error) -> io::Error {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_tls {
        Some(of_tls) => io::Error::other(tls::explain(of_tls)),
        None => error,
    }
}

/// A stream without TLS.
pub(super) struct Plain {
    stream: TcpStream,
    /// Whether the server has said anything.
    heard: bool,
}

impl Plain {
    /// Reads. If the first bytes are an alert of TLS, the error says that the server speaks it.
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

/// Connects to the first address that answers. Each may take its share of the time that is left: one that swallows
/// everything does not hide those behind it.
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

    /// A listener nobody accepts at, and the connections that fill its backlog: the kernel swallows what comes then.
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
    async fn an_address_that_swallows_everything_does_not_hide_the_next() {
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
        let nobody = connect_to_one_of(&[], deadline).await.unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);
    }
}
