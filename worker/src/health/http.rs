//! Serves three pages over HTTP/1: `/healthz`, `/readyz`, `/metrics`.
//!
//! The clients are probes and a nearby Prometheus server, so everything is small and bounded. There
//! are few connections, each with one request and one deadline, and no body is read. There is
//! neither TLS nor a password, so the default address is on loopback.
//!
//! A new connection is always accepted at once. If that is one too many, the oldest open connection
//! is closed. A probe takes milliseconds, so the oldest is a client that does not send or does not
//! read. Slow clients therefore cannot delay a probe, however many they are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::Vitals;

/// The most connections at once. One more takes the place of the oldest.
const CONNECTIONS: usize = 64;
/// The longest time that a connection may be open. A Prometheus server waits 10 s for an answer by
/// default.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of a request's line and headers. It is the least that hyper allows.
const LARGEST: usize = 8192;
const HEADERS: usize = 32;
/// The wait before `accept` is tried again after it failed, usually because no file descriptor is
/// left.
const PAUSE: Duration = Duration::from_millis(100);

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at an address. Port 0 means any free port; the returned address names it.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers requests until the process ends.
pub(crate) async fn serve(listener: TcpListener, vitals: Arc<Vitals>) {
    let mut places = Places::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("a connection for metrics was not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let vitals = Arc::clone(&vitals);
        let answered = tokio::spawn(async move {
            let _ = tokio::time::timeout(DEADLINE, connection(stream, vitals)).await;
        });
        places.take(answered.abort_handle());
    }
}

/// The open connections, oldest first; at most [`CONNECTIONS`].
#[derive(Default)]
struct Places {
    open: VecDeque<AbortHandle>,
}

impl Places {
    /// Adds a connection. Closes the oldest if there are too many.
    fn take(&mut self, connection: AbortHandle) {
        self.open.push_back(connection);
        if self.open.len() <= CONNECTIONS {
            return;
        }
        self.open.retain(|connection| !connection.is_finished());
        if self.open.len() > CONNECTIONS
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.abort();
        }
    }
}

async fn connection(stream: TcpStream, vitals: Arc<Vitals>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let vitals = Arc::clone(&vitals);
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &vitals).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LARGEST)
        .max_headers(HEADERS)
        // The deadline for the whole connection is enough.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!("a request for metrics failed: {error}");
    }
}

async fn answer(method: &Method, path: &str, vitals: &Vitals) -> Response<Full<Bytes>> {
    let (status, kind, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            let text = "only GET and HEAD\n".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, text)
        }
        "/healthz" => {
            let complaints = vitals.health();
            (
                status(complaints.none()),
                PLAIN,
                format!("{complaints}{}", vitals.notes()),
            )
        }
        "/readyz" => {
            let complaints = vitals.readiness().await;
            (
                status(complaints.none()),
                PLAIN,
                format!("{complaints}{}", vitals.notes()),
            )
        }
        "/metrics" => (StatusCode::OK, OPEN_METRICS, vitals.metrics()),
        _ => {
            let text = "/healthz, /readyz or /metrics\n".to_owned();
            (StatusCode::NOT_FOUND, PLAIN, text)
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn status(well: bool) -> StatusCode {
    if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
