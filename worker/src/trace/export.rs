//! The exporter: sends spans to a collector by OTLP over HTTP, in batches.
//!
//! It is not a role of the consumer, and its state is not part of the worker's health: a collector
//! that is away costs spans, never tasks. The log says once when it goes and once when it is back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use celery_client::backoff::Backoff;
use celery_client::endpoint::TlsOptions;
use celery_client::error::TlsProblem;
use celery_client::tls;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::buffer::{Inner, Traces};
use super::options::Options;
use super::wire;
use crate::printable::one_line;

/// How long the first span of a batch waits for others: long enough for few requests, and short
/// enough that a person sees a trace soon after its end.
const LINGER: Duration = Duration::from_secs(1);
/// The limit of one request: the default of OpenTelemetry's exporters.
const REQUEST: Duration = Duration::from_secs(10);
/// The waits between two tries of a batch.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that are read: it says little.
const ANSWER: usize = 64 << 10;

/// Sends spans until `end` is dropped. Then sends those that wait, with one try each.
pub(crate) async fn serve(traces: Traces, options: Options, mut end: oneshot::Receiver<()>) {
    let Some(inner) = traces.0 else { return };
    let mut exporter = match Exporter::new(Arc::clone(&inner), options) {
        Ok(exporter) => exporter,
        Err(error) => return tracing::error!("no spans are sent: {error}"),
    };
    let mut ended = false;
    while !ended {
        tokio::select! {
            biased;
            _ = &mut end => ended = true,
            () = inner.news.notified() => {
                tokio::select! {
                    biased;
                    _ = &mut end => ended = true,
                    () = inner.full.notified() => {}
                    () = sleep(LINGER) => {}
                }
            }
        }
        loop {
            let spans = inner.take();
            if spans.is_empty() {
                break;
            }
            if !exporter.send(&spans, &mut end, &mut ended).await {
                inner.dropped.inc_by(spans.len() as u64);
            }
        }
    }
}

struct Exporter {
    inner: Arc<Inner>,
    options: Options,
    tls: TlsOptions,
    headers: HeaderMap,
    resource: Vec<u8>,
    link: Option<SendRequest<Full<Bytes>>>,
    /// `true` since the log has said that spans are not taken.
    is_away: bool,
}

/// What became of a request.
enum Answer {
    Taken,
    /// Another try may help.
    Away(String),
    /// The collector will never take these spans.
    Refused(String),
}

impl Exporter {
    fn new(inner: Arc<Inner>, options: Options) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|_| format!("the value of the header {name} is not allowed"));
            headers.insert(name, value?);
            Ok::<_, String>(())
        };
        put(CONTENT_TYPE, "application/x-protobuf")?;
        put(HOST, &options.collector.authority())?;
        put(
            USER_AGENT,
            concat!("celery-worker/", env!("CARGO_PKG_VERSION")),
        )?;
        for (name, value) in &options.headers.0 {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("{name:?} is not the name of a header"))?;
            put(name, value)?;
        }
        let own = [
            ("service.name", options.service.clone()),
            ("service.instance.id", options.node.clone()),
            ("telemetry.sdk.language", "rust".to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let mut attributes = options.resource.0.clone();
        for (name, value) in own {
            let given = attributes.iter().any(|(given, _)| *given == name);
            if !given {
                attributes.push((name, value));
            }
        }
        let mut tls = TlsOptions::default();
        tls.ca_file.clone_from(&options.certificate);
        if options.collector.is_tls {
            tls::client_config(&tls).map_err(|error| error.to_string())?;
        }
        Ok(Exporter {
            inner,
            tls,
            resource: wire::resource(&attributes),
            options,
            headers,
            link: None,
            is_away: false,
        })
    }

    /// Sends spans, again and again while the collector is away. Once `ended`, it tries only once.
    /// Returns `false` if they are lost.
    async fn send(
        &mut self,
        spans: &[Vec<u8>],
        end: &mut oneshot::Receiver<()>,
        ended: &mut bool,
    ) -> bool {
        let body = Bytes::from(wire::request(&self.resource, spans));
        let mut backoff = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let asked = timeout(REQUEST, self.request(body.clone())).await;
            let answer = asked.unwrap_or_else(|_| {
                self.link = None;
                Answer::Away(format!("no answer within {} s", REQUEST.as_secs()))
            });
            match answer {
                Answer::Taken => {
                    self.is_back();
                    return true;
                }
                Answer::Refused(why) => {
                    self.is_gone(&why);
                    return false;
                }
                Answer::Away(why) => self.is_gone(&why),
            }
            if *ended {
                return false;
            }
            tokio::select! {
                biased;
                _ = &mut *end => *ended = true,
                () = sleep(backoff.pause()) => {}
            }
        }
    }

    async fn request(&mut self, body: Bytes) -> Answer {
        // The collector may have closed the last connection meanwhile.
        let mut open = self.link.take();
        let is_open = match &mut open {
            Some(link) => link.ready().await.is_ok(),
            None => false,
        };
        let mut link = match open.filter(|_| is_open) {
            Some(link) => link,
            None => match self.connect().await {
                Ok(link) => link,
                Err(error) => return Answer::Away(error.to_string()),
            },
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        match self.options.collector.path.parse() {
            Ok(path) => *request.uri_mut() = path,
            Err(_) => return Answer::Refused("the path of its URL is not allowed".to_owned()),
        }
        *request.headers_mut() = self.headers.clone();
        let response = match link.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::Away(error.to_string()),
        };
        let status = response.status();
        let text = Limited::new(response.into_body(), ANSWER).collect().await;
        if text.is_ok() {
            self.link = Some(link);
        }
        match status {
            status if status.is_success() => Answer::Taken,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Answer::Away(format!("it answers {status}")),
            status => Answer::Refused(format!("it answers {status}")),
        }
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let collector = &self.options.collector;
        let host = collector.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, collector.port)).await?;
        stream.set_nodelay(true)?;
        if !collector.is_tls {
            return handshake(stream).await;
        }
        let config = tls::client_config(&self.tls).map_err(io::Error::other)?;
        let name = tls::server_name(&self.tls, host).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await;
        handshake(stream.map_err(|error| io::Error::other(disagreement(error)))?).await
    }

    fn is_gone(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(
                "{} takes no spans: {}. The tasks go on; spans wait in memory, and are dropped when it is full",
                self.options.collector,
                one_line(why)
            );
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            let dropped = self.inner.dropped.get();
            tracing::info!(
                "{} takes spans again; {dropped} were dropped since the start",
                self.options.collector
            );
        }
    }
}

/// Explains to a person why a handshake failed, and what to change.
fn disagreement(error: io::Error) -> String {
    let of_tls = error.get_ref().and_then(|it| it.downcast_ref());
    match of_tls.map(tls::explain) {
        None => error.to_string(),
        Some(TlsProblem::UnknownAuthority(text)) => format!(
            "its certificate is not signed by a trusted authority ({text}): name the authority's file \
             with OTEL_EXPORTER_OTLP_CERTIFICATE"
        ),
        Some(TlsProblem::NotSpoken) => {
            "it does not speak TLS on this port: use http:// in its URL".to_owned()
        }
        Some(other) => other.to_string(),
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (link, connection) = made.map_err(io::Error::other)?;
    // It ends with the link, or with the collector.
    tokio::spawn(connection);
    Ok(link)
}
