use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, SystemTime},
};

use super::sleep;

/// The clock of stores and caches: the machine's, or one that a test moves.
///
/// ```
/// use cache_core::Clock;
///
/// let clock = Clock::system();
/// let before = clock.now();
/// assert!(clock.coarse() <= clock.now() && before <= clock.now());
/// ```
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn TimeSource>>);

/// The source of a clock that is not the machine's.
pub trait TimeSource: Send + Sync + 'static {
    /// Returns the time since some fixed moment. It never steps back.
    fn now(&self) -> Duration;
    /// Returns the time of the wall clock, which may step back.
    fn wall(&self) -> SystemTime;
    /// Wakes `waker` when [`now`](Self::now) reaches `at`. Each poll of a sleeper calls it again.
    fn wake_at(&self, at: Duration, waker: &Waker);
}

impl Clock {
    /// Returns the machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// Returns a clock of another source.
    pub fn from_source(source: impl TimeSource) -> Self {
        Self(Some(Arc::new(source)))
    }

    /// Returns whether it is the machine's clock.
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the monotonic time since a moment that is fixed within the process.
    pub fn now(&self) -> Duration {
        match &self.0 {
            None => machine::now(),
            Some(source) => source.now(),
        }
    }

    /// Returns a time that is cheaper than [`now`](Self::now) and up to some milliseconds behind
    /// it, never ahead. An expiry computed from `now` and compared with `coarse` never passes
    /// early.
    pub fn coarse(&self) -> Duration {
        match &self.0 {
            None => machine::coarse(),
            Some(source) => source.now(),
        }
    }

    /// Waits until `time` has passed. The caller needs no runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn sleep(&self, time: Duration) {
        let Some(source) = &self.0 else {
            return pin!(sleep(time)).await;
        };
        let at = source.now().saturating_add(time);
        poll_fn(|cx| {
            // Registered before the time is read, so that no move in between is missed.
            source.wake_at(at, cx.waker());
            if source.now() >= at { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Returns the time of the wall clock, for stores whose entries outlive the process: the origin
    /// of [`now`](Self::now) is different in each process.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(source) => source.wall(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() { "Clock::system" } else { "Clock::from_source" })
    }
}

#[cfg(target_os = "linux")]
mod machine {
    use std::{sync::OnceLock, time::Duration};

    use rustix::time::{ClockId, clock_gettime};

    /// Returns the exact time. `Instant` would take twice the instructions for its conversions.
    pub(super) fn now() -> Duration {
        // The origin first: the time is not before it.
        let origin = origin();
        read(ClockId::Monotonic).saturating_sub(origin)
    }

    /// Returns the kernel's time of the last tick, at a third of the cost of the exact time.
    pub(super) fn coarse() -> Duration {
        let origin = origin();
        read(ClockId::MonotonicCoarse).saturating_sub(origin)
    }

    fn origin() -> Duration {
        static ORIGIN: OnceLock<Duration> = OnceLock::new();
        *ORIGIN.get_or_init(|| read(ClockId::Monotonic))
    }

    fn read(id: ClockId) -> Duration {
        let time = clock_gettime(id);
        Duration::new(
            time.tv_sec.try_into().unwrap_or_default(),
            time.tv_nsec.try_into().unwrap_or_default(),
        )
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    pub(super) fn now() -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    pub(super) fn coarse() -> Duration {
        now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_time_is_never_ahead_and_never_far_behind() {
        let clock = Clock::system();
        let (mut last, mut standstill) = (clock.now(), Duration::ZERO);
        for _ in 0..10_000 {
            // Time that passes between these lines does not make the assertions fail.
            let before = clock.now();
            let coarse = clock.coarse();
            let now = clock.now();
            assert!(coarse <= now, "{coarse:?} {now:?}");
            // After a virtual machine stood still, its next tick may be some milliseconds away.
            standstill = standstill.max(before.saturating_sub(last));
            assert!(before < coarse + Duration::from_secs(1) + standstill);
            last = before;
        }
    }
}
