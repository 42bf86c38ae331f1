//! Settles marked keys in the background, as soon as the store answers again.

use std::{
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Cache, Shared};
use crate::{
    consistency::tombstones::Marked,
    key::KeyHead,
    runtime::{self, first},
};

/// How long to wait after a mark was made, and after a failure the first time and at most. Each wait is
/// between half of this and all of it, so that processes do not come back together.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How many marks are settled in one go: the calls of others come between.
const CHUNK: usize = 100;

impl Cache {
    /// Sees that marked keys are settled, without a call that uses them.
    pub(super) fn settle_in_background(&self) {
        if !self.shared.marks.begin_settling(self.settling_lasts()) {
            return;
        }
        // Without a thread for it, the calls that use the keys settle them, and later marks try again.
        if let Ok(own) = runtime::own() {
            drop(own.spawn(run(Arc::downgrade(&self.shared))));
        }
    }

    /// A call of this cache was answered, or may be: marked keys need not wait any longer.
    pub(super) fn store_may_answer(&self) {
        self.shared.marks.answers.notify_one();
        self.settle_in_background();
    }

    /// For how long the task counts as running: it may have died with its runtime, in a child of `fork` say.
    fn settling_lasts(&self) -> Duration {
        LONGEST_WAIT.saturating_mul(2).saturating_add(self.write_claim(CHUNK).saturating_mul(2))
    }

    /// Settles some of those marks that were not tried in this round; whether to go on at once. The next round begins only
    /// when all were tried, so that keys whose server is down do not keep others from their turn.
    async fn settle_some(&self, round: &mut u64, is_first: bool) -> bool {
        let marks = &self.shared.marks;
        let mut keys = marks.some(CHUNK, *round);
        if keys.is_empty() && is_first {
            *round += 1;
            keys = marks.some(CHUNK, *round);
        }
        if keys.is_empty() {
            return false;
        }
        let mine = keys.iter().filter_map(|key| match marks.look(key, self.write_claim(CHUNK)) {
            Marked::Mine(attempt) => Some(((), attempt)),
            Marked::No | Marked::Busy | Marked::Late | Marked::Stuck => None,
        });
        let mine: Vec<_> = mine.collect();
        let count = mine.len();
        let errors = self.settle_attempts(mine, false).await;
        count == 0 || errors.len() < count
    }
}

/// Ends when no key is marked, or with the cache.
async fn run(shared: Weak<Shared>) {
    let (mut wait, mut round) = (FIRST_WAIT, 1);
    let (mut is_waiting, mut is_first) = (true, true);
    loop {
        let Some(cache) = shared.upgrade().map(handle) else { return };
        if !cache.shared.marks.go_on_settling(cache.settling_lasts()) {
            return;
        }
        if !is_waiting {
            if cache.settle_some(&mut round, mem::take(&mut is_first)).await {
                wait = FIRST_WAIT;
            } else {
                (is_waiting, wait) = (true, wait.saturating_mul(2).min(LONGEST_WAIT));
            }
            continue;
        }
        (is_waiting, is_first) = (false, true);
        let (clock, marks) = (cache.shared.clock.clone(), Arc::clone(&cache.shared.marks));
        // The cache may go meanwhile.
        drop(cache);
        let time = wait / 2 + runtime::jitter(wait / 2);
        clock.sleep(time.min(FIRST_WAIT)).await;
        let rest = clock.sleep(time.saturating_sub(FIRST_WAIT));
        first(marks.answers.notified(), rest).await;
    }
}

/// A handle for calls on the library's own runtime.
fn handle(shared: Arc<Shared>) -> Cache {
    let head = KeyHead::new(&shared.namespace, 1);
    Cache { shared, head, version: 1, strict: true, on_own_runtime: false }
}
