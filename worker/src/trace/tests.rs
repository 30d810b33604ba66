//! Tests of the spans of a worker without a broker, with a real collector.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;
use celery_testkit::{Fault, OtlpCollector, Proxy, SeenSpan, wait_for};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::buffer::{BATCH, MOST_BYTES};
use super::wire::{Kind, Span};
use super::*;
use crate::task::testing;

const PATIENCE: Duration = Duration::from_mins(1);
const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traces(share: f64) -> Traces {
    Traces::on(Ratio::new(share).unwrap())
}

fn task_in(header: Option<&str>) -> Task {
    let mut task = testing::task("proj.add", "[]");
    if let Some(header) = header {
        task.headers.set("traceparent", header).unwrap();
    }
    task
}

#[test]
fn the_header_of_a_received_task_names_its_run() {
    let mut task = task_in(Some(SENDER));
    task.headers.set("tracestate", "vendor=1").unwrap();
    let run = traces(0.0).enter(&mut task).unwrap();
    let sender = SpanContext::parse(SENDER).unwrap();
    assert_eq!(
        (run.context.trace, run.parent),
        (sender.trace, Some(sender.span))
    );
    assert_eq!(SpanContext::of(&task), Some(run.context));
    assert_ne!(run.context.span, sender.span);
    assert_eq!(run.state.as_deref(), Some("vendor=1"));
}

#[test]
fn a_trace_that_is_not_recorded_is_passed_on_without_spans() {
    let unsampled = SENDER.replace("-01", "-00");
    let mut task = task_in(Some(&unsampled));
    assert!(traces(1.0).enter(&mut task).is_none());
    assert_eq!(SpanContext::of(&task).unwrap().to_string(), unsampled);
    // The tasks that follow belong to the same trace, which is not recorded either.
    let mut root = task_in(None);
    assert!(traces(0.0).enter(&mut root).is_none());
    assert!(!SpanContext::of(&root).unwrap().is_sampled());
    let mut root = task_in(Some("malformed"));
    let run = traces(1.0).enter(&mut root).unwrap();
    assert_eq!(
        (SpanContext::of(&root), run.parent),
        (Some(run.context), None)
    );
}

#[test]
fn messages_continue_the_trace_of_the_task_that_sends_them() {
    let mut from = task_in(Some(SENDER));
    from.headers.set("tracestate", "vendor=1").unwrap();
    let sender = SpanContext::parse(SENDER).unwrap();
    let mut copied = task_in(None);
    carry(&from, &mut copied, false);
    assert_eq!(SpanContext::of(&copied), Some(sender));
    assert_eq!(
        copied.headers.get("tracestate").unwrap().get(),
        "\"vendor=1\""
    );
    assert_eq!(
        Produced::of(&from, &copied.id, &copied.name, Some(sender)),
        None
    );
    // The client gave the header of its trace to each step.
    let mut spanned = task_in(Some(SENDER));
    carry(&from, &mut spanned, true);
    let context = SpanContext::of(&spanned).unwrap();
    let span = Produced::of(&from, &spanned.id, &spanned.name, Some(context)).unwrap();
    assert_eq!((span.context, span.parent), (context, Some(sender.span)));
    let other = "00-11111111111111111111111111111111-b7ad6b7169203331-01";
    let mut foreign = task_in(Some(other));
    carry(&from, &mut foreign, true);
    assert_eq!(SpanContext::of(&foreign).unwrap().to_string(), other);
    let mut untraced = task_in(None);
    carry(&task_in(None), &mut untraced, true);
    assert!(untraced.headers.is_empty());
}

fn add(traces: &Traces, name: &str) {
    let context = SpanContext::root(true);
    traces.add(&Span {
        context,
        parent: None,
        state: "",
        name,
        kind: Kind::Client,
        start: 1,
        end: 2,
        attributes: Vec::new(),
        exception: Vec::new(),
        links: &[],
        error: None,
    });
}

#[test]
fn the_buffer_has_a_limit_and_counts_what_it_drops() {
    let traces = traces(1.0);
    let long = "x".repeat(MOST_BYTES / 10);
    for _ in 0..20 {
        add(&traces, &long);
    }
    assert_eq!(traces.dropped().get(), 11);
    let inner = traces.0.as_ref().unwrap();
    assert_eq!(inner.take().len(), 9);
    add(&traces, &long);
    assert_eq!(traces.dropped().get(), 11);
    for _ in 0..BATCH {
        add(&traces, "short");
    }
    assert_eq!((inner.take().len(), inner.take().len()), (BATCH, 1));
    assert_eq!(inner.waiting().bytes, 0);
}

