//! The near store with its fences: what all aliases with the same keys in one far store share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{
    entry::{self, NearEntry},
    fences::{Fences, Ticket},
    nanos::nanos,
    stats::NearStats,
    stream::Stream,
};
use crate::{
    error::Result,
    runtime::Clock,
    store::{Entry, NearInvalidation, Objects, SetMode, SyncBackend},
    telemetry::observer::Observer,
    timeout::{Expiry, Ttl},
};

/// A near store, and what keeps old values out of it.
pub(crate) struct Tier {
    pub(super) store: Arc<dyn SyncBackend>,
    /// The decoded values of the near store, if it keeps any.
    pub(super) objects: Option<Arc<dyn Objects>>,
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    /// The longest time for which an entry is near.
    timeout: Duration,
    /// How late the near store may find that an entry has expired.
    granularity: Duration,
    fences: Fences,
    /// The entries of earlier generations are absent: a reset removes all entries at once.
    generation: AtomicU64,
    /// How many writes of all keys run.
    clears: AtomicUsize,
    /// Until when nothing is filled, in nanoseconds: the outcome of a clear is unknown.
    unknown_until: AtomicU64,
    /// The stream of changes, if the far store has one that is used.
    pub(super) stream: Option<Stream>,
    invalidations: AtomicU64,
    resets: AtomicU64,
    /// The lag of the stream in nanoseconds, or [`UNKNOWN`].
    lag: AtomicU64,
}

/// A lag that was not measured.
const UNKNOWN: u64 = u64::MAX;

/// A store in the process, and the decoded values that it keeps.
pub(super) type NearStore = (Arc<dyn SyncBackend>, Option<Arc<dyn Objects>>);

/// The result of a look into the near store.
pub(super) enum Look {
    Found(NearEntry),
    /// The key may be filled with what the far store returns, if there is a ticket.
    Missed(Option<Ticket>),
    /// The tier is not in use, because changes would not be reported to it.
    Bypassed,
}

impl Tier {
    pub(super) fn new(
        (store, objects): NearStore,
        timeout: Duration,
        clock: Clock,
        observer: Observer,
        stream: Option<Stream>,
    ) -> Self {
        Self {
            granularity: store.capabilities().granularity,
            store,
            objects,
            clock,
            observer,
            timeout,
            fences: Fences::new(),
            generation: AtomicU64::new(0),
            clears: AtomicUsize::new(0),
            unknown_until: AtomicU64::new(0),
            stream,
            invalidations: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            lag: AtomicU64::new(UNKNOWN),
        }
    }

    /// Returns the near entry of a key.
    #[inline]
    pub(super) fn find(&self, key: &str) -> Option<NearEntry> {
        if self.is_open() { self.kept(key) } else { None }
    }

    fn kept(&self, key: &str) -> Option<NearEntry> {
        // Before the entry: an entry that is read after a reset is of an earlier generation.
        let generation = self.generation();
        let stored = self.store.get(key).ok()??;
        NearEntry::decode(stored).filter(|it| it.fields.generation == generation)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Returns the near entry of a key, or the right to fill it.
    pub(super) fn look(&self, key: &str) -> Look {
        if !self.is_open() {
            return Look::Bypassed;
        }
        self.kept(key).map_or_else(|| Look::Missed(self.ticket(key)), Look::Found)
    }

    fn ticket(&self, key: &str) -> Option<Ticket> {
        // A store that is made of this one has keys of its own, whose changes are not reported.
        if self.stream.as_ref().is_some_and(|it| !it.namespace.contains(key)) {
            return None;
        }
        // In this order: a clear counts itself, and then starts a generation; when it has ended, it
        // starts another one, and then counts itself no more.
        let generation = self.generation();
        let now = self.clock.now();
        if self.clears.load(SeqCst) > 0 || self.unknown_until.load(SeqCst) > nanos(now) {
            return None;
        }
        self.fences.ticket(key, generation, now)
    }

    /// Keeps the entry that a read with this ticket found, unless its key may have changed since.
    pub(super) fn fill(&self, ticket: &Ticket, key: &str, entry: &Entry) {
        let Some(ttl) = entry::lifetime(entry) else { return };
        let left = match ttl {
            Ttl::Remaining(left) => left.min(self.timeout),
            Ttl::Forever => self.timeout,
        };
        // The lifetime counts from the moment at which the read began.
        let late = self.clock.now().saturating_sub(ticket.began).saturating_add(self.granularity);
        let left = left.saturating_sub(late);
        if left.is_zero() {
            return;
        }
        let bytes = NearEntry::encode(entry, ticket.generation, ticket.began);
        self.fences.fill(ticket, || {
            // A value that is too large for the near store is not kept.
            let _ = self.store.set(key, bytes, Expiry::After(left), SetMode::Always);
        });
    }

    /// Begins a write of a key: removes its near entry, and keeps fills out until the end.
    pub(super) fn begin_write(&self, key: &str) -> Write<'_> {
        let stripe = self.fences.stripe_of(key);
        self.fences.change(stripe, |stripe| {
            stripe.begin_write();
            self.remove(key);
        });
        Write { tier: self, stripe, is_known: false }
    }

