//! Changes of counters that wait while an earlier change of the same key is made, so a single
//! request can make all of them.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use cache_core::{
    Result,
    store::{CounterInit, Expiry, integer},
};
use tokio::sync::oneshot;

/// The changes of counters that wait, by key.
///
/// ```
/// use std::sync::Arc;
///
/// use cache_net::{CounterChange, CounterQueue, CounterSum};
///
/// let queue = Arc::new(CounterQueue::default());
/// let (one, first) = CounterChange::new(1, None);
/// let (two, second) = CounterChange::new(2, None);
/// let mut turn = queue.join("n", one).unwrap();
/// assert!(queue.join("n", two).is_none(), "the first one has the turn");
///
/// let changes = turn.next().unwrap();
/// // The server said that the counter was 40.
/// let answers = CounterSum::new(Some(40), &changes).answers;
/// changes.into_iter().zip(answers).for_each(|(change, answer)| change.answer(answer));
/// assert!(turn.next().is_none());
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(first.await.unwrap().unwrap(), Some(41));
/// assert_eq!(second.await.unwrap().unwrap(), Some(43));
/// # });
/// ```
#[derive(Debug, Default)]
pub struct CounterQueue(Mutex<HashMap<String, Vec<CounterChange>>>);

/// An addition to a counter, and the channel to the caller who waits for the answer.
#[derive(Debug)]
pub struct CounterChange {
    /// The number to add.
    pub delta: i64,
    /// The counter to create if the key is missing.
    pub create: Option<CounterInit>,
    answer: oneshot::Sender<Result<Option<i64>>>,
}

/// The right and the duty to make the changes of one key, also those that come meanwhile. Changes
/// that wait when it is dropped get no answer: their channels close.
#[derive(Debug)]
pub struct CounterTurn {
    queue: Arc<CounterQueue>,
    key: String,
    is_over: bool,
}

/// The result of several changes of one counter, one after the other.
#[derive(Debug)]
pub struct CounterSum {
    /// The counter after all changes; `None` if there is no counter.
    pub value: Option<i64>,
    /// The lifetime of a counter that is created.
    pub expiry: Option<Expiry>,
    /// The answer to each change.
    pub answers: Vec<Result<Option<i64>>>,
}

impl CounterQueue {
    /// Adds a change of this key. Returns the turn if no earlier change of the key is under way.
    pub fn join(self: &Arc<Self>, key: &str, change: CounterChange) -> Option<CounterTurn> {
        let mut keys = self.lock();
        if let Some(waiting) = keys.get_mut(key) {
            waiting.push(change);
            return None;
        }
        keys.insert(key.to_owned(), vec![change]);
        Some(CounterTurn { queue: Arc::clone(self), key: key.to_owned(), is_over: false })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<CounterChange>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CounterChange {
    /// Returns a change, and the receiver of its answer. Dropping the receiver says that the caller
    /// has left.
    pub fn new(
        delta: i64,
        create: Option<CounterInit>,
    ) -> (Self, oneshot::Receiver<Result<Option<i64>>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { delta, create, answer }, receiver)
    }

    /// Sends the answer to the caller, if it still waits.
    pub fn answer(self, answer: Result<Option<i64>>) {
        let _ = self.answer.send(answer);
    }

    /// Removes the changes whose callers have left: a caller that got `TimedOut` may have deleted
    /// the key since. Returns whether any change is left.
    pub fn keep_wanted(changes: &mut Vec<Self>) -> bool {
        changes.retain(|change| !change.answer.is_closed());
        !changes.is_empty()
    }

    /// Waits until all callers have left.
    pub async fn all_left(changes: &mut [Self]) {
        poll_fn(|cx| {
            // All of them are polled, so that each can wake the task.
            let waiting =
                changes.iter_mut().filter_map(|it| it.poll_left(cx).is_pending().then_some(()));
            if waiting.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until one of the callers has left.
    pub async fn any_left(changes: &mut [Self]) {
        poll_fn(|cx| {
            let left = changes.iter_mut().any(|it| it.poll_left(cx).is_ready());
            if left { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.answer.poll_closed(cx)
    }
}

impl CounterTurn {
    /// Returns the changes that wait, in the order in which they came. If no change waits the turn
    /// is over, and the next change has a turn of its own.
    #[expect(clippy::should_implement_trait, reason = "after the end it may not be called again")]
    pub fn next(&mut self) -> Option<Vec<CounterChange>> {
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

impl Drop for CounterTurn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let left = self.queue.lock().remove(&self.key);
        // Not under the lock: it wakes the callers.
        drop(left);
    }
}

impl CounterSum {
    /// Adds the changes to a counter that holds `old`. Each change has the answer that it would
    /// have had alone, behind those before it.
    #[must_use]
    pub fn new(old: Option<i64>, changes: &[CounterChange]) -> Self {
        let mut sum = Self { value: old, expiry: None, answers: Vec::with_capacity(changes.len()) };
        for change in changes {
            let answer = match (sum.value, change.create) {
                (None, None) => Ok(None),
                (Some(value), _) => integer::add(value, change.delta).map(Some),
                (None, Some(create)) => {
                    let first = integer::add(create.initial, change.delta);
                    if first.is_ok() {
                        sum.expiry = Some(create.expiry);
                    }
                    first.map(Some)
                }
            };
            if let Ok(Some(value)) = answer {
                sum.value = Some(value);
            }
            sum.answers.push(answer);
        }
        sum
    }
}
