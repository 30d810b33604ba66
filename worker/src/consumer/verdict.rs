//! Decides what an outcome means, for single tasks and for batches. No other module does.
//!
//! The executor reports what happened (an [`Outcome`]). [`Rules::judge`] turns it into a
//! [`Verdict`]. Then `report` hands the verdict to the observers, and `transition` turns it into
//! steps for broker and result backend. docs/reference/outcomes.md has the table.
//!
//! The code here does no I/O and reads no clock.

use std::time::Duration;

use celery_protocol::message::{DEFAULT_MAX_BODY, Task};
use celery_protocol::repr;
use celery_protocol::result::ExceptionDoc;
use celery_protocol::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use super::rules::{BILLIARD, CELERY, Rules};
use crate::delivery::{Delivery, Outcome};
use crate::monitor::{Raised, Revocation};
use crate::trace::{self, Produced, SpanContext};

/// The cause of the dead letter of a message that its task rejected.
const REJECTED: &str = "rejected";

/// The cause of the dead letter of a task that failed, and does not acknowledge failures.
pub(crate) const FAILED: &str = "failed";

/// The cause of the dead letter of a task whose next run cannot be written as a message. Celery
/// rejects such a task, too.
const NOT_ENCODABLE: &str = "retry-not-encodable";

/// The decision about a delivery.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Stored as SUCCESS; the follow-ups are published.
    Success {
        value: Box<RawValue>,
        runtime: Duration,
    },
    /// Stored as FAILURE; error callbacks are called.
    Failure(Failure),
    /// Like a failure, after the hard time limit. With `requeue` the message then goes to the end of
    /// its queue.
    TimeLimit {
        limit: Duration,
        failure: Failure,
        requeue: bool,
    },
    /// Like a failure, and the message becomes a dead letter with this cause.
    Dead {
        reason: String,
        cause: &'static str,
        failure: Failure,
    },
    /// Published again, with one more retry counted; stored as RETRY.
    Retry {
        countdown: Duration,
        reason: Option<Failure>,
        priority: u8,
        message: Vec<u8>,
        span: Option<Box<Produced>>,
        /// `true` if the next run needs the lock of this unique call.
        keeps_lock: bool,
    },
    /// Stored as REVOKED, for this reason.
    Revoked(Revocation),
    /// Acknowledged, because an earlier delivery has succeeded. With the stored value, what follows
    /// from that is published.
    SucceededBefore(Option<Box<RawValue>>),
    /// Only acknowledged.
    Ignored,
    /// Acknowledged; the replacement is published and goes on under the task's id.
    Replaced,
    /// Put at the end of its queue, because its task rejected it for this reason.
    Requeue { reason: String },
    /// Put at the head of its queue, and marked as redelivered if its code had begun.
    GiveBack { begun: bool },
}

/// An exception as it is stored.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exception: ExceptionDoc,
    pub(crate) traceback: Option<String>,
    /// `true` if the task declares that it may raise this exception.
    pub(crate) is_expected: bool,
}

impl Failure {
    /// An exception that code raised, with the last line of the traceback that Python would store:
    /// `ValueError: boom`.
    fn raised(exception: ExceptionDoc) -> Self {
        let traceback = Some(traceback(&exception));
        Failure {
            exception,
            traceback,
            is_expected: false,
        }
    }

    /// Returns the failure for observers.
    pub(super) fn seen(&self) -> Raised<'_> {
        Raised {
            exception: &self.exception,
            traceback: self.traceback.as_deref(),
            is_expected: self.is_expected,
        }
    }

    /// An exception that no code raised. Celery stores it without a traceback.
    pub(super) fn imposed(exc_type: &str, module: &str, args: Vec<Value>) -> Self {
        Failure {
            exception: ExceptionDoc::new(exc_type, Value::Null, Some(module)).with_args(args),
            traceback: None,
            is_expected: false,
        }
    }
}

