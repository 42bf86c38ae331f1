//! Running a call in a task of its own, so that it goes on when its future is not polled.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use cache_core::Result;
use tokio::{runtime::Handle, task::JoinHandle};

/// Whether the caller still waits. After the caller has dropped the call, nothing more is sent for
/// it.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    state: Mutex<State>,
    /// Whether a write of this call was sent and not answered.
    is_unanswered: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    /// Whether a statement of this call was sent, or may have been.
    is_sent: bool,
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
    match begin(runtime, start(Arc::clone(&wanted.0))).await {
        Begun::Done(outcome) => outcome,
        Begun::Spawned(task) => task.await.unwrap_or_else(|_| Err(cache_net::runtime_closed())),
    }
}

/// The state of a future after its first poll.
pub(crate) enum Begun<T> {
    Done(T),
    Spawned(JoinHandle<T>),
}

/// Polls a future once, and lets it continue in a task of its own.
pub(crate) async fn begin<T: Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Begun<T> {
    let mut future = Box::pin(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(outcome) => Begun::Done(outcome),
        Poll::Pending => Begun::Spawned(runtime.spawn(future)),
    }
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
            let mut state = self.state();
            if state.is_cancelled {
                return Poll::Ready(None);
            }
            (is_sent, state.is_sent) = (true, true);
            on_send();
            sending.as_mut().poll(cx).map(Some)
        })
        .await
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.state().is_cancelled
    }

    /// Cancels the call, unless a statement of it was sent.
    pub(crate) fn cancel_unless_sent(&self) {
        let mut state = self.state();
        state.is_cancelled |= !state.is_sent;
    }

    /// Marks the call as sent, for a statement that another call sends. Returns `false` if the call
    /// was cancelled before.
    pub(crate) fn hand_over(&self) -> bool {
        let mut state = self.state();
        state.is_sent |= !state.is_cancelled;
        state.is_sent
    }

    /// Whether the call was cancelled before any statement of it was sent.
    pub(crate) fn is_cancelled_unsent(&self) -> bool {
        let state = self.state();
        state.is_cancelled && !state.is_sent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.0.state().is_cancelled = true;
    }
}
