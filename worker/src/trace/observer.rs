//! Makes the spans of runs and messages from what is reported about tasks.
//!
//! A task whose code has not begun has no span: one that was revoked or had expired, for example.

use std::time::Duration;

use serde_json::value::RawValue;

use super::buffer::{Traces, cut, now};
use super::run::Produced;
use super::wire::{Attributes, Kind, Span, Value};
use crate::monitor::{Observer, Of, Raised, Revocation};

/// The most bytes of a text about an error.
const MOST_TEXT: usize = 4_096;

/// The end of a run, as its span has it.
#[derive(Default)]
struct End<'e> {
    /// Celery's word for the state.
    state: &'e str,
    more: Attributes,
    raised: Option<Raised<'e>>,
    error: Option<String>,
}

impl Traces {
    /// Ends the span of a run, if it has begun.
    fn end(&self, of: Of<'_>, end: impl FnOnce() -> End<'static>) {
        self.end_with(of, end);
    }

    fn end_with<'e>(&self, of: Of<'_>, end: impl FnOnce() -> End<'e>) {
        let Some(run) = of.run else { return };
        let Some(start) = run.end() else { return };
        let End {
            state,
            more,
            raised,
            error,
        } = end();
        let task = of.task;
        let mut attributes: Attributes = vec![
            ("celery.action", "run".into()),
            ("celery.task_name", task.name.as_str().into()),
            ("messaging.message.id", task.id.as_str().into()),
            ("messaging.destination", (&**of.queue).into()),
        ];
        if !state.is_empty() {
            attributes.push(("celery.state", state.into()));
        }
        if task.retries > 0 {
            attributes.push(("celery.retries", Value::Whole(task.retries.into())));
        }
        attributes.extend(more);
        self.add(&Span {
            context: run.context,
            parent: run.parent,
            state: run.state.as_deref().unwrap_or_default(),
            name: &format!("run/{}", task.name),
            kind: Kind::Consumer,
            start,
            end: now(),
            attributes,
            exception: raised.map(exception).unwrap_or_default(),
            links: &[],
            error: error.as_deref(),
        });
    }

    /// Ends the span of a run that failed with an exception. As in Python, an expected one is not
    /// an error of the span.
    fn end_raised(&self, of: Of<'_>, state: &'static str, raised: Raised<'_>) {
        self.end_with(of, || End {
            state,
            error: (!raised.is_expected).then(|| summary(raised)),
            raised: (!raised.is_expected).then_some(raised),
            more: Vec::new(),
        });
    }
}

fn summary(raised: Raised<'_>) -> String {
    cut(&raised.exception.summary(), MOST_TEXT).to_owned()
}

/// Returns the attributes of an exception by the semantic conventions.
fn exception(raised: Raised<'_>) -> Attributes {
    let kind = &raised.exception.exc_type;
    let kind = match raised.exception.exc_module.as_deref() {
        None | Some("builtins") => kind.clone(),
        Some(module) => format!("{module}.{kind}"),
    };
    let mut attributes: Attributes = vec![
        ("exception.type", kind.into()),
        ("exception.message", summary(raised).into()),
    ];
    if let Some(traceback) = raised.traceback {
        let traceback = cut(traceback, MOST_TEXT);
        attributes.push(("exception.stacktrace", traceback.into()));
    }
    attributes
}

impl Observer for Traces {
    fn started(&self, of: Of<'_>) {
        if let Some(run) = of.run {
            run.begin();
        }
    }

    fn succeeded(&self, of: Of<'_>, _runtime: Duration, _value: &RawValue) {
        self.end(of, || End {
            state: "SUCCESS",
            ..End::default()
        });
    }

    fn succeeded_before(&self, of: Of<'_>) {
        self.end(of, || End {
            state: "SUCCESS",
            ..End::default()
        });
    }

    fn failed(&self, of: Of<'_>, raised: Raised<'_>) {
        self.end_raised(of, "FAILURE", raised);
    }

    fn timed_out(&self, of: Of<'_>, _limit: Duration, raised: Raised<'_>) {
        self.end_raised(of, "FAILURE", raised);
    }

    fn retried(&self, of: Of<'_>, countdown: Duration, raised: Option<Raised<'_>>) {
        self.end(of, || {
            let wait = countdown.as_secs_f64();
            let reason = raised.map_or_else(|| format!("Retry in {wait}s"), summary);
            End {
                state: "RETRY",
                more: vec![("celery.retry.reason", reason.into())],
                ..End::default()
            }
        });
    }

    fn rejected(&self, of: Of<'_>, reason: &str, raised: Option<Raised<'_>>) {
        let reason = cut(reason, MOST_TEXT);
        self.end_with(of, || End {
            state: "REJECTED",
            error: raised.map(|_| reason.to_owned()),
            raised,
            more: Vec::new(),
        });
    }

    fn revoked(&self, of: Of<'_>, revocation: &Revocation) {
        self.end(of, || {
            let mut more: Attributes = vec![(
                "celery.revoked.reason",
                revocation.reason().into_owned().into(),
            )];
            if let Revocation::Terminated { signal } = revocation {
                more.push(("celery.terminated.signal", Value::Whole((*signal).into())));
            }
            End {
                state: "REVOKED",
                error: Some(revocation.reason().into_owned()),
                more,
                raised: None,
            }
        });
    }

    fn ignored(&self, of: Of<'_>) {
        self.end(of, || End {
            state: "IGNORED",
            ..End::default()
        });
    }

    fn given_back(&self, of: Of<'_>) {
        self.end(of, || End {
            error: Some("the worker stopped; the task runs again".to_owned()),
            ..End::default()
        });
    }

    fn bug(&self, of: Of<'_>) {
        self.end(of, || End {
            state: "FAILURE",
            error: Some("a bug of the worker".to_owned()),
            ..End::default()
        });
    }

    fn published(&self, span: &Produced, queue: &str) {
        let attributes: Attributes = vec![
            ("celery.action", "apply_async".into()),
            ("celery.task_name", span.task.as_str().into()),
            ("messaging.message.id", span.id.as_str().into()),
            ("messaging.destination", queue.into()),
        ];
        self.add(&Span {
            context: span.context,
            parent: span.parent,
            state: "",
            name: &format!("apply_async/{}", span.task),
            kind: Kind::Producer,
            start: span.began,
            end: now(),
            attributes,
            exception: Vec::new(),
            links: &[],
            error: None,
        });
    }
}
