//! Markers: keys that hold a random version. Entries that carry the version of a marker are valid
//! until the marker has another version.
//!
//! A marker never expires. If a store loses it, the next reader makes a new one, so that everything
//! before it is invalid. This process remembers versions for the `tag_staleness` of an alias. A
//! version that a read returned is not remembered if this process replaced the marker meanwhile.

mod marker;
#[cfg(test)]
mod tests;
mod unentered;
mod version;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use self::{
    marker::{Marker, Moment, Read, Step},
    unentered::{MarkerPath, Unentered},
    version::{COUNT, Version},
};
use super::task_claim::TaskClaim;

/// The markers of the aliases with the same keys in one store, as this process knows them.
pub(crate) struct Markers {
    table: Mutex<Table>,
    /// The number of markers with a pending replacement.
    pending: AtomicUsize,
    pub(crate) unentered: Unentered,
    /// Whether callers that need the same marker share one read.
    shares: bool,
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

#[derive(Default)]
struct Table {
    markers: HashMap<Box<str>, Arc<Marker>>,
    /// The number of markers that calls for the next search for those that can be forgotten.
    limit: usize,
    task: TaskClaim,
}

/// The number of markers above which those that no caller holds are forgotten.
const MAX_MARKERS: usize = 10_000;
/// The maximum number of pending replacements.
const MAX_PENDING: usize = 5_000;

impl Markers {
    /// Creates the table. `shares` is `false` for a store that never waits.
    pub(crate) fn new(shares: bool, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            table: Mutex::default(),
            pending: AtomicUsize::new(0),
            unentered: Unentered::default(),
            shares,
            now: Box::new(now),
        }
    }

    /// Returns the marker with this stored key. A caller may keep it.
    pub(crate) fn marker(&self, key: &str) -> Arc<Marker> {
        let mut table = self.lock();
        if let Some(marker) = table.markers.get(key) {
            return Arc::clone(marker);
        }
        if table.markers.len() >= table.limit.max(MAX_MARKERS) {
            table.forget((self.now)());
        }
        let marker = Arc::new(Marker::new(key));
        table.markers.insert(key.into(), Arc::clone(&marker));
        marker
    }

    /// Returns the version of a marker, or the way to it. The caller reads for at most `lasts`.
    pub(crate) fn begin(
        &self,
        marker: &Arc<Marker>,
        staleness: Duration,
        lasts: Duration,
    ) -> Step<'_> {
        marker.begin(&self.pending, self.shares, &*self.now, staleness, lasts)
    }

    /// Returns the version of a marker if it is remembered.
    #[inline]
    pub(crate) fn known(&self, marker: &Marker, staleness: Duration) -> Option<Version> {
        marker.known((self.now)(), staleness)
    }

    /// Begins to replace the version of a marker.
    pub(crate) fn replace<'a>(&'a self, marker: &Arc<Marker>) -> Replacement<'a> {
        Replacement {
            epoch: marker.epoch(),
            began: (self.now)(),
            version: Version::random(),
            marker: Arc::clone(marker),
            markers: self,
            is_complete: false,
        }
    }

    /// Makes the version of a marker unknown until it has been replaced. Returns `false` if too
    /// many replacements are pending: then the version is only forgotten.
    pub(crate) fn add_pending(&self, marker: &Marker) -> bool {
        let has_room = self.pending.load(Ordering::SeqCst) < MAX_PENDING;
        if marker.fail(has_room) {
            self.pending.fetch_add(1, Ordering::SeqCst);
        }
        marker.is_pending()
    }

    /// Returns up to `count` markers with a pending replacement.
    pub(crate) fn pending(&self, count: usize) -> Vec<Arc<Marker>> {
        let table = self.lock();
        table.markers.values().filter(|it| it.is_pending()).take(count).map(Arc::clone).collect()
    }

    /// Forgets the version of the marker with this stored key, after another process replaced it.
    pub(crate) fn forget(&self, key: &str) {
        if let Some(marker) = self.lock().markers.get(key) {
            marker.forget();
        }
    }

    /// Forgets all versions, after the entries that carry them have been removed.
    pub(crate) fn forget_all(&self) {
        self.lock().markers.values().for_each(|it| it.forget());
    }

    /// Returns whether the caller becomes the background task: no other one is running, and there
    /// are pending replacements or keys that wait. The task counts as running for `lasts`.
    pub(crate) fn begin_task(&self, lasts: Duration) -> bool {
        self.has_work() && self.lock().task.begin(true, (self.now)(), lasts)
    }

    /// Returns whether the background task goes on. It counts as running for `lasts` more.
    pub(crate) fn continue_task(&self, lasts: Duration) -> bool {
        self.lock().task.go_on(self.has_work(), (self.now)(), lasts)
    }

    fn has_work(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0 || !self.unentered.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Makes room. A marker that a caller holds stays, because there must not be two of one key.
    fn forget(&mut self, now: Duration) {
        let is_held = |it: &Arc<Marker>| Arc::strong_count(it) > 1 || it.is_pending();
        self.markers.retain(|_, it| is_held(it) || it.known(now, RECENT).is_some());
        if self.markers.len() > MAX_MARKERS / 2 {
            self.markers.retain(|_, it| is_held(it));
        }
        // Callers may hold all of them.
        self.limit = self.markers.len().saturating_mul(2);
    }
}

/// Markers that were read within this time are forgotten last.
const RECENT: Duration = Duration::from_secs(1);

/// A replacement of a version that is on its way. If it is dropped before it is complete, the store
/// may have the old version or the new one, so the marker is unknown until it is replaced again.
pub(crate) struct Replacement<'a> {
    markers: &'a Markers,
    marker: Arc<Marker>,
    epoch: u64,
    began: Duration,
    version: Version,
    is_complete: bool,
}

impl Replacement<'_> {
    pub(crate) fn key(&self) -> &str {
        self.marker.key()
    }

    /// Returns the new version.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Sets the new version.
    pub(crate) fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// The store has not been changed.
    pub(crate) fn cancel(mut self) {
        self.is_complete = true;
    }

    /// The store has the new version.
    pub(crate) fn complete(mut self) {
        self.is_complete = true;
        if self.marker.replaced(self.epoch, self.version, self.began) {
            self.markers.pending.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.is_complete {
            self.markers.add_pending(&self.marker);
        }
    }
}