    /// Begins a write of all keys.
    pub(super) fn begin_clear(&self) -> Clear<'_> {
        self.clears.fetch_add(1, SeqCst);
        self.generation.fetch_add(1, SeqCst);
        Clear { tier: self, is_known: false }
    }

    /// Notes how far the reports of changes are behind the store.
    pub(super) fn note_lag(&self, lag: Duration) {
        self.lag.store(nanos(lag), SeqCst);
        self.observer.near_lag(lag);
    }

    /// Forgets the lag of the stream before.
    pub(super) fn forget_lag(&self) {
        self.lag.store(UNKNOWN, SeqCst);
    }

    /// Removes the near entry of a key that the store reported as changed.
    pub(super) fn invalidate(&self, key: &str) {
        self.invalidations.fetch_add(1, SeqCst);
        self.observer.near_invalidation();
        self.forget(key);
    }

    /// Removes the near entry of a key, and keeps out what reads under way have found.
    pub(super) fn forget(&self, key: &str) {
        self.fences.change(self.fences.stripe_of(key), |_| self.remove(key));
    }

    /// Removes all entries.
    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, SeqCst);
        self.observer.near_reset();
        self.generation.fetch_add(1, SeqCst);
    }

    /// Returns whether the tier is in use: changes are reported to it, or it does without.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.stream.as_ref().is_none_or(|it| it.link.is_open(&self.clock))
    }

    /// Returns how changes are reported to the tier.
    pub(super) fn invalidation(&self) -> NearInvalidation {
        self.stream.as_ref().map_or(NearInvalidation::None, |it| it.link.way())
    }

    /// Returns the counters of an alias with these reads.
    pub(super) fn stats(&self, hits: u64, misses: u64, bypassed: u64) -> NearStats {
        NearStats {
            hits,
            misses,
            bypassed,
            invalidations: self.invalidations.load(SeqCst),
            resets: self.resets.load(SeqCst),
            lag: self.lag(),
            invalidation: self.invalidation(),
            is_bypassed: !self.is_open(),
        }
    }

    fn lag(&self) -> Option<Duration> {
        let lag = self.lag.load(SeqCst);
        let is_reported = self.is_open() && self.invalidation() != NearInvalidation::None;
        (is_reported && lag != UNKNOWN).then(|| Duration::from_nanos(lag))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn remove(&self, key: &str) {
        // A store in the process does not fail.
        let _: Result<bool> = self.store.delete(key);
    }
}

/// A write of one key that is under way. When it is dropped, its outcome is unknown, unless it is
/// said to be known.
pub(super) struct Write<'a> {
    tier: &'a Tier,
    stripe: usize,
    is_known: bool,
}

impl Write<'_> {
    /// Ends the write with this result.
    pub(super) fn end<T>(mut self, result: &Result<T>) {
        self.is_known = is_known(result);
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        let unknown_until = (!self.is_known).then(|| self.tier.clock.now() + self.tier.timeout);
        self.tier.fences.change(self.stripe, |stripe| {
            stripe.end_write();
            if let Some(until) = unknown_until {
                stripe.forbid_fills(until);
            }
        });
    }
}

/// A write of all keys that is under way.
pub(super) struct Clear<'a> {
    tier: &'a Tier,
    is_known: bool,
}

impl Clear<'_> {
    /// Ends the clear with this result.
    pub(super) fn end(mut self, result: &Result<()>) {
        self.is_known = is_known(result);
    }
}

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        let tier = self.tier;
        if !self.is_known {
            tier.unknown_until.fetch_max(nanos(tier.clock.now() + tier.timeout), SeqCst);
        }
        tier.generation.fetch_add(1, SeqCst);
        tier.clears.fetch_sub(1, SeqCst);
    }
}

/// Returns whether a write with this result has no effect later.
fn is_known<T>(result: &Result<T>) -> bool {
    result.as_ref().err().is_none_or(|error| !error.kind().fails_open())
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("timeout", &self.timeout)
            .field("invalidation", &self.invalidation())
            .field("is_bypassed", &!self.is_open())
            .finish_non_exhaustive()
    }
}
