//! The task that receives a stream of messages.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::link::Link;
use crate::{
    __private::BoxFuture,
    error::{Error, Result},
    runtime::{Clock, jitter},
};

/// The waits between two attempts: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Memory that a stream of messages keeps up to date.
pub(crate) trait Listener: Send + Sync + Sized + 'static {
    /// How the stream learns of changes.
    type Way: Copy + Send + 'static;

    /// Returns the state of the stream; `None` if the memory needs none.
    fn link(&self) -> Option<&Link<Self::Way>>;

    fn clock(&self) -> &Clock;

    /// Receives the stream for the task with this number. The future returns the reason of its end,
    /// and does not keep the memory alive.
    fn listen(self: &Arc<Self>, task: u64) -> BoxFuture<'static, Error>;

    /// Notes that the stream has ended. Returns whether it was open; `None` if the task is to end.
    fn ended(self: &Arc<Self>, task: u64, error: &Error) -> Option<bool>;
}

/// Starts the task of memory that needs one, unless it runs.
///
/// # Errors
/// `Unavailable` if no thread can start. The next call tries again.
pub(crate) fn start<L: Listener>(listener: &Arc<L>) -> Result<()> {
    let Some(link) = listener.link() else { return Ok(()) };
    link.start(|number| run(Arc::downgrade(listener), number))
}

/// Receives the stream until the memory is dropped. When the stream ends, the memory is bypassed
/// until it is open again.
async fn run<L: Listener>(listener: Weak<L>, number: u64) {
    let mut wait = FIRST_WAIT;
    loop {
        let Some(stream) = begin(&listener, number) else { return };
        let error = stream.await;
        let Some(it) = listener.upgrade() else { return };
        let Some(was_open) = it.ended(number, &error) else { return };
        if was_open {
            wait = FIRST_WAIT;
        }
        let clock = it.clock().clone();
        // The memory may be dropped during the wait.
        drop(it);
        clock.sleep(wait / 2 + jitter(wait / 2)).await;
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
}

/// Begins an attempt; `None` if the task is to end.
fn begin<L: Listener>(listener: &Weak<L>, number: u64) -> Option<BoxFuture<'static, Error>> {
    let listener = listener.upgrade()?;
    listener.link()?.begin(number).then(|| listener.listen(number))
}
