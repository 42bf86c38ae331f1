use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::version::Version;
use crate::error::Result;

/// One marker, as this process knows it.
pub(crate) struct Marker {
    key: Box<str>,
    /// The version, and when its read began: nanoseconds plus one, or zero for an unknown version.
    /// They are changed under the lock, and read without it.
    version: AtomicU64,
    since: AtomicU64,
    /// A replacement failed: the store may have the old version.
    is_pending: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts the replacements of this process that ended. The result of a read that began before
    /// is not remembered.
    epoch: u64,
    /// When this process learned the version that it remembers or has remembered last.
    learned: Moment,
    reading: Option<Reading>,
    reads: u64,
}

/// A place in the order in which this process learns versions. The ticks of a clock do not tell it:
/// a load may begin in the tick in which a version was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

static LEARNED: AtomicU64 = AtomicU64::new(0);

impl Moment {
    /// Returns the moment after all versions that were learned so far.
    pub(crate) fn now() -> Self {
        Self(LEARNED.load(Ordering::SeqCst))
    }

    fn next() -> Self {
        Self(LEARNED.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// A read that is under way.
struct Reading {
    number: u64,
    epoch: u64,
    began: Duration,
    /// When its claim expires: its future may never be polled again.
    until: Duration,
    result: watch::Receiver<Option<Result<Version>>>,
}

/// How a caller gets the version of a marker.
pub(crate) enum Step<'a> {
    Known(Version),
    /// Another caller reads the marker, at most for this time. If the sender is dropped without a
    /// result, the caller begins again.
    Wait(watch::Receiver<Option<Result<Version>>>, Duration),
    /// This caller reads the marker, or replaces it.
    Read(Read<'a>),
}

/// Returns the time since some fixed moment.
pub(super) type Now = dyn Fn() -> Duration + Send + Sync;

/// The claim of a caller to read a marker.
pub(crate) struct Read<'a> {
    /// The number of markers with a pending replacement.
    pending: &'a AtomicUsize,
    marker: Arc<Marker>,
    number: u64,
    epoch: u64,
    began: Duration,
    /// Whether a replacement is pending: the version is replaced instead of read.
    replaces: bool,
    result: Option<watch::Sender<Option<Result<Version>>>>,
}

impl Marker {
    pub(super) fn new(key: &str) -> Self {
        Self {
            key: key.into(),
            version: AtomicU64::new(0),
            since: AtomicU64::new(0),
            is_pending: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending.load(Ordering::SeqCst)
    }

    /// Returns the version if its read began less than `staleness` ago.
    #[inline]
    pub(super) fn known(&self, now: Duration, staleness: Duration) -> Option<Version> {
        loop {
            let since = self.since.load(Ordering::SeqCst);
            let version = self.version.load(Ordering::SeqCst);
            // Both belong together only if no other version was remembered in between.
            if self.since.load(Ordering::SeqCst) == since {
                let began = Duration::from_nanos(since.checked_sub(1)?);
                return (now.saturating_sub(began) < staleness).then_some(Version::new(version));
            }
        }
    }

    /// Returns the version that the marker had before this moment, however long ago it was read.
    /// `None` if it is unknown, or if this process learned it later.
    pub(crate) fn known_before(&self, moment: Moment) -> Option<Version> {
        let state = self.lock();
        let is_known = self.since.load(Ordering::SeqCst) > 0 && state.learned <= moment;
        is_known.then(|| Version::new(self.version.load(Ordering::SeqCst)))
    }

    pub(super) fn begin<'a>(
        self: &Arc<Self>,
        pending: &'a AtomicUsize,
        is_shared: bool,
        clock: &Now,
        staleness: Duration,
        lasts: Duration,
    ) -> Step<'a> {
        let now = clock();
        let mut state = self.lock();
        if let Some(version) = self.known(now, staleness) {
            return Step::Known(version);
        }
        let epoch = state.epoch;
        if let Some(it) = &state.reading
            && it.epoch == epoch
            && now < it.until
            && now.saturating_sub(it.began) < staleness
        {
            return Step::Wait(it.result.clone(), it.until.saturating_sub(now));
        }
        state.reads += 1;
        let number = state.reads;
        let result = is_shared.then(|| {
            let (sender, result) = watch::channel(None);
            let until = now.saturating_add(lasts);
            state.reading = Some(Reading { number, epoch, began: now, until, result });
            sender
        });
        let marker = Arc::clone(self);
        let replaces = self.is_pending();
        Step::Read(Read { pending, marker, number, epoch, began: now, replaces, result })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Notes that this process replaced the version. Returns whether this completed a pending
    /// replacement.
    pub(super) fn replaced(&self, epoch: u64, version: Version, began: Duration) -> bool {
        let mut state = self.lock();
        let is_alone = state.epoch == epoch;
        state.epoch += 1;
        if !is_alone {
            // Which of two concurrent replacements the store has is unknown.
            self.since.store(0, Ordering::SeqCst);
            return false;
        }
        self.remember(&mut state, version, began);
        self.is_pending.swap(false, Ordering::SeqCst)
    }

    /// Notes that the store may have the old version. Returns whether this is a new pending
    /// replacement.
    pub(super) fn fail(&self, is_pending: bool) -> bool {
        let mut state = self.lock();
        state.epoch += 1;
        self.since.store(0, Ordering::SeqCst);
        is_pending && !self.is_pending.swap(true, Ordering::SeqCst)
    }

    /// Forgets the version. The result of a read that is under way is not remembered either.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        self.since.store(0, Ordering::SeqCst);
    }

    fn remember(&self, state: &mut State, version: Version, began: Duration) {
        // A random version never comes back, so it was the same all the time.
        if self.version.load(Ordering::SeqCst) != version.number() {
            state.learned = Moment::next();
        }
        let since = u64::try_from(began.as_nanos()).unwrap_or(u64::MAX - 1);
        self.since.store(0, Ordering::SeqCst);
        self.version.store(version.number(), Ordering::SeqCst);
        self.since.store(since.saturating_add(1), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read<'_> {
    pub(crate) fn key(&self) -> &str {
        self.marker.key()
    }

    /// Returns whether the version is replaced instead of read, because a replacement failed.
    pub(crate) fn replaces(&self) -> bool {
        self.replaces
    }

    /// Ends the read with its result, which all callers that waited for it get. It is remembered
    /// unless this process replaced the version meanwhile.
    pub(crate) fn complete(mut self, result: Result<Version>) {
        let mut is_done = false;
        {
            let mut state = self.marker.lock();
            if let (Ok(version), true) = (&result, state.epoch == self.epoch) {
                self.marker.remember(&mut state, *version, self.began);
                if self.replaces {
                    // A read that began before this replacement returns an older version.
                    state.epoch += 1;
                    is_done = self.marker.is_pending.swap(false, Ordering::SeqCst);
                }
            }
            self.end(&mut state);
        }
        if is_done {
            self.pending.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(sender) = self.result.take() {
            // An error means that no caller waits.
            let _ = sender.send(Some(result));
        }
    }

    fn end(&self, state: &mut State) {
        state.reading.take_if(|it| it.number == self.number);
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if self.result.is_some() {
            let mut state = self.marker.lock();
            self.end(&mut state);
        }
    }
}
