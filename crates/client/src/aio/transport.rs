//! The bytes' way to the server: TCP, TLS over TCP, or a unix socket.
//!
//! Done here and not by redis-rs, so that one deadline covers the look-up of the name, the connection and TLS, and so
//! that the blocking driver and this one share what TLS means.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{Address, Endpoint};
use crate::tls;

/// Idle time before the kernel probes a connection. A doorbell hears nothing for hours; a peer that vanished without a
/// FIN must not keep it waiting (the safety claim notices sooner, but costs a connection).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time between two probes; after three without an answer the connection is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// One connected stream.
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Transport {
    /// Connects. Bounded by the caller's deadline.
    pub(super) async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let (host, port) = match endpoint.address() {
            Address::Unix(path) => return UnixStream::connect(path).await.map(Transport::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        // Scripts are written whole; waiting for more would only add 40 ms.
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let Some(options) = endpoint.tls() else {
            return Ok(Transport::Tcp(stream));
        };
        let config = tls::client_config(options).map_err(io::Error::other)?;
        let name = tls::server_name(options, host).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Ok(Transport::Tls(Box::new(
            connector.connect(name, stream).await?,
        )))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
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
            Transport::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
