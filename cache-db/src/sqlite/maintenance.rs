//! Keeps the table within its bounds, rids it of what has expired, and the log of what is in the file already: all beside the writes, in
//! small steps, so that none of them waits for long.

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
    database::{Database, Pool},
    error::Failure,
    session::Session,
};

/// A thread that is started by the first write and ends with [`end`](Keeper::end).
#[derive(Debug)]
pub(super) struct Maintenance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    /// Writes since it was last looked.
    written: AtomicU64,
    /// Bytes in values.
    bytes: AtomicU64,
    /// After so many of either it is looked.
    check_every: (u64, u64),
    /// About how many bytes were written to the log.
    log: AtomicU64,
    /// What the two were when the table was last seen within its bounds.
    within_bounds: (AtomicU64, AtomicU64),
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_thread: bool,
    is_called: bool,
    is_closed: bool,
}

/// What the table holds.
#[derive(PartialEq, Eq)]
struct Counters {
    entries: i64,
    bytes: i64,
}

/// How far the search for what has expired has come.
#[derive(Debug)]
struct Sweep {
    after: i64,
    /// How many are looked at in one step: more where something is found.
    window: u32,
    /// How many were looked at since the last that had expired, or since the last tick.
    fruitless: i64,
    /// How often it came to the end of the table meanwhile: after twice it has seen all.
    ends: u32,
}

/// How often it looks by itself.
const TICK: Duration = Duration::from_secs(1);
/// It looks after at most this many writes, and after a twentieth of what the table may hold.
const CHECK_EVERY: u64 = 64;
/// How many are removed in one transaction.
const STEP: i64 = 128;
/// How many the writer removes at once where it makes room: twice what it writes at once, so that there is less after it, however long that took.
const LONG_STEP: i64 = 512;
const WINDOW: (u32, u32) = (256, 8192);
/// How many steps the search goes at each tick, if there is nothing else to do.
const STEPS: usize = 16;
/// How many are looked at between two ticks, when room is needed, for one that has expired.
const SEARCH: i64 = 100_000;
/// How often a step is tried while another process writes.
const TRIES: u32 = 100;
/// SQLite's, unless another program made the file.
const PAGE: u64 = 4096;
/// About what a write puts into the log besides its value: a page each of the table, of its index and of the counters, and one to spare.
const WAL_PER_WRITE: u64 = 4 * PAGE;
/// The longest that it holds them up for readers who are in the way, or for room.
const MAX_HOLD: Duration = Duration::from_millis(20);

