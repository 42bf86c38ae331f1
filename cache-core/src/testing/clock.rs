use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use crate::runtime::{Clock, TimeSource};

/// A clock that stands still until a test moves it. Clones are the same clock.
///
/// It has the two times of a machine: [`Clock::now`] never goes back, and [`Clock::wall`] can be
/// set to any time.
///
/// ```
/// use cache_core::testing::FakeClock;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let fake = FakeClock::new();
/// let clock = fake.clock();
/// let sleeper = tokio::spawn(async move { clock.sleep(Duration::from_secs(3600)).await });
///
/// fake.sleepers(1).await; // otherwise the sleep could begin after the clock has moved
/// fake.advance(Duration::from_secs(3600));
/// sleeper.await.unwrap();
/// # }
/// ```
#[derive(Clone, Default)]
pub struct FakeClock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a sleep begins.
    slept: Notify,
}

struct State {
    now: Duration,
    wall: SystemTime,
    sleepers: Vec<Sleeper>,
    /// The number of sleepers at which the dropped ones are removed.
    sweep_at: usize,
}

struct Sleeper {
    at: Duration,
    waker: Waker,
}

impl FakeClock {
    /// Returns a new clock. Its wall-clock time is a fixed time of this century.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the clock to pass to the code under test.
    pub fn clock(&self) -> Clock {
        Clock::from_source(self.clone())
    }

    /// Moves both times forward and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.lock();
            let now = state.now.saturating_add(by);
            state.now = now;
            if let Some(wall) = state.wall.checked_add(by) {
                state.wall = wall;
            }
            state.sweep_at = SWEEP_AT;
            state.sleepers.extract_if(.., |it| it.at <= now).collect()
        };
        wake(due);
    }

    /// Sets the wall-clock time, also back, as an administrator or NTP does. The monotonic time
    /// stays.
    pub fn set_wall(&self, to: SystemTime) {
        self.lock().wall = to;
    }

    /// Waits until there are `count` sleepers. A sleeper that was dropped counts until its time has
    /// come.
    pub async fn sleepers(&self, count: usize) {
        super::wait_for(&self.0.slept, || self.lock().sleepers.len() >= count).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The smallest number of sleepers at which the dropped ones are removed.
const SWEEP_AT: usize = 1024;

impl TimeSource for FakeClock {
    fn now(&self) -> Duration {
        self.lock().now
    }

    fn wall(&self) -> SystemTime {
        self.lock().wall
    }

    fn wake_at(&self, at: Duration, waker: &Waker) {
        let mut swept = Vec::new();
        {
            let mut state = self.lock();
            let known = state.sleepers.iter().any(|it| it.at == at && it.waker.will_wake(waker));
            if at <= state.now || known {
                return;
            }
            if state.sleepers.len() >= state.sweep_at {
                // A waker does not tell whether its sleeper was dropped. All are woken, and live
                // sleepers register again. The limit is doubled: otherwise more live sleepers than
                // the limit would wake each other without end.
                state.sweep_at *= 2;
                swept = mem::take(&mut state.sleepers);
            }
            state.sleepers.push(Sleeper { at, waker: waker.clone() });
        }
        wake(swept);
        self.0.slept.notify_waiters();
    }
}

/// Wakes sleepers. Call it without the lock: a waker may run any code.
fn wake(sleepers: Vec<Sleeper>) {
    for it in sleepers {
        it.waker.wake();
    }
}

impl Default for State {
    fn default() -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self { now: Duration::ZERO, wall, sleepers: Vec::new(), sweep_at: SWEEP_AT }
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FakeClock")
            .field("now", &state.now)
            .field("wall", &state.wall)
            .field("sleepers", &state.sleepers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn sleeper_is_woken_at_its_time_and_not_before() {
        let fake = FakeClock::new();
        let clock = fake.clock();
        let count = Arc::new(Count::default());
        let waker = Arc::clone(&count).into();
        let mut cx = Context::from_waker(&waker);
        let mut sleep = pin!(clock.sleep(Duration::from_secs(2)));
        assert!(sleep.as_mut().poll(&mut cx).is_pending());

        fake.advance(Duration::from_secs(1));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        fake.advance(Duration::from_secs(1));
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "wakes of a sleeper that was polled twice");
        assert!(sleep.poll(&mut cx).is_ready());
        assert!(fake.lock().sleepers.is_empty());
    }

    #[test]
    fn set_wall_moves_the_wall_clock_only() {
        let fake = FakeClock::new();
        let clock = fake.clock();
        fake.advance(Duration::from_secs(5));
        let wall = clock.wall();
        fake.set_wall(wall - Duration::from_secs(3600));
        assert_eq!(clock.now(), Duration::from_secs(5));
        fake.advance(Duration::from_secs(1));
        assert_eq!(clock.wall(), wall - Duration::from_secs(3599));
    }

    #[test]
    fn dropped_sleepers_are_removed() {
        let fake = FakeClock::new();
        let live = Arc::new(Count::default());
        fake.wake_at(Duration::MAX, &Arc::clone(&live).into());
        for _ in 0..SWEEP_AT {
            fake.wake_at(Duration::from_secs(1), &Arc::new(Count::default()).into());
        }
        assert_eq!(fake.lock().sleepers.len(), 1, "sleepers after the limit was reached");
        assert_eq!(live.0.load(Ordering::Relaxed), 1, "wakes of the live sleeper");
    }
}