/// Starts an exporter. Dropping the sender ends it.
fn export(traces: &Traces, url: &str) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (end, ended) = oneshot::channel();
    let options = Options {
        certificate: None,
        collector: Collector::parse(url).unwrap(),
        headers: Pairs::parse("api-key=a%2Cb").unwrap(),
        resource: Pairs::parse("service.name=mails,deployment.environment.name=prod").unwrap(),
        service: "celery-worker".to_owned(),
        node: "w@h".to_owned(),
    };
    let exporter = tokio::spawn(serve(traces.clone(), options, ended));
    (end, exporter)
}

/// Waits until the collector has what the condition wants.
async fn until(
    collector: &Arc<OtlpCollector>,
    what: &'static str,
    condition: impl Fn(&OtlpCollector) -> bool + Send + 'static,
) {
    let collector = Arc::clone(collector);
    let waiting = move || wait_for(PATIENCE, what, || condition(&collector)).unwrap();
    tokio::task::spawn_blocking(waiting).await.unwrap();
}

fn names(spans: &[SeenSpan]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_wait_while_the_collector_is_away_and_none_comes_twice() {
    let collector = Arc::new(OtlpCollector::start().unwrap());
    collector.answer(503);
    let traces = traces(1.0);
    let (end, exporter) = export(&traces, &collector.url());
    add(&traces, "first");
    until(&collector, "two tries", |it| it.requests().len() >= 2).await;
    add(&traces, "second");
    collector.answer(200);
    until(&collector, "both spans", |it| it.spans().len() >= 2).await;
    add(&traces, "last");
    drop(end);
    exporter.await.unwrap();
    let spans = collector.spans();
    assert_eq!(names(&spans), ["first", "second", "last"]);
    assert_eq!(traces.dropped().get(), 0);
    let resource = &spans[0].resource;
    let expected = [
        ("deployment.environment.name", "prod"),
        ("service.instance.id", "w@h"),
        ("service.name", "mails"),
        ("telemetry.sdk.language", "rust"),
    ];
    let resource: Vec<_> = resource
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(resource, expected);
    let requests = collector.requests();
    assert_eq!(requests[0]["api-key"], "a,b");
    assert_eq!(requests[0]["content-type"], "application/x-protobuf");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_the_collector_refuses_are_dropped_and_counted() {
    let collector = Arc::new(OtlpCollector::start().unwrap());
    collector.answer(401);
    let traces = traces(1.0);
    let (end, exporter) = export(&traces, &collector.url());
    add(&traces, "refused");
    until(&collector, "a try", |it| !it.requests().is_empty()).await;
    collector.answer(200);
    add(&traces, "taken");
    until(&collector, "the second span", |it| !it.spans().is_empty()).await;
    drop(end);
    exporter.await.unwrap();
    assert_eq!(names(&collector.spans()), ["taken"]);
    assert_eq!(traces.dropped().get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_falls_silent_delays_only_the_exporter() {
    let collector = Arc::new(OtlpCollector::start().unwrap());
    let proxy = Proxy::to_port(collector.port()).unwrap();
    let traces = traces(1.0);
    let (end, exporter) = export(&traces, &format!("http://127.0.0.1:{}", proxy.port()));
    add(&traces, "first");
    until(&collector, "the first span", |it| !it.spans().is_empty()).await;
    proxy.set(Fault::Silence);
    add(&traces, "second");
    for _ in 0..BATCH {
        add(&traces, "more");
    }
    proxy.set(Fault::None);
    until(&collector, "all spans", |it| it.spans().len() >= BATCH + 2).await;
    drop(end);
    exporter.await.unwrap();
    assert_eq!(traces.dropped().get(), 0);
}

#[test]
fn a_schedule_begins_a_trace_unless_its_entry_names_one() {
    let message = || testing::task("t", "[]");
    for (share, is_recorded) in [(1.0, true), (0.0, false)] {
        let traces = traces(share);
        let mut begun = message();
        let span = traces.begin(&mut begun);
        let context = SpanContext::of(&begun).unwrap();
        assert_eq!(context.is_sampled(), is_recorded);
        let span = span.map(|span| (span.context, span.parent));
        assert_eq!(span, is_recorded.then_some((context, None)));
        // The entry has its own header.
        assert_eq!(traces.begin(&mut begun), None);
        assert_eq!(SpanContext::of(&begun), Some(context));
    }
    let mut plain = message();
    assert_eq!(Traces::default().begin(&mut plain), None);
    assert!(SpanContext::of(&plain).is_none());
}
