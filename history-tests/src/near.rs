//! The near tier of the processes of a run, and what they did with it.

use cache_core::{Caches, NearStats};
use serde::{Deserialize, Serialize};

/// The settings of the near tiers, and the bound that the book states. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearTier {
    pub(crate) invalidation: &'static str,
    timeout: u64,
    /// How old a value may be that a read of another process returns.
    pub(crate) bound: u64,
}

/// The deadline of a call in milliseconds: short, so that outages are.
pub(crate) const DEADLINE: u64 = 300;

/// The time between two heartbeats of a stream of changes.
const HEARTBEAT: u64 = 1000;
/// How long another server may have taken the place of one before the tier is bypassed.
const TAKEOVER: u64 = 4000;
/// How late the clock of a tier may be. Longer standstills of it are measured, and do not count.
const SLACK: u64 = 100;

impl NearTier {
    /// Returns a tier to which changes are reported. A value would be near for longer than a key is
    /// used, so only the reports keep it current.
    pub(crate) fn hearing(invalidation: &'static str) -> Self {
        // The last heartbeat was answered within the deadline, the next one is not.
        Self { invalidation, timeout: 30_000, bound: HEARTBEAT + 2 * DEADLINE + SLACK }
    }

    /// Returns a tier of a group of servers, in which one may take the place of another.
    pub(crate) fn of_group() -> Self {
        let one = Self::hearing("tracking");
        Self { bound: one.bound + TAKEOVER - HEARTBEAT, ..one }
    }

    /// Returns a tier to which no changes are reported.
    pub(crate) fn silent() -> Self {
        Self { invalidation: "none", timeout: 500, bound: 500 }
    }

    /// Returns the line of the settings.
    pub(crate) fn settings(&self) -> String {
        format!(
            "near = {{ timeout = '{}ms', invalidation = '{}' }}",
            self.timeout, self.invalidation
        )
    }
}

/// The counters of the near tiers of a process, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearCounts {
    /// Keys that were read near.
    pub hits: u64,
    /// Keys that were not near.
    pub misses: u64,
    /// Keys that were read while the tier was bypassed.
    pub bypassed: u64,
    /// Changes that were reported.
    pub invalidations: u64,
    /// How often a tier was emptied.
    pub resets: u64,
}

impl NearCounts {
    /// Returns the counters of all caches.
    pub(crate) fn of(caches: &Caches) -> Self {
        let mut res = Self::default();
        for NearStats { hits, misses, bypassed, invalidations, resets, .. } in
            caches.iter().filter_map(|it| it.stats().near)
        {
            res.add(&Self { hits, misses, bypassed, invalidations, resets });
        }
        res
    }

    /// Adds the counters of another process.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.bypassed += other.bypassed;
        self.invalidations += other.invalidations;
        self.resets += other.resets;
    }
}
