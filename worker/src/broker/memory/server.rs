//! The server, as tests and the parts of workers see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::{Dead, Depth, State};

/// A server in memory. Clones are the same server; it ends with the last of them.
#[derive(Clone, Debug, Default)]
pub struct Server(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes all that wait for messages, or for the server to answer again.
    changed: Notify,
}

impl Server {
    /// Returns a server that keeps messages until they are due, so that no worker waits for them.
    pub fn delaying() -> Self {
        let server = Server::default();
        server.change(|state| state.delays = true);
        server
    }

    /// Puts a message at the end of a queue.
    pub fn push(&self, queue: &str, message: Vec<u8>) {
        self.change(|state| state.push(queue, message));
    }

    /// Returns how many messages of a queue wait, and how many are held.
    pub fn depth(&self, queue: &str) -> Depth {
        self.state().depth(queue)
    }

    /// Returns how many messages the server keeps until they are due.
    pub fn delayed(&self) -> usize {
        self.state().delayed()
    }

    /// Returns the dead letters, oldest first.
    pub fn dead(&self) -> Vec<Dead> {
        self.state().dead.clone()
    }

    /// Returns the stored result of a task.
    pub fn result(&self, id: &str) -> Option<Vec<u8>> {
        self.state().results.get(id).cloned()
    }

    /// Returns how many results are stored.
    pub fn results(&self) -> usize {
        self.state().results.len()
    }

    /// Begins a chord whose header has `size` members.
    pub fn begin_chord(&self, group: &str, size: usize) {
        self.change(|state| state.chords.begin(group, size, None));
    }

    /// Returns how many chords have begun and not ended.
    pub fn open_chords(&self) -> usize {
        self.state().chords.open()
    }

    /// Ends all connections. The messages that they held go back, and workers connect again.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Ends all connections, and refuses new ones until it is started again. Nothing is lost.
    pub fn stop(&self) {
        self.change(|state| {
            state.cut();
            state.is_down = true;
        });
    }

    /// Takes connections again after a [`stop`](Self::stop).
    pub fn start(&self) {
        self.change(|state| state.is_down = false);
    }

    /// Leaves everything unanswered from now on (`true`), or answers it (`false`).
    pub fn freeze(&self, frozen: bool) {
        self.change(|state| state.is_frozen = frozen);
    }

    /// Waits until `look` returns something. Calls it again after each change.
    #[cfg(test)]
    pub(crate) async fn seen<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(seen) = look(self) {
                return seen;
            }
            changed.await;
        }
    }

    /// Changes the state, whether or not the server answers workers.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.0.changed.notify_waiters();
        changed
    }

    /// Waits until the server answers, and makes a change.
    pub(super) async fn call<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut change = Some(change);
        let answer = self.until(|state| {
            let change = change.take_if(|_| state.answers())?;
            Some(change(state))
        });
        let answer = answer.await;
        self.0.changed.notify_waiters();
        answer
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Only tests use this broker. After a panic its state need not be right.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` returns something. Calls `look` again after each change of the state.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let seen = look(&mut self.state());
            if let Some(seen) = seen {
                return seen;
            }
            changed.await;
        }
    }
}
