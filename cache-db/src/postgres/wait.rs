//! Waiting: with an end, and several for one.

use std::time::Duration;

use cache_core::{Clock, Error, ErrorKind, Result, TimeLimit};
use tokio::{runtime::Handle, sync::watch};

/// What a future answers within this time, if it does: for calls that are few, and have limits of their own.
pub(crate) async fn within<T>(
    clock: &Clock,
    time: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    TimeLimit::new(time, clock.clone()).run(future).await
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
