//! Facts about the server, shared by the connections of a store.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cache_core::Clock;

use super::locked_keys::LockedKeys;

#[derive(Debug)]
pub(crate) struct Health {
    clock: Clock,
    pub(crate) locked: LockedKeys,
    /// When the server last answered any statement, in milliseconds of the clock.
    heard: AtomicU64,
}

impl Health {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, locked: LockedKeys::default(), heard: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Records an answer.
    pub(crate) fn record_reply(&self) {
        self.heard.store(millis(self.now()), Ordering::Relaxed);
    }

    /// Whether a statement that was not answered within `time` probably waited for a lock: locks
    /// are known, and the server answers other statements.
    pub(crate) fn suggests_lock(&self, time: Duration) -> bool {
        self.locked.is_any() && !self.is_silent(time)
    }

    /// Whether the server has answered no statement for half of `time`.
    pub(crate) fn is_silent(&self, time: Duration) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        millis(self.now()).saturating_sub(heard) >= millis(time / 2)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
