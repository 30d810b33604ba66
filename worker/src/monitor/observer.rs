//! The interface of everything that reports on tasks and messages: the log, the metrics and
//! Celery's events.
//!
//! Consumer and executor make one call for each transition, at the moment when it happens. The
//! methods of a task come in the order of its life, under the names of Celery's events:
//!
//! ```text
//!   received ──► started ──┬──► succeeded, failed, retried, rejected, ignored
//!       │                  └──► given_back: the message is received again
//!       └──► revoked, unregistered, poison, bug
//! ```
//!
//! # How to add an observer
//!
//! Implement [`Observer`] for a type that is cheap to clone, and override the methods that matter;
//! the others do nothing. Then add the type to [`Observers`](super::Observers): a pair of observers
//! is an observer. [`Of`] gives everything that the message says. That includes the fields of
//! Celery's events: id, name, arguments, retries, ETA, `expires`, root and parent.
//!
//! An observer is called on the runtimes of the worker, in the path of every task. It must not
//! block, and while it reports nothing, it must not allocate. The calls are static; an observer
//! whose methods are empty costs nothing. Work that grows with the message needs a limit: events
//! cut the texts of values. Longer work belongs in a task of its own, with a clone of [`Of::task`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{DecodeError, Task};
use celery_protocol::result::ExceptionDoc;
use serde_json::value::RawValue;

use crate::trace::{Produced, Run};

/// A task, and the queue that its message came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) task: &'a Arc<Task>,
    pub(crate) queue: &'a Arc<str>,
    /// The span of its run, if its trace is recorded.
    pub(crate) run: Option<&'a Run>,
}

/// An exception as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raised<'a> {
    pub(crate) exception: &'a ExceptionDoc,
    /// `None` for an exception that no code raised.
    pub(crate) traceback: Option<&'a str>,
    /// `true` if the task declares that it may raise this exception.
    pub(crate) is_expected: bool,
}

/// The reason why a task was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// Its `expires` passed before its code began.
    Expired,
    /// Remote control revoked it before its code began.
    Revoked,
    /// Remote control ended its code.
    Terminated {
        /// The number of the signal that a process would have got.
        signal: i32,
    },
    /// Its task is unique, and another call with the same arguments waits or runs.
    Duplicate {
        /// The id of that call.
        of: String,
    },
}

impl Revocation {
    /// Returns the reason as Celery stores it.
    pub(crate) fn reason(&self) -> Cow<'static, str> {
        match self {
            Revocation::Expired => "expired".into(),
            Revocation::Revoked => "revoked".into(),
            Revocation::Terminated { .. } => "terminated".into(),
            // Celery has no unique tasks.
            Revocation::Duplicate { of } => format!("duplicate of {of}").into(),
        }
    }
}

/// How a worker noticed that it had lost leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// They could not be renewed.
    Renewed,
    /// Their messages could not be acknowledged.
    Acknowledged,
    /// What their tasks returned could not be stored.
    Settled,
}

