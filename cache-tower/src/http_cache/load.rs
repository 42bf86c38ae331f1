//! A load, which outlives the deadline of the facade while its client waits.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use cache_core::Loaded;
use futures_util::future;
use tokio::{runtime::Handle, sync::Notify};

/// The future of a load. If it is dropped while the client waits, the request goes on alone: a
/// deadline of the cache does not end it.
pub(super) struct Load {
    run: Option<Pin<Box<Run>>>,
    abandoned: Arc<Abandoned>,
}

type Run = dyn Future<Output = Result<Loaded<Bytes>, ServiceFailed>> + Send;

impl Load {
    pub(super) fn new(
        run: impl Future<Output = Result<Loaded<Bytes>, ServiceFailed>> + Send + 'static,
        abandoned: Arc<Abandoned>,
    ) -> Self {
        Self { run: Some(Box::pin(run)), abandoned }
    }
}

impl Future for Load {
    type Output = Result<Loaded<Bytes>, ServiceFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.run else { return Poll::Pending };
        let res = run.as_mut().poll(cx);
        if res.is_ready() {
            self.run = None;
        }
        res
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        if self.abandoned.is_set.load(Ordering::Acquire) {
            return;
        }
        // Without a runtime, the client does not wait any more, either.
        if let Ok(runtime) = Handle::try_current() {
            let abandoned = Arc::clone(&self.abandoned);
            runtime.spawn(async move {
                let left = pin!(abandoned.notify.notified());
                future::select(run, left).await;
            });
        }
    }
}

/// Whether the client of a request has left.
#[derive(Default)]
pub(super) struct Abandoned {
    is_set: AtomicBool,
    notify: Notify,
}

impl Abandoned {
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// The error of a load that keeps a stale response in use.
#[derive(Debug)]
pub(super) struct ServiceFailed;

impl fmt::Display for ServiceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service failed, and a stale response is stored")
    }
}
