//! Traces through a worker, as a collector of OpenTelemetry sees them.

use std::path::Path;
use std::sync::Arc;

use celery_protocol::message::Task;
use celery_testkit::{
    Certificates, MariaDb, OtlpCollector, Process, Redis, RedisOptions, SeenSpan, ServerName,
    wait_for,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::world::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";

/// A value of a parameter, which no span may show.
const SECRET: &str = "s3cret";

const TASKS: &str = r#"
[tasks."shop.close"]
sql = "UPDATE orders SET state = :state WHERE id = :id"

[tasks."shop.reopen"]
sql = "UPDATE orders SET state = 'open' WHERE id IN (:id)"
batch = { size = 2, linger = "30s" }

[tasks."shop.wrong"]
sql = "INSERT INTO orders VALUES (1, :state)"
"#;

/// A worker with a database and a collector.
struct Scene {
    redis: Redis,
    _database: MariaDb,
    _folder: TempDir,
    collector: OtlpCollector,
    worker: Process,
}

impl Scene {
    fn start(more: &[&str]) -> Self {
        let redis = Redis::start(RedisOptions::new()).unwrap();
        let database = MariaDb::start().unwrap();
        let table = "CREATE TABLE orders (id INT PRIMARY KEY, state VARCHAR(20));
            INSERT INTO orders VALUES (1, 'open'), (2, 'closed'), (3, 'closed')";
        database.sql(table).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("worker.toml");
        std::fs::write(&file, TASKS).unwrap();
        let collector = OtlpCollector::start().unwrap();
        let (file, database_url) = (file.to_string_lossy(), database.url());
        let mut command = command(&redis, &["--config", &file, "--database", &database_url]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        let worker = start(command.args(["-l", "info"]).args(more));
        Scene {
            redis,
            _database: database,
            _folder: folder,
            collector,
            worker,
        }
    }

    /// Posts a task in the trace.
    fn post(&self, id: &str, name: &str, args: &str, change: impl FnOnce(&mut Task)) {
        post_with(&self.redis, id, name, args, |task| {
            let header = format!("00-{TRACE}-{SENDER}-01");
            task.headers.set("traceparent", &header).unwrap();
            change(task);
        });
    }

    /// Waits for this number of spans, and returns all in the order of their begin.
    fn spans(&self, count: usize) -> Vec<SeenSpan> {
        let enough = || self.collector.spans().len() >= count;
        if let Err(error) = wait_for(PATIENCE, &format!("{count} spans"), enough) {
            let spans = self.collector.spans();
            panic!(
                "{error}: {spans:#?}; the worker said:\n{}",
                self.worker.log()
            );
        }
        self.collector.spans()
    }
}

/// Returns the only span with this name.
fn only<'s>(spans: &'s [SeenSpan], name: &str) -> &'s SeenSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next();
    let span = span.unwrap_or_else(|| panic!("{name} is not in {spans:#?}"));
    assert_eq!(found.next(), None, "{name}");
    span
}

fn assert_attributes(span: &SeenSpan, expected: &[(&str, &str)]) {
    let seen: Vec<(&str, &str)> = span
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(seen, expected, "{}", span.name);
}

/// Asserts that the second span is a child of the first, in the trace.
fn assert_child(parent: &SeenSpan, child: &SeenSpan) {
    assert_eq!((&*parent.trace, &*child.trace), (TRACE, TRACE));
    assert_eq!(child.parent, parent.id, "{} of {}", child.name, parent.name);
}

#[test]
fn a_trace_goes_on_through_runs_statements_and_follow_ups() {
    let scene = Scene::start(&["--log-format", "json"]);
    let args = json!([SECRET, 1]).to_string();
    scene.post("closed", "shop.close", &args, |task| {
        let echo = json!([{ "task": "proj.add", "args": [1], "options": { "task_id": "added" } }]);
        task.embed.callbacks = Some(to_raw_value(&echo).unwrap());
    });
    wait_for_status(&scene.redis, "added", "SUCCESS", &scene.worker);
    let spans = scene.spans(5);
    assert_eq!(spans.len(), 5, "{spans:#?}");

    let run = only(&spans, "run/shop.close");
    assert_eq!(
        (&*run.trace, &*run.parent, &*run.kind),
        (TRACE, SENDER, "CONSUMER")
    );
    assert_attributes(
        run,
        &[
            ("celery.action", "run"),
            ("celery.state", "SUCCESS"),
            ("celery.task_name", "shop.close"),
            ("messaging.destination", "celery"),
            ("messaging.message.id", "closed"),
        ],
    );
    assert_eq!(run.error, None);
    let update = only(&spans, "UPDATE");
    assert_child(run, update);
    assert_eq!(update.kind, "CLIENT");
    assert_attributes(
        update,
        &[
            ("db.operation.name", "UPDATE"),
            (
                "db.query.text",
                "UPDATE orders SET state = :state WHERE id = :id",
            ),
            ("db.system", "mysql"),
            ("db.system.name", "mysql"),
        ],
    );
    assert_child(run, only(&spans, "COMMIT"));
    let sent = only(&spans, "apply_async/proj.add");
    assert_child(run, sent);
    assert_eq!(sent.kind, "PRODUCER");
    assert_attributes(
        sent,
        &[
            ("celery.action", "apply_async"),
            ("celery.task_name", "proj.add"),
            ("messaging.destination", "celery"),
            ("messaging.message.id", "added"),
        ],
    );
    assert_child(sent, only(&spans, "run/proj.add"));
    assert!(!format!("{spans:?}").contains(SECRET));

    let log = scene.worker.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_task: Vec<Value> = lines.filter(|line| line["task_id"] == "closed").collect();
    assert!(of_task.len() >= 2, "{log}");
    assert!(
        of_task.iter().all(|line| line["trace_id"] == TRACE),
        "{log}"
    );
}

