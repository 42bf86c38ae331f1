//! The state of a stream of messages that keeps memory up to date.

use std::{
    fmt, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use super::nanos::nanos;
use crate::{
    error::{Error, Result},
    runtime::{self, Clock, PerProcess},
    store::Heartbeat,
};

/// The connection of memory to a stream of messages about changes. `W` is how the stream learns of
/// them.
pub(crate) struct Link<W> {
    /// The way before the first stream is open.
    first: W,
    /// A child of `fork` has no part in the stream of its parent.
    state: PerProcess<State<W>>,
}

struct State<W> {
    /// Until when hits may be served, in nanoseconds of the clock; or [`CLOSED`], [`EXPIRED`] or
    /// [`UNLIMITED`].
    open_until: AtomicU64,
    /// How changes are reported, as far as it is known.
    way: Mutex<W>,
    is_running: AtomicBool,
    /// Whether an attempt has failed, which is logged once until the stream is open.
    has_failed: AtomicBool,
    task: Mutex<Task>,
    /// The phase, for callers that wait for the stream.
    phase: watch::Sender<Phase>,
}

/// The end of a stream.
pub(crate) struct Ended {
    pub(crate) was_open: bool,
    /// Whether it is to be logged: the stream was open, or no attempt has failed before.
    pub(crate) is_news: bool,
}

struct Task {
    handle: Option<JoinHandle<()>>,
    /// The number of the task. A task that was stopped may still run for a moment, and must not
    /// change the state.
    number: u64,
    /// Until when the last heartbeat of the stream is valid; [`UNLIMITED`] before the first.
    valid_until: u64,
}

/// There is no stream.
const CLOSED: u64 = 0;
/// The last heartbeat of the stream is too old.
const EXPIRED: u64 = 1;
/// Hits may be served until the stream ends.
const UNLIMITED: u64 = u64::MAX;

enum Phase {
    Connecting,
    /// The memory is in use.
    Ready,
    Failed(Error),
}

impl<W: Copy + Send + 'static> Link<W> {
    pub(crate) fn new(first: W) -> Self {
        Self { first, state: PerProcess::new() }
    }

    /// Returns whether hits may be served: the stream is open, and the last heartbeat is not too
    /// old, or the memory does without.
    #[inline]
    pub(crate) fn is_open(&self, clock: &Clock) -> bool {
        let Some(state) = self.state.get() else { return false };
        let until = state.open_until.load(SeqCst);
        until == UNLIMITED
            || (until > EXPIRED && nanos(clock.coarse()) <= until)
            || state.is_renewed(until, clock)
    }

    /// Returns how changes are reported: the way of the stream that was open last.
    pub(crate) fn way(&self) -> W {
        self.state.get().map_or(self.first, |it| *it.way())
    }

    /// Notes that the stream of this task is open. `reset` runs before hits are served.
    pub(crate) fn open(&self, task: u64, way: W, reset: impl FnOnce()) -> bool {
        self.state().change(task, Phase::Ready, |state| {
            *state.way() = way;
            reset();
        })
    }

    /// Notes a heartbeat of the stream of this task. If it came too late, `reset` runs before hits
    /// are served again. Returns how late it was.
    pub(crate) fn heartbeat(
        &self,
        task: u64,
        clock: &Clock,
        heartbeat: Heartbeat,
        reset: impl FnOnce(),
    ) -> Option<Duration> {
        let state = self.state();
        let mut current = state.task();
        if current.number != task {
            return None;
        }
        let until = nanos(heartbeat.valid_until).max(EXPIRED + 1);
        let last = mem::replace(&mut current.valid_until, until);
        let (before, now) = (state.open_until.load(SeqCst), nanos(clock.now()));
        // Fails if a reader has found the last heartbeat too old.
        let renew = || state.open_until.compare_exchange(before, until, SeqCst, SeqCst).is_ok();
        let is_in_time = before == CLOSED || (before > EXPIRED && before >= now && renew());
        // After one that is too old itself, another one follows.
        if is_in_time || until < now {
            return None;
        }
        // First: readers do not use the memory during the reset.
        state.open_until.store(EXPIRED, SeqCst);
        reset();
        state.open_until.store(until, SeqCst);
        Some(Duration::from_nanos(now.saturating_sub(last)))
    }

    /// Notes that the memory does without a stream from now on. `reset` runs before hits are
    /// served.
    pub(crate) fn do_without(&self, task: u64, way: W, reset: impl FnOnce()) -> bool {
        // Forgets the heartbeats of the attempt.
        self.begin(task) && self.open(task, way, reset)
    }

    /// Begins an attempt. Returns `false` if the task was stopped.
    pub(crate) fn begin(&self, task: u64) -> bool {
        self.state().change(task, Phase::Connecting, |_| ())
    }

    /// Notes that the stream has ended; `None` if the task was stopped.
    pub(crate) fn end(&self, task: u64, error: &Error) -> Option<Ended> {
        let (mut was_open, mut had_failed) = (false, false);
        let is_current = self.state().change(task, Phase::Failed(error.clone()), |state| {
            was_open = state.open_until.load(SeqCst) != CLOSED;
            had_failed = state.has_failed.swap(true, SeqCst);
        });
        is_current.then_some(Ended { was_open, is_news: was_open || !had_failed })
    }

    /// Starts the task that receives the stream, unless it runs. `run` makes it of its number.
    ///
    /// # Errors
    /// `Unavailable` if no thread can start. The memory stays bypassed, and the next call tries
    /// again.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        &self,
        run: impl FnOnce(u64) -> F,
    ) -> Result<()> {
        let state = self.state();
        if state.is_running.load(SeqCst) {
            return Ok(());
        }
        let mut task = state.task();
        if state.is_running.load(SeqCst) {
            return Ok(());
        }
        let own = runtime::own()?;
        state.is_running.store(true, SeqCst);
        task.number += 1;
        task.handle = Some(own.spawn(run(task.number)));
        Ok(())
    }

    /// Ends the stream, and waits until its task opens no connection any more. The next read starts
    /// it again.
    pub(crate) async fn stop(&self) {
        let Some(state) = self.state.get() else { return };
        let ended = {
            let mut task = state.task();
            let handle = task.handle.take();
            handle.iter().for_each(JoinHandle::abort);
            task.number += 1;
            task.valid_until = UNLIMITED;
            state.open_until.store(CLOSED, SeqCst);
            state.has_failed.store(false, SeqCst);
            *state.way() = self.first;
            state.is_running.store(false, SeqCst);
            state.phase.send_replace(Phase::Connecting);
            handle
        };
        if let Some(ended) = ended {
            // An error says that it was aborted.
            let _ = ended.await;
        }
    }

    /// Waits until the stream is open, or the memory does without.
    ///
    /// # Errors
    /// The error of the first attempt that fails.
    ///
    /// # Cancel safety
    /// The attempts continue.
    pub(crate) async fn ready(&self) -> Result<()> {
        let mut phase = self.state().phase.subscribe();
        // An error may be older than this call.
        let mut is_new = false;
        loop {
            match &*phase.borrow_and_update() {
                Phase::Ready => return Ok(()),
                Phase::Connecting => is_new = true,
                Phase::Failed(error) if is_new => return Err(error.clone()),
                Phase::Failed(_) => {}
            }
            if phase.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Waits for the end of the first attempt since the task was started; not at all after that.
    ///
    /// # Cancel safety
    /// The attempts continue.
    pub(crate) async fn tried(&self) {
        let state = self.state();
        let mut phase = state.phase.subscribe();
        // Without the task there is no attempt.
        let waits = |phase: &Phase| {
            matches!(phase, Phase::Connecting)
                && state.is_running.load(SeqCst)
                && !state.has_failed.load(SeqCst)
        };
        // The sender lives as long as the state.
        let _ = phase.wait_for(|it| !waits(it)).await;
    }

    fn state(&self) -> &State<W> {
        self.state.get_or_init(|| State {
            open_until: AtomicU64::new(CLOSED),
            way: Mutex::new(self.first),
            is_running: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            task: Mutex::new(Task { handle: None, number: 0, valid_until: UNLIMITED }),
            phase: watch::Sender::new(Phase::Connecting),
        })
    }
}

impl<W> State<W> {
    /// Returns whether a heartbeat has moved the bound since a reader found that it has passed.
    /// Otherwise marks that it has: a heartbeat must not be in time for the task and too late for
    /// a reader, who does not keep a write.
    #[cold]
    fn is_renewed(&self, mut until: u64, clock: &Clock) -> bool {
        while until > EXPIRED {
            match self.open_until.compare_exchange(until, EXPIRED, SeqCst, SeqCst) {
                Ok(_) => return false,
                Err(current) => until = current,
            }
            if until > EXPIRED && nanos(clock.coarse()) <= until {
                return true;
            }
        }
        false
    }

    /// Changes the state for this task, unless it was stopped. Returns whether it did.
    fn change(&self, number: u64, phase: Phase, first: impl FnOnce(&Self)) -> bool {
        let mut task = self.task();
        if task.number != number {
            return false;
        }
        first(self);
        let until = if let Phase::Ready = phase {
            task.valid_until
        } else {
            // A heartbeat counts for its own stream only.
            task.valid_until = UNLIMITED;
            CLOSED
        };
        self.open_until.store(until, SeqCst);
        self.phase.send_replace(phase);
        true
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(&self) -> MutexGuard<'_, W> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Drop for Link<W> {
    fn drop(&mut self) {
        if let Some(handle) = self.state.get().and_then(|it| it.task().handle.take()) {
            handle.abort();
        }
    }
}

impl<W> fmt::Debug for Link<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeClock;

    const SECOND: Duration = Duration::from_secs(1);
    const TASK: u64 = 0;

    /// Returns a heartbeat that is valid for so long after the beginning of each clock.
    fn heartbeat(seconds: u32) -> Heartbeat {
        let start = FakeClock::new().clock().now();
        Heartbeat { lag: Duration::ZERO, valid_until: start + SECOND * seconds }
    }

    /// A reader and the task may compare the same bound at different times.
    #[test]
    fn heartbeat_is_late_if_a_reader_has_found_the_last_one_too_old() {
        let (link, task, reader) = (Link::new(()), FakeClock::new(), FakeClock::new());
        let (task, at_reader) = (task.clock(), reader.clock());
        assert_eq!(link.heartbeat(TASK, &task, heartbeat(1), || unreachable!()), None);
        assert!(link.open(TASK, (), || ()));
        reader.advance(SECOND);
        assert!(link.is_open(&at_reader));
        reader.advance(Duration::from_nanos(1));
        assert!(!link.is_open(&at_reader));
        let mut resets = 0;
        let late = link.heartbeat(TASK, &task, heartbeat(2), || resets += 1);
        assert_eq!((late, resets), (Some(Duration::ZERO), 1));
        assert!(link.is_open(&at_reader));
    }

    /// The time of the last tick is behind the exact time.
    #[test]
    fn no_reader_finds_the_link_open_during_a_reset() {
        let (link, task, reader) = (Link::new(()), FakeClock::new(), FakeClock::new());
        link.heartbeat(TASK, &task.clock(), heartbeat(1), || unreachable!());
        assert!(link.open(TASK, (), || ()));
        task.advance(SECOND * 3 / 2);
        let reset = || assert!(!link.is_open(&reader.clock()));
        let late = link.heartbeat(TASK, &task.clock(), heartbeat(2), reset);
        assert_eq!(late, Some(SECOND / 2));
        assert!(link.is_open(&reader.clock()));
    }
}
