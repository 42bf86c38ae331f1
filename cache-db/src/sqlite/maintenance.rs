//! The maintenance thread: eviction, expired entries and WAL checkpoints, in small steps beside the
//! writes.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::Result;

use super::{
    database::Database,
    eviction::{Evictor, MAX_HOLD, Sweep},
    pool::Pool,
};

/// A thread that the first write starts and [`end`](Self::end) stops.
#[derive(Debug)]
pub(super) struct Maintenance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    evictor: Evictor,
    /// The thread runs after so many writes, or so many bytes.
    check_every: (u64, u64),
    /// About how many bytes were written to the WAL.
    log: AtomicU64,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_thread: bool,
    is_called: bool,
    is_closed: bool,
}

/// How often the thread runs by itself.
const TICK: Duration = Duration::from_secs(1);
/// The thread runs after a twentieth of the bound was written, and after this many writes at the
/// latest.
const CHECK_EVERY: u64 = 64;
/// SQLite's default, unless another program created the file.
const PAGE: u64 = 4096;
/// About the bytes that a write adds to the WAL besides its value: a page of the table, of its
/// index and of the counters, and one to spare.
const WAL_PER_WRITE: u64 = 4 * PAGE;

impl Maintenance {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let plan = &database.plan.plan;
        let check_every =
            plan.max_entries.map_or(CHECK_EVERY, |it| (it / 20).clamp(1, CHECK_EVERY));
        let often_bytes = plan.max_bytes.map_or(u64::MAX, |it| (it / 20).max(1));
        Self(Arc::new(Shared {
            evictor: Evictor::new(Arc::clone(&database)),
            database,
            check_every: (check_every, often_bytes),
            log: AtomicU64::new(0),
            state: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// Counts writes.
    pub(super) fn written(&self, count: u64) {
        let before = self.0.evictor.written.fetch_add(count, Ordering::Relaxed);
        let is_first = before == 0;
        if is_due(before, count, self.0.check_every.0) | self.add_wal_bytes(count * WAL_PER_WRITE)
            || is_first
        {
            self.call();
        }
    }

    /// Counts bytes of values. A few large values may be more than many writes.
    pub(super) fn written_bytes(&self, len: usize) {
        let len = len as u64;
        let before = self.0.evictor.bytes.fetch_add(len, Ordering::Relaxed);
        if is_due(before, len, self.0.check_every.1) | self.add_wal_bytes(len) {
            self.call();
        }
    }

    /// Counts bytes of the WAL. Returns whether a checkpoint is due.
    fn add_wal_bytes(&self, len: u64) -> bool {
        let before = self.0.log.fetch_add(len, Ordering::Relaxed);
        is_due(before, len, self.0.database.wal_limit())
    }

    /// Returns what evicts entries.
    pub(super) fn evictor(&self) -> &Evictor {
        &self.0.evictor
    }

    fn call(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.has_thread {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("cache-db-maint".into());
            // If the system has no thread now, the next write tries again.
            state.has_thread = thread.spawn(move || shared.serve()).is_ok();
        }
        state.is_called = true;
        drop(state);
        self.0.wake.notify_one();
    }

    pub(super) fn end(&self) {
        self.0.evictor.is_closed.store(true, Ordering::Relaxed);
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn serve(&self) {
        let mut sweep = Sweep::new();
        let mut checkpointed = 0;
        let mut ticked = Instant::now();
        while self.wait() {
            // Frequent wake-ups must not keep the tick away.
            let is_tick = ticked.elapsed() >= TICK;
            if is_tick {
                ticked = Instant::now();
            }
            // Maintenance opens nothing: a closed or deleted file stays so until the next call.
            let Some(pool) = self.database.ready() else { continue };
            // Calls meet the same errors and return them.
            let _ = self.evictor.trim(&pool, &mut sweep);
            let (log, limit) = (self.log.load(Ordering::Relaxed), self.database.wal_limit());
            if log - checkpointed >= limit || (is_tick && log > checkpointed) {
                let is_short = self.checkpoint(&pool).unwrap_or(true);
                // Readers blocked the checkpoint, but only for a short time.
                checkpointed = if is_short { log } else { log.saturating_sub(limit / 4 * 3) };
            }
            if is_tick {
                let _ = self.evictor.sweep(&pool, &mut sweep);
                (sweep.fruitless, sweep.ends) = (0, 0);
            }
        }
    }

    /// Waits for a wake-up or a tick. Returns `false` at the end.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |it: &mut State| !it.is_called && !it.is_closed;
        let (mut state, _) =
            self.wake.wait_timeout_while(state, TICK, idle).unwrap_or_else(PoisonError::into_inner);
        state.is_called = false;
        !state.is_closed
    }

    /// Checkpoints the WAL. Returns whether the next write can start at its beginning. Writes go on
    /// meanwhile, unless they kept the WAL growing.
    fn checkpoint(&self, pool: &Arc<Pool>) -> Result<bool> {
        if self.database.path.is_none() {
            return Ok(true);
        }
        let log = self.database.read_from(pool, |session| Ok(session.checkpoint("PASSIVE")?))?;
        if u64::try_from(log.pages).unwrap_or(0) * PAGE > self.database.wal_limit() {
            let writer = pool.writer();
            let session = self.database.session(&writer);
            // A reader of another process may block the checkpoint for any time. Writes must not
            // wait for it.
            let res = writer.busy_timeout(MAX_HOLD).and_then(|()| session.checkpoint("RESTART"));
            let res = writer.busy_timeout(Duration::ZERO).and(res);
            let log = res.map_err(|it| self.database.to_error(pool, it.into()))?;
            return Ok(!log.is_busy);
        }
        Ok(true)
    }
}

/// Returns whether a multiple of `check_every` was reached.
fn is_due(before: u64, more: u64, check_every: u64) -> bool {
    before / check_every != before.saturating_add(more) / check_every
}
