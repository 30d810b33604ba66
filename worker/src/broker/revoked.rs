//! The tasks that must not run. Remote control fills the list. Each task is looked up in it before
//! it starts.
//!
//! Redis keeps the list for restarts. On RabbitMQ other workers tell a new one what is revoked. When
//! a worker starts, its first tasks wait until the list has been read, for a few seconds at most.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::control::{MOST_REVOKED, REVOKED_FOR};

/// How long the first tasks wait for the list: longer than a busy broker takes to send it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ids of revoked tasks.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// The number of ids, to be read without the lock.
    count: AtomicUsize,
    inner: Mutex<Inner>,
    loading: AtomicBool,
    loaded: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// When each revocation ends.
    ends: HashMap<Arc<str>, Instant>,
    /// The ids, oldest first.
    order: VecDeque<Arc<str>>,
}

impl Inner {
    fn purge(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front()
            && (self.order.len() > MOST_REVOKED
                || self.ends.get(oldest).is_none_or(|end| *end <= now))
        {
            self.ends.remove(oldest);
            self.order.pop_front();
        }
    }
}

impl Revoked {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds ids. The oldest ones make room.
    pub(crate) fn add<S: AsRef<str>>(&self, ids: impl IntoIterator<Item = S>, now: Instant) {
        let mut inner = self.lock();
        for id in ids {
            let id: Arc<str> = id.as_ref().into();
            if inner
                .ends
                .insert(Arc::clone(&id), now + REVOKED_FOR)
                .is_none()
            {
                inner.order.push_back(id);
            }
        }
        inner.purge(now);
        self.count.store(inner.order.len(), Ordering::Release);
    }

    /// Returns `true` if nothing is revoked.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Returns `true` if a task is revoked.
    pub(crate) fn contains(&self, id: &str) -> bool {
        !self.is_empty() && (self.lock().ends.get(id)).is_some_and(|end| *end > Instant::now())
    }

    /// Returns all ids, oldest first.
    pub(crate) fn list(&self) -> Vec<String> {
        let mut inner = self.lock();
        inner.purge(Instant::now());
        inner.order.iter().map(ToString::to_string).collect()
    }

    /// Makes tasks wait until the list has been read.
    pub(crate) fn begin_loading(&self) {
        self.loading.store(true, Ordering::Release);
    }

    /// Lets waiting tasks begin: the list has been read, or cannot be.
    pub(crate) fn end_loading(&self) {
        self.loading.store(false, Ordering::Release);
        self.loaded.notify_waiters();
    }

    /// Waits until the list has been read.
    pub(crate) async fn ready(&self) {
        if !self.loading.load(Ordering::Acquire) {
            return;
        }
        let loaded = self.loaded.notified();
        let mut loaded = std::pin::pin!(loaded);
        loaded.as_mut().enable();
        if self.loading.load(Ordering::Acquire)
            && tokio::time::timeout(PATIENCE, loaded).await.is_err()
        {
            self.end_loading();
        }
    }
}

/// Returns the stamps of a task, each written as [`stamp_text`] does.
pub(crate) fn stamps(task: &Task) -> impl Iterator<Item = String> + '_ {
    let headers = task.stamped_headers.iter().flatten();
    headers.flat_map(|header| {
        let stamps = task.stamps.get(header).map(RawValue::get);
        let stamps = stamps.and_then(|json| serde_json::from_str(json).ok());
        let stamps = match stamps {
            None => Vec::new(),
            Some(Value::Array(stamps)) => stamps,
            Some(stamp) => vec![stamp],
        };
        stamps.into_iter().map(|stamp| stamp_text(header, &stamp))
    })
}

/// Returns a stamp as one text: the header, `=` and the value.
pub(crate) fn stamp_text(header: &str, stamp: &Value) -> String {
    match stamp {
        Value::String(text) => format!("{header}={text}"),
        other => format!("{header}={other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_leave_in_time() {
        let (revoked, now) = (Revoked::default(), Instant::now());
        assert!(!revoked.contains("0"));
        revoked.add(["a", "b", "a"], now);
        assert!(revoked.contains("a") && revoked.contains("b") && !revoked.contains("c"));
        assert_eq!(revoked.list(), ["a", "b"]);
        revoked.add((0..MOST_REVOKED - 1).map(|n| n.to_string()), now);
        assert!(!revoked.contains("a") && revoked.contains("b"));
        assert_eq!(revoked.list().len(), MOST_REVOKED);

        let revoked = Revoked::default();
        let then = now.checked_sub(REVOKED_FOR).unwrap();
        revoked.add(["old"], then);
        assert!(!revoked.contains("old"));
        revoked.add(["new"], now);
        assert_eq!(revoked.list(), ["new"]);
        // Revoked again, it lasts longer.
        revoked.add(["twice"], then);
        revoked.add(["twice"], now);
        assert!(revoked.contains("twice"));
    }

    #[tokio::test]
    async fn tasks_wait_for_the_list() {
        let revoked = Arc::new(Revoked::default());
        revoked.ready().await;
        revoked.begin_loading();
        let waiting = tokio::spawn({
            let revoked = Arc::clone(&revoked);
            async move { revoked.ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        revoked.end_loading();
        waiting.await.unwrap();
        revoked.ready().await;
    }

    #[test]
    fn each_stamp_is_one_text() {
        let mut task = crate::task::testing::task("t", "[]");
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        assert_eq!(stamps(&task).count(), 0);
        task.stamps.insert("tenant", raw(r#"["acme", 7]"#));
        task.stamps.insert("user", raw("\"me\""));
        // A stamp that the list of headers does not name is not one.
        task.stamps.insert("other", raw("\"x\""));
        task.stamped_headers = Some(vec!["tenant".into(), "user".into(), "absent".into()]);
        let found: Vec<String> = stamps(&task).collect();
        assert_eq!(found, ["tenant=acme", "tenant=7", "user=me"]);
    }
}
