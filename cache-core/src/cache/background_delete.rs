//! Runs pending deletes in the background as soon as the store answers again.

use std::{
    marker::PhantomData,
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Cache, Shared};
use crate::{
    consistency::tombstones::Lookup,
    key::KeyHead,
    runtime::{self, first},
    value::Form,
};

/// The longest wait after a tombstone was added and after the first failure, and the longest of all
/// waits. Each wait lasts between half of this and all of it, so that processes do not come back
/// together.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The number of deletes that run before other calls get a turn.
const CHUNK: usize = 100;

impl<V: Form> Cache<V> {
    /// Starts the task that runs pending deletes without a call that uses their keys.
    pub(super) fn resolve_in_background(&self) {
        if !self.shared.tombstones.begin_task(self.task_lasts()) {
            return;
        }
        // If no thread can start, the calls that use the keys run the deletes, and later tombstones
        // try again.
        if let Ok(own) = runtime::own() {
            drop(own.spawn(run(Arc::downgrade(&self.shared))));
        }
    }

    /// The store answered a call of this cache, or may have: pending deletes need not wait.
    pub(super) fn store_may_answer(&self) {
        self.shared.tombstones.answers.notify_one();
        self.resolve_in_background();
    }

    /// Returns how long the task counts as running: it may have died with its runtime, for example
    /// in a child of `fork`.
    fn task_lasts(&self) -> Duration {
        LONGEST_WAIT.saturating_mul(2).saturating_add(self.write_claim(CHUNK).saturating_mul(2))
    }

    /// Runs some of the deletes that were not tried in this round. Returns whether to go on at
    /// once.
    ///
    /// The next round begins only after all were tried, so that keys whose server is down do not
    /// delay others.
    async fn resolve_some(&self, round: &mut u64, is_first: bool) -> bool {
        let tombstones = &self.shared.tombstones;
        let mut keys = tombstones.unclaimed(CHUNK, *round);
        if keys.is_empty() && is_first {
            *round += 1;
            keys = tombstones.unclaimed(CHUNK, *round);
        }
        if keys.is_empty() {
            return false;
        }
        let claimed =
            keys.iter().filter_map(|key| match tombstones.claim(key, self.write_claim(CHUNK)) {
                Lookup::Claimed(pending) => Some(((), pending)),
                Lookup::Absent | Lookup::Busy | Lookup::Superseded | Lookup::Full => None,
            });
        let claimed: Vec<_> = claimed.collect();
        let count = claimed.len();
        let errors = self.run_deletes(claimed, false).await;
        count == 0 || errors.len() < count
    }
}

/// Ends when no tombstone is left, or with the cache.
async fn run(shared: Weak<Shared>) {
    let (mut wait, mut round) = (FIRST_WAIT, 1);
    let (mut is_waiting, mut is_first) = (true, true);
    loop {
        let Some(cache) = shared.upgrade().map(handle) else { return };
        let goes_on = cache.shared.tombstones.continue_task(cache.task_lasts());
        cache.shared.observer.tombstones(cache.shared.tombstones.len());
        if !goes_on {
            return;
        }
        if !is_waiting {
            if cache.resolve_some(&mut round, mem::take(&mut is_first)).await {
                wait = FIRST_WAIT;
            } else {
                (is_waiting, wait) = (true, wait.saturating_mul(2).min(LONGEST_WAIT));
            }
            continue;
        }
        (is_waiting, is_first) = (false, true);
        let (clock, tombstones) =
            (cache.shared.clock.clone(), Arc::clone(&cache.shared.tombstones));
        // The cache may be dropped during the wait.
        drop(cache);
        let time = wait / 2 + runtime::jitter(wait / 2);
        clock.sleep(time.min(FIRST_WAIT)).await;
        let rest = clock.sleep(time.saturating_sub(FIRST_WAIT));
        first(tombstones.answers.notified(), rest).await;
    }
}

/// Returns a handle for calls on the library's own runtime.
pub(super) fn handle(shared: Arc<Shared>) -> Cache {
    let head = KeyHead::new(&shared.namespace, 1);
    Cache {
        shared,
        head,
        version: 1,
        subspace: None,
        strict: true,
        on_own_runtime: false,
        tags: None,
        form: PhantomData,
    }
}