#[test]
fn a_retry_and_a_failure_are_in_the_spans_of_their_runs() {
    let scene = Scene::start(&[]);
    scene.post("again", "proj.retrying", "[]", |_| {});
    scene.post("wrong", "shop.wrong", &json!([SECRET]).to_string(), |_| {});
    wait_for_status(&scene.redis, "again", "FAILURE", &scene.worker);
    wait_for_status(&scene.redis, "wrong", "FAILURE", &scene.worker);
    // Three runs with two messages between them; a run with a statement and its end.
    let spans = scene.spans(8);
    let runs: Vec<&SeenSpan> = spans
        .iter()
        .filter(|it| it.name == "run/proj.retrying")
        .collect();
    let sent: Vec<&SeenSpan> = spans
        .iter()
        .filter(|it| it.name == "apply_async/proj.retrying")
        .collect();
    assert_eq!((runs.len(), sent.len()), (3, 2), "{spans:#?}");
    assert_eq!(runs[0].parent, SENDER);
    for (at, sent) in sent.into_iter().enumerate() {
        assert_child(runs[at], sent);
        assert_child(sent, runs[at + 1]);
        let reason = runs[at].attributes.get("celery.retry.reason");
        assert_eq!(reason.unwrap(), "OSError(5, 'io failed')");
        assert_eq!(
            (&*runs[at].attributes["celery.state"], &runs[at].error),
            ("RETRY", &None)
        );
    }
    assert_eq!(runs[2].attributes["celery.retries"], "2");
    assert_eq!(runs[2].error.as_deref(), Some("OSError(5, 'io failed')"));
    assert_eq!(runs[2].exception["exception.type"], "OSError");

    let run = only(&spans, "run/shop.wrong");
    let insert = only(&spans, "INSERT");
    assert_child(run, insert);
    assert_eq!(run.attributes["celery.state"], "FAILURE");
    assert!(insert.error.is_some() && insert.attributes.contains_key("error.type"));
    assert!(!format!("{insert:?}").contains(SECRET));
}

#[test]
fn the_statement_of_a_batch_links_to_the_runs_of_all_its_calls() {
    let scene = Scene::start(&[]);
    scene.post("first", "shop.reopen", "[2]", |_| {});
    scene.post("second", "shop.reopen", "[3]", |_| {});
    wait_for_status(&scene.redis, "second", "SUCCESS", &scene.worker);
    let spans = scene.spans(4);
    let runs: Vec<&SeenSpan> = spans
        .iter()
        .filter(|it| it.name == "run/shop.reopen")
        .collect();
    assert_eq!(runs.len(), 2, "{spans:#?}");
    let update = only(&spans, "UPDATE");
    let (first, second) = if update.parent == runs[0].id {
        (runs[0], runs[1])
    } else {
        (runs[1], runs[0])
    };
    assert_child(first, update);
    assert_eq!(update.links, std::slice::from_ref(&second.id));
}

#[test]
fn a_task_is_not_delayed_or_lost_by_a_collector_that_is_away() {
    let scene = Scene::start(&[]);
    scene.collector.answer(503);
    for number in 0..20 {
        scene.post(&format!("id-{number}"), "proj.add", "[1, 2]", |_| {});
    }
    for number in 0..20 {
        wait_for_status(
            &scene.redis,
            &format!("id-{number}"),
            "SUCCESS",
            &scene.worker,
        );
    }
    wait_for(PATIENCE, "a try", || !scene.collector.requests().is_empty()).unwrap();
    assert_eq!(scene.collector.spans(), []);
    scene.collector.answer(200);
    assert_eq!(scene.spans(20).len(), 20);
    let log = scene.worker.log();
    assert_eq!(
        log.matches("takes no spans: it answers 503").count(),
        1,
        "{log}"
    );
}

