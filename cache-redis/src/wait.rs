//! Waiting: with an end, and several for one.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use cache_core::{Clock, Error, ErrorKind, Result};
use tokio::{runtime::Handle, sync::watch};

/// What a future answers within this time, if it does.
pub(crate) async fn within<T>(
    clock: &Clock,
    time: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut over = pin!(clock.sleep(time));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(res) => Poll::Ready(Some(res)),
        Poll::Pending => over.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Something that several wait for and that runs in a task of its own: it goes on if those who wait are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Attempt<T>(watch::Receiver<Option<Result<T>>>);

impl<T: Clone + Send + Sync + 'static> Attempt<T> {
    pub(crate) fn start(
        runtime: &Handle,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        let (send, receive) = watch::channel(None);
        runtime.spawn(async move {
            let outcome = future.await;
            send.send_replace(Some(outcome));
        });
        Self(receive)
    }

    /// Whether it has come to an end, or its runtime has.
    pub(crate) fn is_over(&self) -> bool {
        self.0.has_changed().is_err() || self.0.borrow().is_some()
    }

    pub(crate) async fn outcome(&self) -> Result<T> {
        let mut receive = self.0.clone();
        let outcome = receive.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        outcome.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Unavailable, "the runtime of this call is shutting down"))
        })
    }
}