impl Rules {
    /// Decides what an outcome means, and makes the message of a retry.
    pub(crate) fn judge(&self, delivery: &Delivery, outcome: Outcome, now: Timestamp) -> Verdict {
        let task = &*delivery.task;
        match outcome {
            Outcome::Succeeded { value, runtime } => {
                if self.stores(task)
                    && let Err(why) = self.check_storable(&value)
                {
                    return encode_error(why);
                }
                success(value, runtime, DEFAULT_MAX_BODY)
            }
            Outcome::Raised {
                exception,
                retryable,
            } => match self.names.retries(task, &exception) {
                Some(retries)
                    if retryable && retries.most.is_none_or(|most| task.retries < most) =>
                {
                    let wait = retries.wait(task.retries, random());
                    self.another_run(delivery, task, (wait, Some(exception)), now)
                }
                _ => self.failed(task, exception),
            },
            Outcome::Retry {
                countdown,
                reason,
                max_retries,
                arguments,
            } => {
                let changed = arguments.map(|new| new.put_into(task));
                let next = changed.as_ref().unwrap_or(task);
                if max_retries.is_some_and(|most| task.retries >= most) {
                    let exception = reason.unwrap_or_else(|| retries_exceeded(next));
                    return self.failed(task, exception);
                }
                self.another_run(delivery, next, (countdown, reason), now)
            }
            // A panic is a bug, which another run does not mend.
            Outcome::Panicked(message) => {
                let text = format!("the task panicked: {message}");
                self.failed(
                    task,
                    ExceptionDoc::new("RuntimeError", text, Some("builtins")),
                )
            }
            // A task that exceeded its limit is not run again, unless it asks for that.
            Outcome::TimedOut(limit) => Verdict::TimeLimit {
                limit,
                failure: Failure::imposed("TimeLimitExceeded", BILLIARD, vec![seconds(limit)]),
                requeue: self.names.requeues_late(&task.name),
            },
            Outcome::Rejected {
                reason,
                requeue: true,
            } => Verdict::Requeue { reason },
            Outcome::Rejected {
                reason,
                requeue: false,
            } => dead(reason, REJECTED),
            Outcome::SucceededBefore {
                value,
                has_followed,
            } => Verdict::SucceededBefore((!has_followed).then_some(value)),
            Outcome::Ignored => Verdict::Ignored,
            Outcome::Replaced => Verdict::Replaced,
            Outcome::WorkerLost => {
                let text = "Worker exited prematurely: the task is not run again.";
                let args = vec![text.into()];
                Verdict::Failure(Failure::imposed("WorkerLostError", BILLIARD, args))
            }
            Outcome::Expired => Verdict::Revoked(Revocation::Expired),
            Outcome::Revoked => Verdict::Revoked(Revocation::Revoked),
            // The message of this very call was sent twice. The other one goes on, and a state of
            // this one would be taken for its state.
            Outcome::Duplicate { of } if of == task.id => Verdict::Ignored,
            Outcome::Duplicate { of } => Verdict::Revoked(Revocation::Duplicate { of }),
            Outcome::Terminated { signal } => Verdict::Revoked(Revocation::Terminated { signal }),
            // The message goes back as if its task had not begun: a broken database must not count
            // against it.
            Outcome::NotStarted | Outcome::Unavailable { .. } => Verdict::GiveBack { begun: false },
            Outcome::Interrupted => Verdict::GiveBack { begun: true },
        }
    }

    /// Decides about a failure that is not retried.
    fn failed(&self, task: &Task, exception: ExceptionDoc) -> Verdict {
        let mut failure = Failure::raised(exception);
        failure.is_expected = self.names.expects(&task.name, &failure.exception);
        if self.names.keeps_failed(&task.name) {
            let reason = failure.exception.summary();
            let cause = FAILED;
            return Verdict::Dead {
                reason,
                cause,
                failure,
            };
        }
        Verdict::Failure(failure)
    }

    /// Makes the message of the next run of `task`: that of the delivery, perhaps with other
    /// arguments. If it cannot be written, the delivery becomes a dead letter.
    fn another_run(
        &self,
        delivery: &Delivery,
        task: &Task,
        (countdown, reason): (Duration, Option<ExceptionDoc>),
        now: Timestamp,
    ) -> Verdict {
        // As in Celery, a countdown of zero sets no ETA.
        let wait = i64::try_from(countdown.as_micros()).unwrap_or(i64::MAX);
        let eta = (wait > 0).then(|| now.plus_micros(wait));
        let mut next = task.retry(eta, now, &self.origin);
        trace::carry(&delivery.task, &mut next, self.traces.are_on());
        match self.encode(&next, &delivery.queue) {
            Ok(message) => Verdict::Retry {
                countdown,
                reason: reason.map(Failure::raised),
                priority: next.priority(),
                span: {
                    let header = SpanContext::of(&next);
                    Produced::of(&delivery.task, &next.id, &next.name, header)
                },
                message,
                keeps_lock: delivery.unique.as_ref().is_some_and(|unique| {
                    let next = self.names.unique(&next);
                    next.is_some_and(|next| next.lock == unique.lock)
                }),
            },
            Err(why) => dead(format!("it cannot be retried: {why}"), NOT_ENCODABLE),
        }
    }
}

/// Returns a random number in 0..1.
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits fit into the number exactly"
)]
fn random() -> f64 {
    const BITS: u32 = 53;
    let random = uuid::Uuid::new_v4().as_u128() & ((1 << BITS) - 1);
    random as f64 / (1_u64 << BITS) as f64
}

