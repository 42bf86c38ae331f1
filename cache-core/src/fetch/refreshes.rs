use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

/// The loads of an alias that go on without a caller that waits: their number is bounded.
pub(crate) struct Refreshes {
    max: usize,
    active: AtomicUsize,
    ended: Notify,
}

/// The right to load without a caller that waits. It is held until the load ends.
pub(crate) struct Permit(Arc<Refreshes>);

impl Refreshes {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, active: AtomicUsize::new(0), ended: Notify::new() })
    }

    /// Returns a permit, or `None` if all of them are in use.
    pub(crate) fn permit(self: &Arc<Self>) -> Option<Permit> {
        let more = |active| (active < self.max).then_some(active + 1);
        self.active.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// Returns the number of permits in use.
    pub(crate) fn active(&self) -> usize {
        self.active.load(SeqCst)
    }

    /// Waits until no permit is in use.
    pub(crate) async fn idle(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before the count is read, so that no end in between is missed.
            ended.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permits_are_bounded_and_come_back() {
        let refreshes = Refreshes::new(2);
        let (one, two) = (refreshes.permit(), refreshes.permit());
        assert!(one.is_some() && two.is_some() && refreshes.permit().is_none());
        drop(one);
        assert_eq!(refreshes.active(), 1);
        let again = refreshes.permit();
        assert!(again.is_some());
        let idle = tokio::spawn({
            let refreshes = Arc::clone(&refreshes);
            async move { refreshes.idle().await }
        });
        drop((two, again));
        idle.await.unwrap();
        assert_eq!(refreshes.active(), 0);
    }
}
