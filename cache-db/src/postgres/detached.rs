//! Running a call in a task of its own, so that it goes on when its future is not polled.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use cache_core::Result;
use tokio::runtime::Handle;

/// Whether the caller still waits. After the caller has dropped the call, nothing more is sent for
/// it.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    is_cancelled: Mutex<bool>,
    /// Whether a write of this call was sent and not answered.
    is_unanswered: AtomicBool,
}

/// Marks the call as cancelled when it is dropped.
struct CancelOnDrop(Arc<Caller>);

/// Runs a call in a task of its own: the client reads no further on a connection while an answer is
/// not taken, and the caller may stop polling its future.
///
/// The call is polled once before the task begins, so that statements are sent in the order in
/// which their calls began.
pub(crate) async fn run<T, F>(runtime: &Handle, start: impl FnOnce(Arc<Caller>) -> F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let wanted = CancelOnDrop(Arc::default());
    let mut call = Box::pin(start(Arc::clone(&wanted.0)));
    let first = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    if let Poll::Ready(outcome) = first {
        return outcome;
    }
    runtime.spawn(call).await.unwrap_or_else(|_| Err(cache_net::runtime_closed()))
}

impl Caller {
    /// Polls a future that sends a statement on its first poll. Returns `None`, without polling, if
    /// the caller has left by then.
    pub(crate) async fn send<F: Future>(
        &self,
        sending: F,
        on_send: impl Fn(),
    ) -> Option<F::Output> {
        let mut sending = pin!(sending);
        let mut is_sent = false;
        poll_fn(|cx| {
            if is_sent {
                return sending.as_mut().poll(cx).map(Some);
            }
            // Holding the lock delays the cancellation, so that whatever the caller does next is
            // sent later.
            let is_cancelled = self.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner);
            if *is_cancelled {
                return Poll::Ready(None);
            }
            is_sent = true;
            on_send();
            sending.as_mut().poll(cx).map(Some)
        })
        .await
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a write was sent, or that it was answered.
    pub(crate) fn set_unanswered(&self, is_unanswered: bool) {
        self.is_unanswered.store(is_unanswered, Ordering::Relaxed);
    }

    pub(crate) fn has_unanswered(&self) -> bool {
        self.is_unanswered.load(Ordering::Relaxed)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        *self.0.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