/// Returns a success, or a failure if the value has more than `most` bytes: Redis would close the
/// connection each time it was sent.
fn success(value: Box<RawValue>, runtime: Duration, most: usize) -> Verdict {
    let bytes = value.get().len();
    if bytes <= most {
        return Verdict::Success { value, runtime };
    }
    encode_error(format!(
        "the result has {bytes} bytes, but at most {most} are allowed"
    ))
}

/// Returns the failure of a task whose value cannot be stored.
fn encode_error(why: impl ToString) -> Verdict {
    let exception = ExceptionDoc::new("EncodeError", why.to_string(), Some("kombu.exceptions"));
    Verdict::Failure(Failure::raised(exception))
}

/// Makes the verdict for a dead letter. As in Celery 5.7, it is also stored as a failure.
fn dead(reason: String, cause: &'static str) -> Verdict {
    let args = vec![Value::String(reason.clone()), Value::Bool(false)];
    Verdict::Dead {
        reason,
        cause,
        failure: Failure::imposed("Reject", CELERY, args),
    }
}

/// Returns the exception that Celery raises when no retry is left and the task gave no other.
fn retries_exceeded(task: &Task) -> ExceptionDoc {
    let text = format!(
        "Can't retry {}[{}] args:{} kwargs:{}",
        task.name,
        task.id,
        repr::args(task.args.get()),
        repr::value(task.kwargs.get(), repr::MAX_CHARS),
    );
    ExceptionDoc::new("MaxRetriesExceededError", text, Some(CELERY))
}

/// Returns a limit as Python shows it: `3` or `0.5`.
fn seconds(limit: Duration) -> Value {
    match limit.subsec_nanos() {
        0 => Value::from(limit.as_secs()),
        _ => Value::from(limit.as_secs_f64()),
    }
}