/// Declares the methods of [`Observer`], and implements it for pairs of observers.
macro_rules! observer {
    (
        $(#[$about:meta])*
        pub(crate) trait Observer {
            $($(#[$doc:meta])* fn $method:ident(&self $(, $arg:ident: $type:ty)*);)*
        }
    ) => {
        $(#[$about])*
        pub(crate) trait Observer {
            $(
                $(#[$doc])*
                fn $method(&self $(, $arg: $type)*) {
                    $(let _ = $arg;)*
                }
            )*
        }

        impl<A: Observer, B: Observer> Observer for (A, B) {
            $(
                fn $method(&self $(, $arg: $type)*) {
                    self.0.$method($($arg),*);
                    self.1.$method($($arg),*);
                }
            )*
        }
    };
}

observer! {
    /// A reporter of what happens to tasks and messages. Each method does nothing by default.
    pub(crate) trait Observer {
        /// A message of a registered task was claimed and read. A task with an ETA is received
        /// once, before it waits.
        fn received(&self, of: Of<'_>);

        /// The code of a task begins. It begins once for a delivery, even if it runs again because
        /// a server was away.
        fn started(&self, of: Of<'_>);

        /// This many more tasks run (fewer, if negative). A task that waits for a server that is
        /// away does not run.
        fn running(&self, change: i64);

        /// The code of this batched task is about to run for this many calls.
        fn batch(&self, task: &Arc<str>, calls: usize);

        /// A task exceeded its soft time limit, and was asked to end.
        fn soft_limit(&self, of: Of<'_>, limit: Duration);

        /// A task waits for a server that is away, and then runs again.
        fn waits(&self, of: Of<'_>, cause: &str);

        /// The calls of a batch wait for a server that is away, and then run again.
        fn batch_waits(&self, task: &Arc<str>, calls: usize, cause: &str);

        /// A task returned this value after this time.
        fn succeeded(&self, of: Of<'_>, runtime: Duration, value: &RawValue);

        /// A redelivered message is not run again: its task has succeeded.
        fn succeeded_before(&self, of: Of<'_>);

        /// A task failed, and is not run again.
        fn failed(&self, of: Of<'_>, raised: Raised<'_>);

        /// A task was stopped at its hard time limit, and is not run again.
        fn timed_out(&self, of: Of<'_>, limit: Duration, raised: Raised<'_>);

        /// A task will be run again after this time. `raised` is the failure behind it.
        fn retried(&self, of: Of<'_>, countdown: Duration, raised: Option<Raised<'_>>);

        /// A task refused its message. With `raised`, that is stored as the task's failure and the
        /// message becomes a dead letter; without, the message goes to the end of its queue.
        fn rejected(&self, of: Of<'_>, reason: &str, raised: Option<Raised<'_>>);

        /// A task is not run, and is stored as revoked.
        fn revoked(&self, of: Of<'_>, revocation: &Revocation);

        /// A task asked not to record how it ended.
        fn ignored(&self, of: Of<'_>);

        /// The message of a task goes back; its code may have begun.
        fn given_back(&self, of: Of<'_>);

        /// A message for this queue, which has this span, was published.
        fn published(&self, span: &Produced, queue: &str);

        /// The message of a task was published to this queue. Only reported if events of it are on.
        fn sent(&self, task: &Task, queue: &str);

        /// A message names a task that is not registered. It becomes a dead letter.
        fn unregistered(&self, of: Of<'_>);

        /// A message was redelivered this many times, each time to a worker that ended. It becomes
        /// a dead letter.
        fn poison(&self, of: Of<'_>, times: u64);

        /// Because of a bug of this worker, a task cannot run, or its end cannot be recorded. Its
        /// message becomes a dead letter.
        fn bug(&self, of: Of<'_>);

        /// A claim was answered, and brought this many messages.
        fn claimed(&self, messages: usize);

        /// This many messages of a claim were not objects. They became dead letters.
        fn not_objects(&self, messages: usize);

        /// A message cannot be read. It becomes a dead letter.
        fn malformed(&self, queue: &str, error: &DecodeError);

        /// Because of a bug, a message cannot be read. It becomes a dead letter.
        fn unreadable(&self);

        /// A message ended this many workers while they read it. It becomes a dead letter.
        fn lethal(&self, queue: &str, id: &str, task: &str, times: u64);

        /// This many tasks that wait for their ETA are given back.
        fn gives_back(&self, waiting: usize);

        /// Leases were found lost. The number is at least 1.
        fn lost(&self, leases: usize, how: Lost);

        /// Messages of workers that are gone went back to their queues. The number is at least 1.
        fn restored(&self, messages: usize);

        /// Messages of workers that are gone could not be read, and became dead letters. The
        /// number is at least 1.
        fn unreadable_orphans(&self, messages: usize);

        /// A settlement made a message, or a follow-up, a dead letter with this cause.
        fn dead_letter(&self, cause: &str);

        /// The message with this tag cannot be settled, and will be delivered again.
        fn unsettled(&self, tag: &str, why: &str);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::task::testing;

    /// Notes what it sees in a list.
    struct Notes<'n>(&'static str, &'n RefCell<Vec<String>>);

    impl Notes<'_> {
        fn note(&self, what: &str) {
            self.1.borrow_mut().push(format!("{}: {what}", self.0));
        }
    }

    impl Observer for Notes<'_> {
        fn received(&self, of: Of<'_>) {
            self.note(&format!("received {} from {}", of.task.id, of.queue));
        }

        fn lost(&self, leases: usize, how: Lost) {
            self.note(&format!("lost {leases} {how:?}"));
        }
    }

    /// Sees nothing.
    struct Blind;

    impl Observer for Blind {}

    #[test]
    fn each_observer_of_a_pair_sees_each_transition_once() {
        let seen = RefCell::default();
        let observers = (Notes("a", &seen), (Blind, Notes("b", &seen)));
        let (task, queue) = (Arc::new(testing::task("t", "[]")), Arc::from("mails"));
        let of = Of {
            task: &task,
            queue: &queue,
            run: None,
        };
        observers.received(of);
        observers.started(of);
        observers.lost(2, Lost::Renewed);
        let expected = [
            "a: received an-id from mails",
            "b: received an-id from mails",
            "a: lost 2 Renewed",
            "b: lost 2 Renewed",
        ];
        assert_eq!(*seen.borrow(), expected);
    }
}
