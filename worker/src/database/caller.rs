//! The caller that waits for a transaction, and the fate of the transaction when the caller has
//! gone.
//!
//! A task that is stopped drops its future. The statement that runs then must not be dropped with
//! it: its connection would be lost, and the server would go on with the statement. Instead the
//! statement goes on in a task of the runtime, is cancelled from a second connection, and is rolled
//! back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::watch::AtWork;
use crate::task_log::Running;
use crate::trace::Current;

/// The link between a transaction and its caller.
#[derive(Debug)]
pub(super) struct Caller {
    gone: AtomicBool,
    left: Notify,
    /// The work that is done for the caller.
    pub(super) work: Arc<AtWork>,
    /// The task whose code the caller is, if any.
    pub(super) task: Option<Running>,
    /// The spans of the caller, if it is traced.
    pub(super) spans: Option<Current>,
}

/// The caller's half. Dropping it means that the caller has gone.
pub(super) struct Waiting(Arc<Caller>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::SeqCst);
        self.0.left.notify_one();
    }
}

impl Caller {
    /// Makes both halves of the link. The caller keeps [`Waiting`] for as long as it waits. The
    /// transaction has the task and the spans of the code that calls this.
    pub(super) fn here() -> (Waiting, Arc<Caller>) {
        let caller = Arc::new(Caller {
            gone: AtomicBool::new(false),
            left: Notify::new(),
            work: Arc::default(),
            task: Running::here(),
            spans: Current::here(),
        });
        (Waiting(Arc::clone(&caller)), caller)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Waits until the caller has gone.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use crate::Database;

    /// Stops tasks in the middle of statements that take every connection, and asserts that the
    /// statements end.
    async fn stopped(url: &str, statement: &'static str, running: &'static str) {
        let places = NonZeroU16::new(3).unwrap();
        let database = Database::from_url(url).unwrap().connections(places);
        let working: Vec<_> = (0..places.get())
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move { database.execute(statement, &[]).await })
            })
            .collect();
        let looking = Database::from_url(url).unwrap();
        for count in [places.get().into(), 0] {
            let seen = async {
                loop {
                    let look = looking.transaction(move |open| {
                        Box::pin(async move { open.keys(running, &[]).await })
                    });
                    if look.await.unwrap() == [count] {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let seen = tokio::time::timeout(Duration::from_mins(1), seen).await;
            assert!(seen.is_ok(), "waited for {count} of {statement}");
            working.iter().for_each(tokio::task::JoinHandle::abort);
        }
        for one in working {
            assert!(one.await.unwrap_err().is_cancelled());
        }
        assert!(database.is_up());
    }

    #[tokio::test]
    async fn a_stopped_task_leaves_no_statement_behind_mariadb() {
        let server = celery_testkit::MariaDb::start().unwrap();
        let running = "SELECT COUNT(*) FROM information_schema.processlist \
            WHERE info = 'DO SLEEP(600)' AND command = 'Execute'";
        stopped(&server.url(), "DO SLEEP(600)", running).await;
    }

    #[tokio::test]
    async fn a_stopped_task_leaves_no_statement_behind_postgres() {
        let server = celery_testkit::Postgres::start().unwrap();
        let running = "SELECT COUNT(*) FROM pg_stat_activity \
            WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'";
        stopped(&server.url(), "SELECT pg_sleep(600)", running).await;
    }
}