/// Returns the last line of a Python traceback: `ValueError: boom`.
pub(super) fn traceback(exception: &ExceptionDoc) -> String {
    let kind = &exception.exc_type;
    let qualified = match exception.exc_module.as_deref() {
        None | Some("builtins") => kind.clone(),
        Some(module) => format!("{module}.{kind}"),
    };
    let args = &exception.exc_message;
    let message: Option<String> = match args.as_slice() {
        [] => return format!("{qualified}\n"),
        [message] => serde_json::from_str(message.get()).ok(),
        _ => None,
    };
    let shown = message.unwrap_or_else(|| {
        let args: Vec<&str> = args.iter().map(|arg| arg.get()).collect();
        repr::args(&format!("[{}]", args.join(",")))
    });
    format!("{qualified}: {shown}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::Tag;
    use crate::consumer::Routes;
    use crate::delivery::{Retries, TaskNames};
    use crate::task::testing;
    use crate::testing::delivery;

    struct Names;

    impl TaskNames for Names {
        fn knows(&self, _name: &str) -> bool {
            true
        }

        fn retries(&self, task: &Task, _: &ExceptionDoc) -> Option<Retries> {
            let name = task.name.as_str();
            matches!(name, "stubborn" | "endless").then_some(Retries {
                most: (name == "stubborn").then_some(2),
                delay: Duration::from_secs(7),
                backoff: None,
            })
        }

        fn expects(&self, name: &str, exception: &ExceptionDoc) -> bool {
            name == "expecting" && exception.exc_type == "ValueError"
        }

        fn keeps_failed(&self, name: &str) -> bool {
            name == "kept"
        }

        fn requeues_late(&self, name: &str) -> bool {
            name == "requeued"
        }
    }

    fn judge(name: &str, retries: u32, outcome: Outcome) -> Verdict {
        let mut task = testing::task(name, "[1]");
        task.retries = retries;
        judge_task(task, outcome)
    }

    fn judge_task(task: Task, outcome: Outcome) -> Verdict {
        let rules = Rules {
            results: true,
            replies: false,
            extended: false,
            form: celery_protocol::result::StoredForm::default(),
            inherit_priority: false,
            deduplicates: false,
            default_priority: None,
            default_queue: "celery".into(),
            routes: Routes::default(),
            origin: "celery@test".into(),
            reply_to: "reply".into(),
            most: usize::MAX,
            names: Arc::new(Names),
            encode: Task::encode_redis,
            decode_sent: None,
            errbacks_on_headers: false,
            traces: crate::trace::Traces::default(),
        };
        let delivery = delivery(Tag { call: 1, index: 1 }, task);
        rules.judge(&delivery, outcome, Timestamp::from_unix(0, 0))
    }

    fn boom(retryable: bool) -> Outcome {
        Outcome::Raised {
            exception: ExceptionDoc::new("ValueError", "boom", Some("builtins")),
            retryable,
        }
    }

    #[test]
    fn failures_are_retried_until_no_retry_is_left() {
        for (name, retries, outcome, again) in [
            ("stubborn", 0, boom(true), true),
            ("stubborn", 1, boom(true), true),
            ("stubborn", 2, boom(true), false),
            ("stubborn", 0, boom(false), false),
            ("stubborn", 0, Outcome::Panicked("oh".into()), false),
            (
                "stubborn",
                0,
                Outcome::TimedOut(Duration::from_secs(1)),
                false,
            ),
            ("other", 0, boom(true), false),
            ("endless", 2, boom(true), true),
            ("endless", u32::MAX - 1, boom(true), true),
            ("endless", 2, boom(false), false),
        ] {
            let said = format!("{name} {retries} {outcome:?}");
            match judge(name, retries, outcome) {
                Verdict::Retry { countdown, .. } => {
                    assert!(again && countdown.as_secs() == 7, "{said}");
                }
                Verdict::Failure(_) | Verdict::TimeLimit { .. } => assert!(!again, "{said}"),
                other => panic!("{said}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_duplicate_is_revoked_unless_it_is_the_same_call() {
        let of = |id: &str| judge("other", 0, Outcome::Duplicate { of: id.into() });
        let Verdict::Revoked(revocation) = of("another-id") else {
            panic!("it is not revoked");
        };
        assert_eq!(revocation.reason(), "duplicate of another-id");
        assert!(matches!(of("an-id"), Verdict::Ignored));
    }

    #[test]
    fn the_policy_says_what_becomes_of_a_failure() {
        let late = || Outcome::TimedOut(Duration::from_secs(1));
        let spent = || Outcome::Retry {
            countdown: Duration::ZERO,
            reason: None,
            max_retries: Some(0),
            arguments: None,
        };
        for (name, outcome, expected) in [
            ("other", boom(true), "failed unexpected"),
            ("expecting", boom(true), "failed expected"),
            ("expecting", spent(), "failed unexpected"),
            ("kept", boom(true), "dead failed"),
            ("kept", Outcome::Panicked("oh".into()), "dead failed"),
            ("kept", spent(), "dead failed"),
            ("kept", late(), "late"),
            ("other", late(), "late"),
            ("requeued", late(), "late requeued"),
            ("requeued", boom(true), "failed unexpected"),
        ] {
            let said = format!("{name} {outcome:?}");
            let found = match judge(name, 0, outcome) {
                Verdict::Failure(failure) if failure.is_expected => "failed expected".to_owned(),
                Verdict::Failure(_) => "failed unexpected".to_owned(),
                Verdict::Dead { cause, failure, .. } => {
                    assert_ne!(failure.exception.exc_type, "Reject", "{said}");
                    format!("dead {cause}")
                }
                Verdict::TimeLimit { requeue: true, .. } => "late requeued".to_owned(),
                Verdict::TimeLimit { .. } => "late".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!(found, expected, "{said}");
        }
    }

    #[test]
    fn a_retry_that_cannot_be_published_is_rejected() {
        let mut task = testing::task("t", "[1]");
        task.time_limit.hard = Some(f64::INFINITY);
        let retry = Outcome::Retry {
            countdown: Duration::ZERO,
            reason: None,
            max_retries: None,
            arguments: None,
        };
        match judge_task(task, retry) {
            Verdict::Dead {
                reason,
                cause,
                failure,
            } => {
                assert_eq!(cause, NOT_ENCODABLE);
                assert_eq!(failure.exception.exc_type, "Reject");
                assert!(reason.contains("finite number"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_result_that_is_too_large_is_a_failure() {
        for (json, fits) in [("12345", true), ("123456", false), ("\"1234\"", false)] {
            let value = RawValue::from_string(json.to_owned()).unwrap();
            let verdict = success(value, Duration::from_secs(1), 5);
            match verdict {
                Verdict::Success { .. } => assert!(fits),
                Verdict::Failure(failure) => {
                    assert!(!fits);
                    assert_eq!(failure.exception.exc_type, "EncodeError");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn tracebacks_end_as_pythons_do() {
        for (exc_type, module, args, text) in [
            (
                "OSError",
                "builtins",
                vec![5.into(), "io failed".into()],
                "OSError: (5, 'io failed')\n",
            ),
            (
                "ValueError",
                "builtins",
                vec!["boom".into()],
                "ValueError: boom\n",
            ),
            ("KeyError", "builtins", vec![7.into()], "KeyError: (7,)\n"),
            (
                "SoftTimeLimitExceeded",
                BILLIARD,
                vec![],
                "billiard.exceptions.SoftTimeLimitExceeded\n",
            ),
        ] {
            let exception = ExceptionDoc::new(exc_type, Value::Null, Some(module)).with_args(args);
            assert_eq!(traceback(&exception), text);
        }
    }

    #[test]
    fn a_limit_looks_as_in_python() {
        assert_eq!(seconds(Duration::from_secs(3)).to_string(), "3");
        assert_eq!(seconds(Duration::from_millis(500)).to_string(), "0.5");
    }
}