#[test]
fn a_worker_that_stops_sends_the_last_spans_and_one_without_a_collector_passes_the_trace_on() {
    let Scene {
        redis,
        collector,
        mut worker,
        ..
    } = Scene::start(&[]);
    post(&redis, "root", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "root", "SUCCESS", &worker);
    worker.terminate();
    worker.wait(PATIENCE).unwrap();
    let spans = collector.spans();
    let run = only(&spans, "run/proj.add");
    assert_eq!((run.trace.len(), &*run.parent), (32, ""));

    // The message of a follow-up has the header of the task, because nothing makes spans.
    let worker = start(&mut command(&redis, &[]));
    post_with(&redis, "sends", "proj.add", "[1, 2]", |task| {
        let header = format!("00-{TRACE}-{SENDER}-01");
        task.headers.set("traceparent", &header).unwrap();
        task.headers.set("tracestate", "vendor=1").unwrap();
        let echo = json!([{ "task": "proj.echo", "args": [], "options": { "queue": "other" } }]);
        task.embed.callbacks = Some(to_raw_value(&echo).unwrap());
    });
    wait_for_status(&redis, "sends", "SUCCESS", &worker);
    let message = redis.cli(&["LINDEX", "other", "0"]).unwrap();
    let message: Value = serde_json::from_str(message.trim()).unwrap();
    let headers = &message["headers"];
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-{SENDER}-01"));
    assert_eq!(headers["tracestate"], "vendor=1");
}

#[test]
fn a_schedule_starts_a_trace() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let entry = "[schedules.often]\ntask = \"proj.add\"\nschedule = 1\nargs = [1, 2]\n";
    std::fs::write(&file, entry).unwrap();
    let collector = OtlpCollector::start().unwrap();
    let mut command = command(&redis, &["--config", &file.to_string_lossy(), "--beat"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    let worker = start(&mut command);
    let ran = || {
        collector
            .spans()
            .iter()
            .any(|span| span.name == "run/proj.add")
    };
    if let Err(error) = wait_for(PATIENCE, "the run of a schedule", ran) {
        panic!("{error}; the worker said:\n{}", worker.log());
    }
    let spans = collector.spans();
    let run = spans.iter().find(|span| span.name == "run/proj.add");
    let run = run.unwrap();
    let sent = spans.iter().find(|span| span.id == run.parent);
    let sent = sent.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!((&*sent.name, &*sent.parent), ("apply_async/proj.add", ""));
    assert_eq!(sent.trace, run.trace);
}

/// Passes connections with TLS on to a collector, with a certificate for `localhost`. Returns its
/// port. It ends with the process.
fn speak_tls(collector: &OtlpCollector, certificates: &Certificates) -> u16 {
    let (certificate, key) = certificates.server();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), collector.port());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                // A client that refuses the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut plain = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
    });
    port
}

#[test]
fn a_collector_with_tls_is_verified() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let collector = OtlpCollector::start().unwrap();
    let [own, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let right = Certificates::generate(own.path(), ServerName::Right).unwrap();
    let wrong = Certificates::generate(other.path(), ServerName::Right).unwrap();
    let port = speak_tls(&collector, &right);
    let worker = |authority: &Path| {
        let mut command = command(&redis, &[]);
        command
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("https://localhost:{port}"),
            )
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", authority);
        start(&mut command)
    };
    let mut refusing = worker(&wrong.ca());
    post(&redis, "first", "proj.add", "[1, 2]", None);
    let why = refusing.wait_for_line(PATIENCE, "takes no spans").unwrap();
    assert!(
        why.contains("is not signed by a trusted authority")
            && why.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        "{why}"
    );
    // The task goes on.
    wait_for_status(&redis, "first", "SUCCESS", &refusing);
    refusing.stop();
    assert_eq!(collector.spans(), []);

    let verifying = worker(&right.ca());
    post(&redis, "second", "proj.add", "[1, 2]", None);
    let came = || !collector.spans().is_empty();
    if let Err(error) = wait_for(PATIENCE, "a span over TLS", came) {
        panic!("{error}; the worker said:\n{}", verifying.log());
    }
    only(&collector.spans(), "run/proj.add");

    let mut missing = worker(Path::new("/nowhere/ca.pem"));
    let why = missing
        .wait_for_line(PATIENCE, "no spans are sent")
        .unwrap();
    assert!(why.contains("/nowhere/ca.pem"), "{why}");
}