impl Maintenance {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let plan = &database.plan.plan;
        let check_every =
            plan.max_entries.map_or(CHECK_EVERY, |it| (it / 20).clamp(1, CHECK_EVERY));
        let often_bytes = plan.max_bytes.map_or(u64::MAX, |it| (it / 20).max(1));
        Self(Arc::new(Shared {
            database,
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            check_every: (check_every, often_bytes),
            log: AtomicU64::new(0),
            within_bounds: Default::default(),
            state: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// So many writes were made.
    pub(super) fn written(&self, count: u64) {
        let before = self.0.written.fetch_add(count, Ordering::Relaxed);
        let is_first = before == 0;
        if is_due(before, count, self.0.check_every.0) | self.add_wal_bytes(count * WAL_PER_WRITE)
            || is_first
        {
            self.call();
        }
    }

    /// They were so large. A few large values may be more than many writes.
    pub(super) fn written_bytes(&self, len: usize) {
        let len = len as u64;
        let before = self.0.bytes.fetch_add(len, Ordering::Relaxed);
        if is_due(before, len, self.0.check_every.1) | self.add_wal_bytes(len) {
            self.call();
        }
    }

    /// So much was written to the log; whether it is time to write it into the file.
    fn add_wal_bytes(&self, len: u64) -> bool {
        let before = self.0.log.fetch_add(len, Ordering::Relaxed);
        is_due(before, len, self.0.database.wal_limit())
    }

    /// Whether a quarter of what the table may hold was written since it was seen within its bounds. On a busy machine this thread
    /// may be left behind, or has a long log to write; then the writer helps.
    pub(super) fn is_behind(&self) -> bool {
        let (written, bytes) = self.0.written_so_far();
        let (within_bounds, plan) = (&self.0.within_bounds, &self.0.database.plan.plan);
        let is_much = |it: u64, within_bounds: &AtomicU64, may: Option<u64>| {
            may.is_some_and(|may| {
                it.saturating_sub(within_bounds.load(Ordering::Relaxed)) > may / 4
            })
        };
        is_much(written, &within_bounds.0, plan.max_entries)
            || is_much(bytes, &within_bounds.1, plan.max_bytes)
    }

    /// Makes room within the transaction of those who have written for so long, if the keeper is behind: so the table is soon within its
    /// bounds again, however busy the machine is.
    pub(super) fn make_room(
        &self,
        session: &Session<'_>,
        writing: Duration,
    ) -> std::result::Result<(), Failure> {
        if !self.is_behind() {
            return Ok(());
        }
        // They wait for it no longer than this; and it takes longer than they did, so that it comes to an end.
        let most = MAX_HOLD.max(writing * 2);
        let began = Instant::now();
        loop {
            let (written, bytes) = self.0.written_so_far();
            let excess = self.0.excess(&Counters::of(session)?);
            if excess <= 0 {
                self.0.note_within_bounds(written, bytes);
                return Ok(());
            }
            self.0.remove_oldest(session, excess.min(LONG_STEP))?;
            if began.elapsed() > most {
                return Ok(());
            }
        }
    }

    fn call(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.has_thread {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("cache-db-maint".into());
            // If there is no thread to be had now, the next write tries again.
            state.has_thread = thread.spawn(move || shared.serve()).is_ok();
        }
        state.is_called = true;
        drop(state);
        self.0.wake.notify_one();
    }

    pub(super) fn end(&self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn serve(&self) {
        let mut sweep = Sweep { after: 0, window: WINDOW.0, fruitless: 0, ends: 0 };
        let mut checkpointed = 0;
        let mut ticked = Instant::now();
        while self.wait() {
            // Also where it is called so often that it never waits for so long.
            let is_tick = ticked.elapsed() >= TICK;
            if is_tick {
                ticked = Instant::now();
            }
            // It opens nothing: what is closed, or gone, stays so until somebody calls.
            let Some(pool) = self.database.ready() else { continue };
            // What fails is found by the calls too, and told there.
            let _ = self.trim(&pool, &mut sweep);
            let (log, limit) = (self.log.load(Ordering::Relaxed), self.database.wal_limit());
            if log - checkpointed >= limit || (is_tick && log > checkpointed) {
                let is_short = self.checkpoint(&pool).unwrap_or(true);
                // Readers were in the way: they are not for long.
                checkpointed = if is_short { log } else { log.saturating_sub(limit / 4 * 3) };
            }
            if is_tick {
                let _ = self.sweep(&pool, &mut sweep);
                (sweep.fruitless, sweep.ends) = (0, 0);
            }
        }
    }

    /// Until it is called, or for a while; whether it goes on.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |it: &mut State| !it.is_called && !it.is_closed;
        let (mut state, _) =
            self.wake.wait_timeout_while(state, TICK, idle).unwrap_or_else(PoisonError::into_inner);
        state.is_called = false;
        !state.is_closed
    }

    /// How much was written.
    fn written_so_far(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The table was within its bounds when so much was written.
    fn note_within_bounds(&self, written: u64, bytes: u64) {
        self.within_bounds.0.fetch_max(written, Ordering::Relaxed);
        self.within_bounds.1.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Removes what is too much: what has expired first, then what is oldest.
    fn trim(&self, pool: &Arc<Pool>, sweep: &mut Sweep) -> Result<()> {
        loop {
            let (written, bytes) = self.written_so_far();
            let counters = self.database.read_from(pool, Counters::of)?;
            let excess = self.excess(&counters);
            if excess <= 0 {
                self.note_within_bounds(written, bytes);
            }
            if excess <= 0 || self.is_closed() {
                return Ok(());
            }
            let count = excess.min(STEP);
            let mut expired = self.find_expired(pool, sweep)?;
            // All is looked through before what lives must go, but once between two ticks, and not the whole of a huge table.
            let found = |it: &[i64]| i64::try_from(it.len()).unwrap_or(STEP);
            let most = counters.entries.min(SEARCH);
            while found(&expired) < count && sweep.fruitless < most && sweep.ends < 2 {
                expired.extend(self.find_expired(pool, sweep)?);
            }
            let found = found(&expired);
            self.remove(pool, &expired, (count - found).max(0))?;
        }
    }

    /// How many entries are too many, about.
    fn excess(&self, counters: &Counters) -> i64 {
        let bytes_each = (counters.bytes / counters.entries.max(1)).max(1);
        let (entries, bytes) = self.over(counters);
        entries.max(bytes / bytes_each + i64::from(bytes > 0))
    }

    /// How many entries and bytes are over the bounds.
    fn over(&self, counters: &Counters) -> (i64, i64) {
        let plan = &self.database.plan.plan;
        let over = |has: i64, may: Option<u64>| {
            may.map_or(0, |it| has.saturating_sub(i64::try_from(it).unwrap_or(i64::MAX)))
        };
        (over(counters.entries, plan.max_entries), over(counters.bytes, plan.max_bytes))
    }

    /// What has expired among the next.
    fn find_expired(&self, pool: &Arc<Pool>, sweep: &mut Sweep) -> Result<Vec<i64>> {
        let (after, window) = (sweep.after, sweep.window);
        let seen = self.database.read_from(pool, |session| session.find_expired(after, window))?;
        let is_end = seen.len() < window as usize;
        sweep.after = if is_end { 0 } else { seen.last().map_or(0, |it| it.0) };
        let checked = i64::try_from(seen.len()).unwrap_or(i64::MAX);
        let expired: Vec<_> = seen.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        sweep.window =
            if expired.is_empty() { window / 2 } else { window * 2 }.clamp(WINDOW.0, WINDOW.1);
        (sweep.fruitless, sweep.ends) = if expired.is_empty() {
            (sweep.fruitless + checked, sweep.ends + u32::from(is_end))
        } else {
            (0, 0)
        };
        Ok(expired)
    }

    /// Removes these, and so many of the oldest, in steps that others can come between.
    fn remove(&self, pool: &Arc<Pool>, expired: &[i64], oldest: i64) -> Result<()> {
        for some in expired.chunks(usize::try_from(STEP).unwrap_or(1)) {
            self.step(pool, |session| {
                some.iter().try_for_each(|it| session.remove_expired(*it).map(drop))
            })?;
        }
        if oldest > 0 {
            self.step(pool, |session| self.remove_oldest(session, oldest))?;
        }
        Ok(())
    }

    /// Up to so many, as long as there is too much: another process may have made room since it was counted, and both must not.
    fn remove_oldest(&self, session: &Session<'_>, most: i64) -> std::result::Result<(), Failure> {
        let counters = Counters::of(session)?;
        let found = session.oldest(most)?;
        let is_all = i64::try_from(found.len()).is_ok_and(|it| it < most);
        if is_all && counters != Counters::sum(&found) {
            // Somebody else has changed what is counted; of so few it costs nothing to count anew.
            return session.recount();
        }
        let (mut entries, mut bytes) = self.over(&counters);
        let mut last = None;
        for (id, size) in found {
            if entries <= 0 && bytes <= 0 {
                break;
            }
            (entries, bytes, last) = (entries - 1, bytes - size, Some(id));
        }
        last.map_or(Ok(()), |id| session.remove_up_to(id).map(drop))
    }

    /// Goes on looking for what has expired, until there is none in the next or all was seen.
    fn sweep(&self, pool: &Arc<Pool>, sweep: &mut Sweep) -> Result<()> {
        for _ in 0..STEPS {
            if self.is_closed() || self.database.ready().is_none() {
                break;
            }
            let expired = self.find_expired(pool, sweep)?;
            self.remove(pool, &expired, 0)?;
            if sweep.after == 0 {
                break;
            }
        }
        Ok(())
    }

    fn step(
        &self,
        pool: &Arc<Pool>,
        work: impl Fn(&Session<'_>) -> std::result::Result<(), Failure>,
    ) -> Result<()> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let res = {
                let _turn = pool.maintenance();
                let connection = pool.writer();
                let session = self.database.session(&connection);
                session.in_transaction(|| work(&session))
            };
            match res {
                // Another process writes. If it goes on for long, this is left to the next tick.
                Err(failure) if failure.is_busy() && tries > 0 && !self.is_closed() => {
                    thread::sleep(Duration::from_millis(1));
                }
                res => return res.map_err(|failure| self.database.to_error(pool, failure)),
            }
        }
    }

    /// Writes what is in the log into the file; whether it can begin anew. The writes go on meanwhile, unless that has kept the log growing.
    fn checkpoint(&self, pool: &Arc<Pool>) -> Result<bool> {
        if self.database.path.is_none() {
            return Ok(true);
        }
        let log = self.database.read_from(pool, |session| Ok(session.checkpoint("PASSIVE")?))?;
        if u64::try_from(log.pages).unwrap_or(0) * PAGE > self.database.wal_limit() {
            let _turn = pool.maintenance();
            let writer = pool.writer();
            let session = self.database.session(&writer);
            // Readers of other processes may be in the way for as long as they like; the writes must not wait for them.
            let res = writer.busy_timeout(MAX_HOLD).and_then(|()| session.checkpoint("RESTART"));
            let res = writer.busy_timeout(Duration::ZERO).and(res);
            let log = res.map_err(|it| self.database.to_error(pool, it.into()))?;
            return Ok(!log.is_busy);
        }
        Ok(true)
    }

    fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }
}

impl Counters {
    fn of(session: &Session<'_>) -> std::result::Result<Self, Failure> {
        let (entries, bytes) = session.counters()?;
        Ok(Self { entries, bytes })
    }

    /// Of entries with their sizes.
    fn sum(all: &[(i64, i64)]) -> Self {
        let entries = i64::try_from(all.len()).unwrap_or(i64::MAX);
        Self { entries, bytes: all.iter().map(|it| it.1).sum() }
    }
}

/// Whether a multiple of `often` was reached.
fn is_due(before: u64, more: u64, check_every: u64) -> bool {
    before / check_every != before.saturating_add(more) / check_every
}
