//! Measures when the library's runtime stands still in a process, or its clock. The thread of the
//! runtime receives the reports of changes, and a busy machine may stop it alone, while others
//! still read. The clock by which entries expire is the kernel's time of the last tick, which is
//! late while the processor that keeps it does not run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::Clock;

use crate::{
    clock::{self, MS},
    plan::Shared,
};

/// The time between two measurements.
const TICK: Duration = Duration::from_millis(10);
/// The time between two measurements from which on it counts as a standstill.
const NOTED: u64 = 50 * MS;
/// How late a tick may be. Near tiers know of it.
const LATE: u64 = 8 * MS;

/// Records each standstill, and ends with the measurement that follows `over`.
pub(crate) async fn measure(shared: Arc<Shared>, over: Arc<AtomicBool>) {
    let clock = Clock::system();
    let mut last = clock::now();
    loop {
        let is_last = over.load(SeqCst);
        // The timer is one of the library's runtime, and is as late as its other tasks.
        clock.sleep(TICK).await;
        let now = clock::now();
        if now - last > NOTED {
            shared.recorder.stood_still(last, now);
        }
        let behind = lateness(&clock);
        if behind > LATE {
            shared.recorder.clock_stood_still(now.saturating_sub(behind), now);
        }
        if is_last {
            return;
        }
        last = now;
    }
}

/// Returns how far the time of the last tick is behind, in nanoseconds.
fn lateness(clock: &Clock) -> u64 {
    // In this order, so that a stop in between does not count.
    let now = clock.now();
    u64::try_from(now.saturating_sub(clock.coarse()).as_nanos()).unwrap_or(u64::MAX)
}
