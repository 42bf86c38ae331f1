//! Waiting: with an end, and several for one.

use std::time::Duration;

use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
use tokio::{runtime::Handle, sync::watch};

/// What a future answers within this time, if it does: for calls that are few, and have limits of their own. Many with the same
/// limit share a [`SharedDeadline`].
///
/// ```
/// use std::{future::pending, time::Duration};
///
/// use cache_core::Clock;
/// use cache_net::within;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (clock, time) = (Clock::system(), Duration::from_millis(5));
/// assert_eq!(within(&clock, time, async { 7 }).await, Some(7));
/// assert_eq!(within(&clock, time, pending::<()>()).await, None);
/// # }
/// ```
pub async fn within<T>(
    clock: &Clock,
    time: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    SharedDeadline::new(time, clock.clone()).run(future).await
}

/// Something that several wait for and that runs in a task of its own: it goes on if those who wait are dropped.
///
/// ```
/// use cache_net::Attempt;
/// use tokio::{runtime::Handle, sync::oneshot};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let (say, said) = oneshot::channel();
/// let attempt = Attempt::start(&Handle::current(), async { Ok(said.await.unwrap_or(0)) });
/// drop(attempt.outcome());
/// assert!(!attempt.is_finished());
///
/// say.send(7).unwrap();
/// let (one, other) = (attempt.clone(), attempt.clone());
/// assert_eq!((one.outcome().await?, other.outcome().await?), (7, 7));
/// assert!(attempt.is_finished());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Attempt<T>(watch::Receiver<Option<Result<T>>>);

impl<T: Clone + Send + Sync + 'static> Attempt<T> {
    /// Begins, in a task of this runtime.
    pub fn start(
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
    pub fn is_finished(&self) -> bool {
        self.0.has_changed().is_err() || self.0.borrow().is_some()
    }

    /// What came of it; `Unavailable` if its runtime has ended before.
    pub async fn outcome(&self) -> Result<T> {
        let mut receive = self.0.clone();
        let outcome = receive.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        outcome.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Unavailable, "the runtime of this call is shutting down"))
        })
    }
}
