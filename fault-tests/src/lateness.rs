//! How late the machine is: a busy machine delays timers and tasks, and a bound of a test applies
//! in addition to the delay.

use std::{
    cell::Cell,
    collections::HashMap,
    ffi::OsString,
    fs,
    time::{Duration, Instant},
};

/// Returns the result of a future, and how late the machine was meanwhile.
pub async fn with_lateness<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let (is_done, waits) = (Cell::new(false), Waits::now());
    let work = async {
        let res = work.await;
        is_done.set(true);
        res
    };
    let (res, late) = tokio::join!(work, lateness(|| is_done.get()));
    (res, late.max(2 * waits.longest()))
}

/// Returns how late the machine was meanwhile: twice the sum of the delays of sleeps that follow
/// each other, or 16 times the worst of them, because each step of a call may be delayed, by its
/// timer and by the task that the timer wakes. In a runtime with one thread, this measures all
/// delays of its tasks.
pub(crate) async fn lateness(mut is_finished: impl FnMut() -> bool) -> Duration {
    const STEP: Duration = Duration::from_millis(5);
    /// The delay of a timer on an idle machine.
    const USUAL: Duration = Duration::from_millis(2);
    let (mut worst, mut sum) = (Duration::ZERO, Duration::ZERO);
    while !is_finished() {
        let began = Instant::now();
        // sleeps: this measures the delay of a sleep
        tokio::time::sleep(STEP).await;
        let delay = began.elapsed().saturating_sub(STEP);
        worst = worst.max(delay);
        sum += delay.saturating_sub(USUAL);
    }
    2 * sum.max(worst * 8)
}

/// For how long the threads of this process have waited for a processor. One thread of a runtime
/// may stand still while the others run.
pub(crate) struct Waits(HashMap<OsString, Duration>);

impl Waits {
    pub(crate) fn now() -> Self {
        // The kernel may count no waits.
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let waits = threads.filter_map(|it| {
            // The time on a processor, the time of waiting, and the number of times, in ns.
            let counts = fs::read_to_string(it.path().join("schedstat")).ok()?;
            let waited = counts.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((it.file_name(), Duration::from_nanos(waited)))
        });
        Self(waits.collect())
    }

    /// Returns how long the thread waited that has waited for the longest time since then.
    pub(crate) fn longest(&self) -> Duration {
        let since = |(thread, waited): (OsString, Duration)| {
            waited.saturating_sub(self.0.get(&thread).copied().unwrap_or_default())
        };
        Self::now().0.into_iter().map(since).max().unwrap_or_default()
    }
}
