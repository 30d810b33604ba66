//! A collector of OpenTelemetry: takes spans by OTLP over HTTP and keeps them for tests.
//!
//! Requests are decoded with the types that the OpenTelemetry project publishes, so a test does not
//! compare an encoder with itself. `GET /spans` answers with the spans as JSON, for tests in other
//! languages.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

use crate::Error;

/// The most bytes of a request.
const LARGEST: usize = 16 << 20;

/// A collector on a port of its own. Its thread ends with the process.
#[derive(Debug)]
pub struct OtlpCollector {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    status: u16,
    spans: Vec<SeenSpan>,
    requests: Vec<BTreeMap<String, String>>,
}

/// A span as the collector got it. Ids are in hexadecimal digits; all values are texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenSpan {
    /// The id of the trace.
    pub trace: String,
    /// The id of the span.
    pub id: String,
    /// The id of the parent; empty for a root.
    pub parent: String,
    /// The `tracestate`.
    pub state: String,
    /// The name.
    pub name: String,
    /// `CLIENT`, `PRODUCER` or `CONSUMER`.
    pub kind: String,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of its exception.
    pub exception: BTreeMap<String, String>,
    /// The ids of the spans that it links to.
    pub links: Vec<String>,
    /// The text of the error, if it failed.
    pub error: Option<String>,
    /// The attributes of the resource.
    pub resource: BTreeMap<String, String>,
}

impl OtlpCollector {
    /// Starts a collector that takes everything.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if it cannot listen.
    pub fn start() -> Result<Self, Error> {
        let failed = |error| Error::Failed(format!("listening for OTLP: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let state = Arc::new(Mutex::new(State {
            status: 200,
            spans: Vec::new(),
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || {
                    // An error ends the connection, and the exporter reports it.
                    let _ = serve(&stream, &state);
                });
            }
        });
        Ok(OtlpCollector { port, state })
    }

    /// Returns the value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the status of the next answers. Spans are kept only with 200.
    pub fn answer(&self, status: u16) {
        self.lock().status = status;
    }

    /// Returns the spans that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.lock().spans.clone()
    }

    /// Returns the headers of the requests that came so far, with their answers: `:status`.
    #[must_use]
    pub fn requests(&self) -> Vec<BTreeMap<String, String>> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the requests of a connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length");
        let length: usize = length.and_then(|it| it.parse().ok()).unwrap_or(0);
        if length > LARGEST {
            return Err(io::Error::other("a request is too large"));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        // PHP reads an answer until the connection ends.
        let is_last = headers
            .get("connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let (status, body) = answer(&line, headers, &body, state);
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(&[head.as_bytes(), &body].concat())?;
        if is_last {
            return Ok(());
        }
    }
}

fn answer(
    line: &str,
    mut headers: BTreeMap<String, String>,
    body: &[u8],
    state: &Mutex<State>,
) -> (u16, Vec<u8>) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if line.starts_with("GET /spans ") {
        let spans: Vec<Value> = state.spans.iter().map(SeenSpan::json).collect();
        return (200, Value::from(spans).to_string().into_bytes());
    }
    let mut status = state.status;
    if !line.starts_with("POST /v1/traces ") {
        status = 404;
    } else if status == 200 {
        match ExportTraceServiceRequest::decode(body) {
            Ok(request) => state.spans.extend(seen(request)),
            Err(_) => status = 400,
        }
    }
    headers.insert(":status".to_owned(), status.to_string());
    state.requests.push(headers);
    (status, Vec::new())
}

fn seen(request: ExportTraceServiceRequest) -> Vec<SeenSpan> {
    let mut seen = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let resource = texts(&resource.attributes);
        let spans = of_resource.scope_spans.into_iter();
        for span in spans.flat_map(|scope| scope.spans) {
            seen.push(SeenSpan {
                resource: resource.clone(),
                ..SeenSpan::of(&span)
            });
        }
    }
    seen
}

impl SeenSpan {
    fn of(span: &Span) -> Self {
        let exception = span.events.iter().find(|event| event.name == "exception");
        let failed = span.status.as_ref().filter(|status| status.code == 2);
        SeenSpan {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            name: span.name.clone(),
            kind: span.kind().as_str_name().replace("SPAN_KIND_", ""),
            nanos: span.end_time_unix_nano - span.start_time_unix_nano,
            attributes: texts(&span.attributes),
            exception: exception
                .map(|event| texts(&event.attributes))
                .unwrap_or_default(),
            links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            error: failed.map(|status| status.message.clone()),
            resource: BTreeMap::new(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "trace": self.trace, "id": self.id, "parent": self.parent, "state": self.state,
            "name": self.name, "kind": self.kind, "attributes": self.attributes,
            "exception": self.exception, "links": self.links, "error": self.error,
            "resource": self.resource,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match &value.value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.iter();
    pairs
        .map(|pair| {
            (
                pair.key.clone(),
                pair.value.as_ref().map(text).unwrap_or_default(),
            )
        })
        .collect()
}
