//! Writes that a later one may overtake, because it takes another connection: those of keys with
//! different connections, and those that another connection than that of their key runs.
//!
//! A caller that leaves such a write may write the keys again. The write that it has left must not
//! undo this one, so the next write waits until the server has answered it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use super::detached::Caller;

/// The writes of a pool that are under way.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    callers: Mutex<Vec<Arc<Caller>>>,
    is_any: AtomicBool,
    /// Notified at the end of each write.
    ended: Notify,
}

/// A write that is under way until this is dropped.
pub(crate) struct UnderWay<'a> {
    all: &'a Elsewhere,
    caller: Arc<Caller>,
}

impl Elsewhere {
    /// Records a write, before it is sent.
    pub(crate) fn begin(&self, caller: &Arc<Caller>) -> UnderWay<'_> {
        let mut callers = self.lock();
        callers.push(Arc::clone(caller));
        self.is_any.store(true, Ordering::SeqCst);
        UnderWay { all: self, caller: Arc::clone(caller) }
    }

    /// Waits until the writes whose callers have left by now are answered. Each has a deadline.
    pub(crate) async fn wait(&self) {
        if self.is_any.load(Ordering::SeqCst) {
            Box::pin(self.wait_for(self.left())).await;
        }
    }

    #[cold]
    async fn wait_for(&self, left: Vec<Arc<Caller>>) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Before the writes are read, so that the end of none is missed.
            ended.as_mut().enable();
            let is_left = |it: &Arc<Caller>| left.iter().any(|other| Arc::ptr_eq(it, other));
            if !self.lock().iter().any(is_left) {
                return;
            }
            ended.await;
        }
    }

    /// Returns the callers that have left.
    fn left(&self) -> Vec<Arc<Caller>> {
        self.lock().iter().filter(|it| it.is_cancelled()).map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Caller>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut callers = self.all.lock();
        callers.retain(|it| !Arc::ptr_eq(it, &self.caller));
        self.all.is_any.store(!callers.is_empty(), Ordering::SeqCst);
        drop(callers);
        self.all.ended.notify_waiters();
    }
}
