//! A task with several waiters.

use cache_core::Result;
use tokio::{runtime::Handle, sync::watch};

use crate::runtime_closed;

/// A task whose outcome several callers can wait for. It continues when waiting callers are
/// dropped.
///
/// ```
/// use cache_net::Attempt;
/// use tokio::{runtime::Handle, sync::oneshot};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let (send, receive) = oneshot::channel();
/// let attempt = Attempt::start(&Handle::current(), async { Ok(receive.await.unwrap_or(0)) });
/// drop(attempt.outcome());
/// assert!(!attempt.is_finished());
///
/// send.send(7).unwrap();
/// let (one, other) = (attempt.clone(), attempt.clone());
/// assert_eq!((one.outcome().await?, other.outcome().await?), (7, 7));
/// assert!(attempt.is_finished());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Attempt<T>(watch::Receiver<Option<Result<T>>>);

impl<T: Clone + Send + Sync + 'static> Attempt<T> {
    /// Spawns the future on this runtime.
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

    /// Returns whether the task has finished or its runtime has shut down.
    pub fn is_finished(&self) -> bool {
        self.0.has_changed().is_err() || self.0.borrow().is_some()
    }

    /// Waits for the task and returns its outcome.
    ///
    /// # Errors
    /// The error of the task; `Unavailable` if its runtime shut down before it finished.
    ///
    /// # Cancel safety
    /// The task continues.
    pub async fn outcome(&self) -> Result<T> {
        let mut receive = self.0.clone();
        let outcome = receive.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        outcome.unwrap_or_else(|| Err(runtime_closed()))
    }
}
