//! Changes of counters that wait for earlier changes of the same key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cache_core::{Result, store::CounterInit};
use tokio::sync::oneshot;

/// The queue of one server and runtime.
#[derive(Debug, Default)]
pub(crate) struct CounterQueue(Mutex<HashMap<String, Vec<Change>>>);

/// An addition to a counter, and the channel to its caller.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) delta: i64,
    pub(crate) create: Option<CounterInit>,
    pub(crate) answer: oneshot::Sender<Result<Option<i64>>>,
}

/// The right and the duty to apply all changes of one key, including those that arrive meanwhile.
/// If it is dropped, the callers of the remaining changes receive an error.
pub(crate) struct Turn {
    queue: Arc<CounterQueue>,
    key: String,
    is_over: bool,
}

impl CounterQueue {
    /// Adds a change of this key. Returns the turn to the first caller.
    pub(crate) fn join(self: &Arc<Self>, key: &str, change: Change) -> Option<Turn> {
        let mut keys = self.lock();
        if let Some(waiting) = keys.get_mut(key) {
            waiting.push(change);
            return None;
        }
        keys.insert(key.to_owned(), vec![change]);
        Some(Turn { queue: Arc::clone(self), key: key.to_owned(), is_over: false })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Change>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Returns the waiting changes in order. If no change is waiting, the turn ends, and the next
    /// change starts a new turn.
    pub(crate) fn next(&mut self) -> Option<Vec<Change>> {
        let mut keys = self.queue.lock();
        let waiting = keys.get_mut(&self.key)?;
        if waiting.is_empty() {
            keys.remove(&self.key);
            self.is_over = true;
            return None;
        }
        Some(std::mem::take(waiting))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let left = self.queue.lock().remove(&self.key);
        // Outside of the lock, because this wakes the waiting callers.
        drop(left);
    }
}
