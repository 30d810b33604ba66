//! Starts what reports on the tasks of a worker: metrics, events and spans.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::broker::Role;
use crate::broker::events::EventChannel;
use crate::config::Config;
use crate::consumer::spawn;
use crate::events::{self, Events};
use crate::monitor::metrics::Metrics;
use crate::monitor::{Monitor, Pulse};
use crate::shutdown::Shutdown;
use crate::trace::{self, Traces};

/// How long publishing the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// The longest wait for the collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Returns the monitor of a worker, and a future that sends the last spans at its end.
pub(super) fn start(
    config: &Config,
    has_pages: bool,
) -> (Monitor, impl Future<Output = ()> + use<>) {
    let metrics = if has_pages {
        Metrics::on(&config.hostname)
    } else {
        Metrics::default()
    };
    let mut monitor = Monitor::new(metrics, Events::of(&config.hostname));
    let last_spans = export_spans(config, &mut monitor);
    if config.task_events {
        monitor.events.enable();
    }
    if config.send_sent_event {
        monitor.events.enable_sent();
    }
    (monitor, last_spans)
}

/// Starts the role that publishes events on the channel that `open` returns. The returned future publishes the last events and ends
/// the role. Events that the broker does not take at once are lost.
pub(super) fn publish_events(
    open: &dyn Fn(&Arc<Pulse>) -> Box<dyn EventChannel>,
    monitor: &Monitor,
    shutdown: &Shutdown,
) -> impl Future<Output = ()> + use<> {
    let (end, ended) = oneshot::channel();
    let role = Role::new("events", &monitor.pulses, |pulse| {
        let channel = open(&pulse);
        events::serve(monitor.events.clone(), channel, pulse, ended)
    });
    let role = spawn(role, shutdown);
    async move {
        drop(end);
        // An error means that the broker is away.
        let _ = tokio::time::timeout(LAST_EVENTS, role).await;
    }
}

/// Starts the exporter of spans, if there is a collector. The returned future sends the last spans
/// and ends it. Spans that the collector does not take at once are lost.
pub(super) fn export_spans(
    config: &Config,
    monitor: &mut Monitor,
) -> impl Future<Output = ()> + use<> {
    let (end, ended) = oneshot::channel::<()>();
    let exporter = config.otlp_endpoint.clone().map(|collector| {
        if std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").is_ok_and(|name| name == "grpc") {
            tracing::warn!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but the worker sends http/protobuf to {collector}"
            );
        }
        let traces = Traces::on(config.otlp_ratio);
        monitor.traces = traces.clone();
        let options = trace::Options {
            collector,
            certificate: config.otlp_certificate.clone(),
            headers: config
                .otlp_headers
                .clone()
                .map(|it| it.0)
                .unwrap_or_default(),
            resource: config.otlp_resource.clone().unwrap_or_default(),
            service: config.otlp_service.clone(),
            node: config.hostname.clone(),
        };
        monitor.metrics.adopt(
            "celery_worker_spans_dropped",
            "Spans that the collector did not take in time",
            traces.dropped(),
        );
        tokio::spawn(trace::serve(traces, options, ended))
    });
    async move {
        drop(end);
        if let Some(exporter) = exporter {
            // An error means that the collector is away.
            let _ = tokio::time::timeout(LAST_SPANS, exporter).await;
        }
    }
}
