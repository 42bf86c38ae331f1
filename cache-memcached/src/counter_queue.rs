//! Changes of counters that wait until those before them on the same key are done.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cache_core::{Result, store::CounterInit};
use tokio::sync::oneshot;

/// Of one server, as one runtime has it.
#[derive(Debug, Default)]
pub(crate) struct CounterQueue(Mutex<HashMap<String, Vec<Change>>>);

/// An addition to a counter, for a caller who waits for the answer.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) delta: i64,
    pub(crate) create: Option<CounterInit>,
    pub(crate) answer: oneshot::Sender<Result<Option<i64>>>,
}

/// The right and the duty to make the changes of one key, all that come meanwhile among them. What is left when it is dropped has no
/// answer.
pub(crate) struct Turn {
    queue: Arc<CounterQueue>,
    key: String,
    is_over: bool,
}

impl CounterQueue {
    /// Adds a change of this key. The first one has the turn.
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
    /// Those that wait, in the order in which they came. If there are none the turn is over, and the next change has a turn of its own.
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
        // Not under the lock: it wakes those who wait.
        drop(left);
    }
}
