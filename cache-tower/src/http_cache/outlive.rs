//! A call that goes on when its client has left.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use cache_core::{CACHES, CurrentCaches};
use tokio::runtime::Handle;

/// A future that goes on in a task of its own when it is dropped before its end.
///
/// Until then it runs in the task of its request, so that the values of task-locals reach it.
pub(super) struct Outlive<T: Send + 'static> {
    run: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// The scope of [`CACHES`], which the task has not.
    caches: CurrentCaches,
    /// Where the task runs: a future may be dropped outside of a runtime.
    runtime: Option<Handle>,
}

impl<T: Send + 'static> Outlive<T> {
    pub(super) fn new(run: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            run: Some(Box::pin(run)),
            caches: CACHES.current(),
            runtime: Handle::try_current().ok(),
        }
    }
}

impl<T: Send + 'static> Future for Outlive<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // A future that panics is not polled again.
        let Some(mut run) = self.run.take() else { return Poll::Pending };
        let res = run.as_mut().poll(cx);
        if res.is_pending() {
            self.run = Some(run);
        }
        res
    }
}

impl<T: Send + 'static> Drop for Outlive<T> {
    fn drop(&mut self) {
        if let (Some(run), Some(runtime)) = (self.run.take(), &self.runtime) {
            let caches = self.caches;
            runtime.spawn(async move { drop(caches.scope(run).await) });
        }
    }
}
