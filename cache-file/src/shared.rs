//! The store behind its operations: the directory, opened when it is needed, and what goes on in the background.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{Clock, Error, ErrorKind, Result, store::StoreId};

use crate::{
    DRIVER,
    directory::Directory,
    entry_file::EntryFile,
    entry_path::EntryPath,
    error::{self, StepError},
    eviction::Queue,
    expiry,
    folder::FolderLock,
    options::Plan,
    probe::{Found, Part, Probe},
    sweeper::Sweeper,
};

/// What operations and the sweeper share.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    pub(crate) id: StoreId,
    directory: RwLock<Option<Arc<Directory>>>,
    stamps: AtomicU64,
    pub(crate) queue: Mutex<Queue>,
    sweeper: Sweeper,
}

impl Shared {
    pub(crate) fn new(plan: Plan, clock: Clock) -> Self {
        // Different in each process and store, so that no two writes have one stamp.
        let begin = RandomState::new().hash_one(std::process::id());
        Self {
            id: StoreId::of_path(DRIVER.name(), &plan.path, [""; 0]),
            plan,
            clock,
            directory: RwLock::default(),
            stamps: AtomicU64::new(begin),
            queue: Mutex::default(),
            sweeper: Sweeper::default(),
        }
    }

    /// Runs a step that reads, of an operation that has until then; `None` if there is no directory.
    pub(crate) fn read<T>(
        self: &Arc<Self>,
        until: Instant,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<Option<T>> {
        let res = again(self.until_free(until), || {
            let Some(directory) = self.directory(false).map_err(open_files)? else {
                return Ok(None);
            };
            self.step(&directory, &step).map(Some)
        });
        res.map_err(|error| self.named(error))
    }

    /// As [`read`](Self::read) for a step that writes, in a directory that is made if need be.
    pub(crate) fn write<T>(
        self: &Arc<Self>,
        until: Instant,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<T> {
        self.sweeper.start(self);
        let res = again(self.until_free(until), || {
            let directory = self.directory(true).map_err(open_files)?.ok_or(StepError::Deleted)?;
            self.step(&directory, |it| {
                it.counters.open(it)?;
                step(it)
            })
        });
        res.map_err(|error| self.named(error))
    }

    /// Names the directory, unless the error is about what the caller asked for.
    fn named(&self, error: Error) -> Error {
        let is_of_files = matches!(error.kind(), ErrorKind::Codec | ErrorKind::Unsupported);
        if !is_of_files && !error.kind().fails_open() {
            return error;
        }
        error.with_context("directory", self.plan.path.display().to_string())
    }

    /// How long an operation that begins now may wait for locks.
    pub(crate) fn until(&self) -> Instant {
        self.until_of(1)
    }

    /// As [`until`](Self::until) for a batch, which the layer around the store gives that time for each thousand keys.
    pub(crate) fn until_of(&self, keys: usize) -> Instant {
        let rounds = u32::try_from(keys.div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        let now = Instant::now();
        now.checked_add(self.plan.patience.saturating_mul(rounds).min(ENDLESS)).unwrap_or(now)
    }

    /// Until when descriptors are waited for: others may hold them for good, and a thread is held up meanwhile. The keys of a batch together
    /// wait no longer than it may take.
    fn until_free(&self, until: Instant) -> Instant {
        let now = Instant::now();
        now.checked_add((self.plan.patience / 4).min(ENDLESS)).unwrap_or(now).min(until)
    }

    /// The lock of a key's folder.
    pub(crate) fn lock<'a>(
        directory: &'a Directory,
        name: &EntryPath,
        until: Instant,
    ) -> Result<FolderLock<'a>, StepError> {
        let folder = directory.folder(name.folder(), true)?.ok_or(StepError::Deleted)?;
        folder.lock(directory, until)
    }

    /// The live entry of a key, for a reader: without a lock, and again where a writer came between.
    ///
    /// What is bad even under the lock is so for good: it is removed, as nobody else can have written it meanwhile.
    pub(crate) fn find(
        &self,
        directory: &Directory,
        key: &str,
        part: Part,
        until: Instant,
    ) -> Result<Option<Found>, StepError> {
        let name = EntryPath::of(key);
        let Some(folder) = directory.folder(name.folder(), false)? else { return Ok(None) };
        let live = |found: Found| found.header.is_live(self.now()).then_some(found);
        for _ in 0..ATTEMPTS {
            match folder.probe(&name, key, part)? {
                Probe::Found(found) => return Ok(live(found)),
                Probe::Absent | Probe::Other => return Ok(None),
                Probe::Newer => return Err(error::newer(name).into()),
                Probe::Unfinished | Probe::Damaged => thread::yield_now(),
            }
        }
        // What is removed is counted, where that can be written.
        let _ = directory.counters.open(directory);
        let locked = folder.lock(directory, until)?;
        let found = folder.probe(&name, key, part)?;
        if matches!(found, Probe::Unfinished | Probe::Damaged) {
            // Where that cannot be done, a read-only disk say, it is a miss as well.
            let _ = locked.entry_file(&name).and_then(|it| it.map_or(Ok(()), EntryFile::remove));
        }
        match found {
            Probe::Found(found) => Ok(live(found)),
            Probe::Damaged => Err(error::damaged(name).into()),
            Probe::Absent | Probe::Unfinished | Probe::Other | Probe::Newer => Ok(None),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        expiry::now(&self.clock)
    }

    pub(crate) fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets go of the directory and of what goes on in the background, until the next call.
    pub(crate) fn close(&self) {
        self.sweeper.stop();
        self.forget();
    }

    /// The open directory, if it is open.
    pub(crate) fn open_directory(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn forget(&self) {
        let old = self.directory.write().unwrap_or_else(PoisonError::into_inner).take();
        // It closes and deletes files, for which nobody is to wait.
        if let Some(directory) = old {
            directory.recycler.close();
        }
    }

    fn directory(self: &Arc<Self>, create: bool) -> Result<Option<Arc<Directory>>> {
        if let Some(open) = self.open_directory() {
            return Ok(Some(open));
        }
        let mut place = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Directory::open(&self.plan, create)?.map(Arc::new);
            if place.is_some() {
                // Who only reads must notice, too, that the directory is another one.
                self.sweeper.start(self);
            }
        }
        Ok(place.clone())
    }

    fn step<T>(
        &self,
        directory: &Directory,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let res = step(directory).map_err(|error| match error {
            // What is missing is made, or is no error, unless it is in a directory that was deleted.
            StepError::Other(error) if error::is_of_deleted(&error) => StepError::Deleted,
            StepError::Other(error) => open_files(error),
            other => other,
        });
        // Of a want of descriptors, the folders that are open for speed may be the cause.
        if matches!(res, Err(StepError::Deleted | StepError::TooManyOpenFiles(_))) {
            self.forget();
        }
        res
    }
}

/// Longer than anybody waits, and so short that a clock can tell it.
const ENDLESS: Duration = Duration::from_secs(365 * 86_400);

/// How often something is tried that somebody else disturbs.
const ATTEMPTS: usize = 4;
/// Longer than a call has files open, mostly.
const PAUSE: Duration = Duration::from_millis(10);

/// A directory that was deleted is made anew, which somebody may delete again. Descriptors are waited for until then: calls that are
/// under way close what they have in their hands.
fn again<T>(until: Instant, run: impl Fn() -> Result<T, StepError>) -> Result<T> {
    let mut deleted = 0;
    while deleted < ATTEMPTS {
        match run() {
            Ok(it) => return Ok(it),
            Err(StepError::Other(error)) => return Err(error),
            Err(StepError::TooManyOpenFiles(error)) if Instant::now() >= until => {
                return Err(error);
            }
            Err(StepError::TooManyOpenFiles(_)) => thread::sleep(PAUSE),
            Err(StepError::Deleted) => deleted += 1,
        }
    }
    let what = "the directory is deleted again and again; somebody else uses it";
    Err(Error::new(ErrorKind::Backend, what))
}

/// What may be tried again if it is for want of descriptors.
fn open_files(error: Error) -> StepError {
    if error::is_of_open_files(&error) {
        StepError::TooManyOpenFiles(error)
    } else {
        StepError::Other(error)
    }
}

/// Without the path, which is a setting.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("max_entries", &self.plan.max_entries)
            .field("max_bytes", &self.plan.max_bytes)
            .finish_non_exhaustive()
    }
}
