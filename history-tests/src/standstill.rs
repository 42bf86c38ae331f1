//! Measures when the library's runtime stands still in a process. Its thread receives the reports
//! of changes, and a busy machine may stop it alone, while others still read.

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

/// The time between two looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// The time between two looks from which on it counts as a standstill.
const NOTED: u64 = 50 * MS;

/// Records each standstill, and ends with the look that follows `over`.
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
        if is_last {
            return;
        }
        last = now;
    }
}
