//! Whoever waits for a transaction, and what becomes of it when nobody waits any longer.
//!
//! A task that is stopped drops the future it waits with. The statement that runs then must not be dropped with it: its
//! connection would be left in the middle of an answer. It goes on in a task of the runtime, is cancelled from a second
//! connection if its task has a time limit, and is rolled back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

tokio::task_local! {
    /// Set around the code of tasks that may be stopped. To be told which session to cancel costs a round trip, which others
    /// need not pay.
    static STOPPABLE: ();
}

/// The code of a task that may be stopped: its statements are then cancelled.
pub(crate) fn stoppable<F: Future>(code: F) -> impl Future<Output = F::Output> {
    STOPPABLE.scope((), code)
}

/// What the work knows of whoever waits for it.
#[derive(Debug)]
pub(super) struct Caller {
    gone: AtomicBool,
    left: Notify,
    /// The number of the server's session that works, 0 while there is none.
    session: AtomicI64,
    stoppable: bool,
}

/// Held by whoever waits; dropped, they are gone.
pub(super) struct Waiting(Arc<Caller>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::SeqCst);
        self.0.left.notify_one();
    }
}

impl Caller {
    /// For the code that runs now.
    pub(super) fn here() -> (Waiting, Arc<Caller>) {
        let caller = Arc::new(Caller {
            gone: AtomicBool::new(false),
            left: Notify::new(),
            session: AtomicI64::new(0),
            stoppable: STOPPABLE.try_with(|()| ()).is_ok(),
        });
        (Waiting(Arc::clone(&caller)), caller)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Waits until nobody waits any longer.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }

    pub(super) fn is_stoppable(&self) -> bool {
        self.stoppable
    }

    /// The session that works from now on. To be followed by a look at [`Caller::is_gone`]: who left before this could
    /// not be cancelled.
    pub(super) fn works_in(&self, session: i64) {
        self.session.store(session, Ordering::SeqCst);
    }

    pub(super) fn session(&self) -> Option<i64> {
        Some(self.session.load(Ordering::SeqCst)).filter(|session| *session != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Database;

    /// Stops a task in the middle of a statement, and sees the statement end.
    async fn stopped(url: &str, statement: &'static str, running: &'static str) {
        let database = Database::from_url(url).unwrap();
        let working = tokio::spawn(stoppable({
            let database = database.clone();
            async move { database.execute(statement, &[]).await }
        }));
        for count in [1, 0] {
            let seen = async {
                loop {
                    let look = database.transaction(move |open| {
                        Box::pin(async move { open.keys(running, &[]).await })
                    });
                    if look.await.unwrap() == [count] {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
            assert!(seen.is_ok(), "waited for {count} of {statement}");
            working.abort();
        }
        assert!(working.await.unwrap_err().is_cancelled());
        assert!(database.is_up());
    }

    #[tokio::test]
    async fn a_stopped_task_leaves_no_statement_behind_mariadb() {
        let server = celery_testkit::MariaDb::start().unwrap();
        let running =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(600)'";
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
