//! The state that all operations of a store share, and how an operation runs its step.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{
    Clock, Error, ErrorKind, Result,
    store::{StoreId, payload_len},
};

use crate::{
    directory::{Directory, DirectoryHandle},
    entry_file::NewEntry,
    entry_path::EntryPath,
    error::{self, StepError},
    eviction::Evictor,
    expiry,
    options::{NAME, Plan},
    sweeper::Sweeper,
};

/// The shared state of a store in one process.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    pub(crate) id: StoreId,
    pub(crate) directory: Arc<DirectoryHandle>,
    next_stamp: AtomicU64,
    evictor: Evictor,
    sweeper: Sweeper,
}

/// Longer than any operation waits, and short enough to add to a time.
const ENDLESS: Duration = Duration::from_secs(365 * 86_400);
/// How often to retry an operation whose directory is deleted meanwhile.
const ATTEMPTS: usize = 4;
/// The pause before retrying without free file descriptors: most calls have closed theirs by then.
const PAUSE: Duration = Duration::from_millis(10);

impl Shared {
    pub(crate) fn new(plan: Plan, clock: Clock) -> Self {
        // A random start, so that no two writes of any process have the same stamp.
        let first_stamp = RandomState::new().hash_one(std::process::id());
        Self {
            id: StoreId::of_path(NAME, &plan.path, [""; 0]),
            directory: Arc::new(DirectoryHandle::new(plan.clone())),
            next_stamp: AtomicU64::new(first_stamp),
            evictor: Evictor::new(&plan, clock.clone()),
            sweeper: Sweeper::default(),
            plan,
            clock,
        }
    }

    /// Runs a step that does not create the directory. `None` if the directory does not exist.
    pub(crate) fn read<T>(
        &self,
        until: Instant,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<Option<T>> {
        let res = retry(self.retry_until(until), || {
            let Some(directory) = self.open(false).map_err(to_step_error)? else {
                return Ok(None);
            };
            self.attempt(&directory, &step).map(Some)
        });
        res.map_err(|error| self.with_directory(error))
    }

    /// Runs a step that writes. Creates the directory if it does not exist.
    pub(crate) fn write<T>(
        &self,
        until: Instant,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<T> {
        self.sweeper.start(&self.directory, &self.plan, &self.clock);
        let res = retry(self.retry_until(until), || {
            let directory = self.open(true).map_err(to_step_error)?.ok_or(StepError::Deleted)?;
            self.attempt(&directory, |it| {
                it.open_counters()?;
                step(it)
            })
        });
        res.map_err(|error| self.with_directory(error))
    }

    /// Runs a step that may add data, then evicts entries if the store exceeds its bounds. The step
    /// returns an answer and by how many blocks the folder has grown.
    pub(crate) fn write_and_evict<T>(
        &self,
        path: &EntryPath,
        until: Instant,
        step: impl Fn(&Directory) -> Result<(T, u64), StepError>,
    ) -> Result<T> {
        let (answer, growth) = self.write(until, step)?;
        if growth > 0
            && let Some(directory) = self.directory.get()
        {
            self.evictor.make_room(&directory, path, growth);
        }
        Ok(answer)
    }

    /// Returns until when an operation that begins now may wait for locks.
    pub(crate) fn deadline(&self) -> Instant {
        self.batch_deadline(1)
    }

    /// Returns until when a batch may wait for locks. The deadline layer allows one deadline per
    /// thousand keys.
    pub(crate) fn batch_deadline(&self, keys: usize) -> Instant {
        let rounds = u32::try_from(keys.div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        let now = Instant::now();
        now.checked_add(self.plan.patience.saturating_mul(rounds).min(ENDLESS)).unwrap_or(now)
    }

    /// Returns an entry to write, with a stamp of its own.
    pub(crate) fn new_entry<'a>(
        &self,
        key: &'a str,
        value: &'a Bytes,
        expires: u64,
    ) -> NewEntry<'a> {
        NewEntry { key, value, expires, stamp: self.stamp() }
    }

    /// Returns a number that no other write has.
    pub(crate) fn stamp(&self) -> u64 {
        self.next_stamp.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the time in the unit of expiry times.
    pub(crate) fn now(&self) -> u64 {
        expiry::now(&self.clock)
    }

    /// Returns `TooLarge` for a value that exceeds `max_value_bytes`.
    pub(crate) fn check_size(&self, value: &Bytes) -> Result<()> {
        let (len, max) = (payload_len(value), self.plan.max_value);
        if len as u64 <= max { Ok(()) } else { Err(error::too_large(len, max)) }
    }

    /// Stops the sweeper and closes the directory until the next call.
    pub(crate) fn close(&self) {
        self.sweeper.stop();
        self.directory.close();
    }

    fn open(&self, create: bool) -> Result<Option<Arc<Directory>>> {
        if let Some(open) = self.directory.get() {
            return Ok(Some(open));
        }
        let opened = self.directory.open(create)?;
        if opened.is_some() {
            // A process that only reads must also notice that the directory was moved.
            self.sweeper.start(&self.directory, &self.plan, &self.clock);
        }
        Ok(opened)
    }

    fn attempt<T>(
        &self,
        directory: &Directory,
        step: impl Fn(&Directory) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let res = step(directory).map_err(|error| match error {
            // Steps create what is missing or handle it, so the directory itself was deleted.
            StepError::Other(error) if error::is_not_found(&error) => StepError::Deleted,
            StepError::Other(error) => to_step_error(error),
            other => other,
        });
        // "Too many open files" may be caused by our own cached folder descriptors: close them.
        if matches!(res, Err(StepError::Deleted | StepError::TooManyOpenFiles(_))) {
            self.directory.close();
        }
        res
    }

    /// Names the directory, unless the error is about the request of the caller.
    fn with_directory(&self, error: Error) -> Error {
        let is_about_files = matches!(error.kind(), ErrorKind::Codec | ErrorKind::Unsupported);
        if !is_about_files && !error.kind().fails_open() {
            return error;
        }
        error.with_context("directory", self.plan.path.display().to_string())
    }

    /// Returns until when to wait for free file descriptors. The wait takes a thread, and other
    /// users of the descriptors may keep them, so it is shorter than the deadline. The keys of a
    /// batch share one deadline.
    fn retry_until(&self, until: Instant) -> Instant {
        let now = Instant::now();
        now.checked_add((self.plan.patience / 4).min(ENDLESS)).unwrap_or(now).min(until)
    }
}

/// Runs an operation again after its directory was deleted, or until file descriptors are free.
fn retry<T>(until: Instant, run: impl Fn() -> Result<T, StepError>) -> Result<T> {
    let mut deleted = 0;
    while deleted < ATTEMPTS {
        match run() {
            Ok(answer) => return Ok(answer),
            Err(StepError::Other(error)) => return Err(error),
            Err(StepError::TooManyOpenFiles(error)) if Instant::now() >= until => {
                return Err(error);
            }
            Err(StepError::TooManyOpenFiles(_)) => thread::sleep(PAUSE),
            Err(StepError::Deleted) => deleted += 1,
        }
    }
    let message = "the directory is deleted again and again; stop the other program that uses it, \
                   or choose another location";
    Err(Error::new(ErrorKind::Backend, message))
}

fn to_step_error(error: Error) -> StepError {
    if error::is_too_many_open_files(&error) {
        StepError::TooManyOpenFiles(error)
    } else {
        StepError::Other(error)
    }
}

/// Hides the path, which is a setting.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("max_entries", &self.plan.max_entries)
            .field("max_bytes", &self.plan.max_bytes)
            .finish_non_exhaustive()
    }
}
