//! Queues the updates of each key in this process: concurrent compare-and-set calls would only fail
//! each other.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use crate::runtime::{Clock, first};

/// The updates of one alias that run or wait, by key.
#[derive(Default)]
pub(crate) struct UpdateQueue(Mutex<Table>);

#[derive(Default)]
struct Table {
    keys: HashMap<Box<str>, Holder>,
    next: u64,
}

struct Holder {
    id: u64,
    /// When its turn expires: its future may never be polled again.
    until: Duration,
    /// The waiting callers, by their numbers.
    waiting: HashMap<u64, Waker>,
}

/// The turn of a caller to update a key.
pub(crate) struct Turn<'a> {
    queue: &'a UpdateQueue,
    key: &'a str,
    id: u64,
}

impl UpdateQueue {
    /// Waits until no other caller has its turn. The turn ends at `end`, so that later callers have
    /// one before their own end, but not before it has lasted `shortest`.
    pub(crate) async fn take<'a>(
        &'a self,
        key: &'a str,
        end: Duration,
        shortest: Duration,
        clock: &Clock,
    ) -> Turn<'a> {
        let id = {
            let mut table = self.lock();
            table.next += 1;
            table.next
        };
        loop {
            let now = clock.now();
            let until = match self.lock().keys.get(key) {
                Some(holder) => holder.until.saturating_sub(now),
                None => Duration::ZERO,
            };
            let free = poll_fn(|cx| {
                let now = clock.now();
                let mut table = self.lock();
                let waiting = match table.keys.get_mut(key) {
                    Some(holder) if now < holder.until => {
                        holder.waiting.insert(id, cx.waker().clone());
                        return Poll::Pending;
                    }
                    Some(holder) => std::mem::take(&mut holder.waiting),
                    None => HashMap::new(),
                };
                let until = end.max(now.saturating_add(shortest));
                let holder = Holder { id, until, waiting };
                table.keys.insert(key.into(), holder);
                Poll::Ready(())
            });
            if first(free, clock.sleep(until)).await.is_some() {
                return Turn { queue: self, key, id };
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut table = self.queue.lock();
        if table.keys.get(self.key).is_none_or(|it| it.id != self.id) {
            return;
        }
        let holder = table.keys.remove(self.key);
        drop(table);
        // All of them: the future of a single one might never be polled again.
        holder.into_iter().flat_map(|it| it.waiting).for_each(|(_, waker)| waker.wake());
    }
}
