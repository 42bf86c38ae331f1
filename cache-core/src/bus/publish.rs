//! Publishes the changes of this process, again and again until the server acknowledges them.

use std::{
    sync::{Arc, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{memory::BusMemory, message::Change, outbox::Pending};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{self, first, jitter},
};

/// The waits of the background task between two attempts: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl BusMemory {
    /// Publishes a change, and waits until the server has acknowledged it. If it does not, the
    /// change is sent again in the background.
    ///
    /// # Errors
    /// After a failure, and as long as no messages arrive, the error of that failure at once.
    ///
    /// # Cancel safety
    /// The change is sent in the background.
    pub(super) async fn publish(self: &Arc<Self>, change: Change<'_>) -> Result<()> {
        let publication = Publication::new(self, change);
        let failure = if self.is_open() { None } else { self.failure().clone() };
        let res = match failure {
            Some(error) => Err(error),
            None => publication.send().await,
        };
        res.map_err(unpublished)
    }

    /// Publishes what is pending, once.
    pub(super) async fn publish_pending(self: &Arc<Self>) -> Result<()> {
        loop {
            match self.outbox.pending() {
                Pending::Nothing => return Ok(()),
                Pending::Keys(keys) => {
                    let keys: Vec<&str> = keys.iter().map(|it| &**it).collect();
                    Publication::new(self, Change::Removed(&keys)).send().await?;
                }
                Pending::Clear { is_of_store } => {
                    let change = if !is_of_store && self.is_whole(&self.namespace) {
                        Change::Cleared(&self.namespace)
                    } else {
                        Change::StoreCleared
                    };
                    Publication::new(self, change).send().await?;
                }
            }
        }
    }

    /// Notes that the server answers.
    pub(super) fn answers(&self) {
        *self.failure() = None;
        self.answers.notify_waiters();
    }

    fn publish_in_background(self: &Arc<Self>) {
        if !self.outbox.begin_task(self.clock.coarse(), self.task_lasts()) {
            return;
        }
        // If no thread can start, the next failure tries again.
        if let Ok(own) = runtime::own() {
            drop(own.spawn(run(Arc::downgrade(self))));
        }
    }

    /// Returns how long the task counts as running: it may have died with its process.
    fn task_lasts(&self) -> Duration {
        LONGEST_WAIT.saturating_add(self.patience).saturating_mul(2)
    }

    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when nothing is pending, or with the memory.
async fn run(memory: Weak<BusMemory>) {
    let mut wait = FIRST_WAIT;
    loop {
        let Some(it) = memory.upgrade() else { return };
        if !it.outbox.continue_task(it.clock.coarse(), it.task_lasts()) {
            return;
        }
        let (clock, answers) = (it.clock.clone(), Arc::clone(&it.answers));
        // The memory may be dropped during the wait.
        drop(it);
        first(answers.notified(), clock.sleep(wait / 2 + jitter(wait / 2))).await;
        let Some(it) = memory.upgrade() else { return };
        wait = match it.publish_pending().await {
            Ok(()) => FIRST_WAIT,
            Err(_) => wait.saturating_mul(2).min(LONGEST_WAIT),
        };
    }
}

/// A change that is being published. If it is dropped before the server has acknowledged it, the
/// change is pending.
struct Publication<'a> {
    memory: &'a Arc<BusMemory>,
    change: Change<'a>,
    moment: u64,
    is_acknowledged: bool,
}

impl<'a> Publication<'a> {
    fn new(memory: &'a Arc<BusMemory>, change: Change<'a>) -> Self {
        Self { memory, change, moment: memory.outbox.moment(), is_acknowledged: false }
    }

    async fn send(mut self) -> Result<()> {
        let memory = self.memory;
        let messages = self.change.messages(memory.id());
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        if !messages.is_empty() {
            let publish = memory.bus.publish(&memory.channel, &messages);
            let sent = first(publish, memory.clock.sleep(memory.patience)).await;
            if let Err(error) = sent.unwrap_or_else(|| Err(timed_out())) {
                // Another error may concern this caller alone, such as that of a missing runtime.
                if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) {
                    *memory.failure() = Some(error.clone());
                }
                return Err(error);
            }
            memory.answers();
        }
        self.is_acknowledged = true;
        if self.covers_its_keys() {
            memory.outbox.acknowledge(&self.change, self.moment);
        }
        Ok(())
    }

    /// Returns whether a clear covers all keys that may be pending.
    fn covers_its_keys(&self) -> bool {
        match self.change {
            Change::Cleared(namespace) => self.memory.is_whole(namespace),
            _ => true,
        }
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        if self.is_acknowledged {
            return;
        }
        let change = if self.covers_its_keys() { self.change } else { Change::StoreCleared };
        self.memory.outbox.add(&change);
        self.memory.publish_in_background();
    }
}

#[cold]
fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, "the server of the bus did not acknowledge the message in time")
}

/// Adds to the error of a change what happens now.
#[cold]
fn unpublished(error: Error) -> Error {
    error.with_context(
        "bus",
        "the message is sent again in the background, and until then the memory of other processes \
         may keep the entries",
    )
}
