//! The one clock of the workspace, which tests can hold.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use super::sleep;

/// Tells the time to stores and to the facade: the machine's, or one that a test moves.
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

/// Where a clock that is not the machine's takes its time from.
pub trait TimeSource: Send + Sync + 'static {
    /// Time since some fixed moment; never steps back.
    fn now(&self) -> Duration;
    /// The time of the wall clock; may step back.
    fn wall(&self) -> SystemTime;
    /// Wakes `waker` once [`now`](Self::now) reaches `at`. Called anew whenever a sleeper is polled.
    fn wake_at(&self, at: Duration, waker: &Waker);
}

impl Clock {
    /// The machine's clocks.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock of another source.
    pub fn from_source(source: impl TimeSource) -> Self {
        Self(Some(Arc::new(source)))
    }

    /// Whether it is the machine's.
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    /// Monotonic time since a moment that is fixed within the process.
    pub fn now(&self) -> Duration {
        match &self.0 {
            None => origin().elapsed(),
            Some(source) => source.now(),
        }
    }

    /// As [`now`](Self::now), cheaper, and up to some milliseconds behind it; never ahead. What was
    /// stamped with `now` and is compared with `coarse` never expires early.
    pub fn coarse(&self) -> Duration {
        match &self.0 {
            None => coarse::now(),
            Some(source) => source.now(),
        }
    }

    /// Waits until `time` has passed. Needs no runtime of the caller's.
    pub async fn sleep(&self, time: Duration) {
        let Some(source) = &self.0 else {
            return pin!(sleep(time)).await;
        };
        let at = source.now().saturating_add(time);
        poll_fn(|cx| {
            // Registered before the look at the time, so that no move between the two is missed.
            source.wake_at(at, cx.waker());
            if source.now() >= at { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The wall clock: for stores whose entries outlive the process, where [`now`](Self::now) would mean nothing.
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

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(target_os = "linux")]
mod coarse {
    use std::{sync::OnceLock, time::Duration};

    use rustix::time::{ClockId, clock_gettime};

    /// The kernel's clock of the last tick: a third of the cost of the exact one.
    pub(super) fn now() -> Duration {
        static ORIGIN: OnceLock<Duration> = OnceLock::new();
        // The second reading is the later one, so this origin is at or after the exact clock's, and
        // coarse time is behind exact time, never ahead.
        let origin = *ORIGIN.get_or_init(|| {
            let exact = super::origin().elapsed();
            read(ClockId::Monotonic).saturating_sub(exact)
        });
        read(ClockId::MonotonicCoarse).saturating_sub(origin)
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
mod coarse {
    use std::time::Duration;

    pub(super) fn now() -> Duration {
        super::origin().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_time_is_never_ahead_and_never_far_behind() {
        let clock = Clock::system();
        for _ in 0..10_000 {
            // What passes between two of these lines makes it no older than it was.
            let before = clock.now();
            let coarse = clock.coarse();
            let now = clock.now();
            assert!(coarse <= now, "{coarse:?} {now:?}");
            assert!(before < coarse + Duration::from_secs(1));
        }
    }
}
