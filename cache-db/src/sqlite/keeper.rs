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
    call::Call,
    database::{Database, Opened},
    error::Failure,
};

/// A thread that is started by the first write and ends with [`end`](Keeper::end).
#[derive(Debug)]
pub(super) struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    /// Writes since it was last looked.
    written: AtomicU64,
    /// Bytes in values.
    bytes: AtomicU64,
    /// After so many of either it is looked.
    often: (u64, u64),
    /// About how many bytes were written to the log.
    log: AtomicU64,
    /// What the two were when the table was last seen within its bounds.
    kept: (AtomicU64, AtomicU64),
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
    reach: u32,
    /// How many were looked at since the last that had expired, or since the last tick.
    barren: i64,
    /// How often it came to the end of the table meanwhile: after twice it has seen all.
    ends: u32,
}

/// How often it looks by itself.
const TICK: Duration = Duration::from_secs(1);
/// It looks after at most this many writes, and after a twentieth of what the table may hold.
const OFTEN: u64 = 64;
/// How many are removed in one transaction.
const STEP: i64 = 128;
/// How many the writer removes at once where it makes room: twice what it writes at once, so that there is less after it, however long that took.
const LONG_STEP: i64 = 512;
const REACH: (u32, u32) = (256, 8192);
/// How many steps the search goes at each tick, if there is nothing else to do.
const STEPS: usize = 16;
/// How many are looked at between two ticks, when room is needed, for one that has expired.
const SEARCH: i64 = 100_000;
/// How often a step is tried while another process writes.
const TRIES: u32 = 100;
/// SQLite's, unless another program made the file.
const PAGE: u64 = 4096;
/// About what a write puts into the log besides its value: a page each of the table, of its index and of the counters, and one to spare.
const LOG_EACH: u64 = 4 * PAGE;
/// The longest that it holds them up for readers who are in the way, or for room.
const HOLD_UP: Duration = Duration::from_millis(20);

impl Keeper {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let plan = &database.plan.plan;
        let often = plan.max_entries.map_or(OFTEN, |it| (it / 20).clamp(1, OFTEN));
        let often_bytes = plan.max_bytes.map_or(u64::MAX, |it| (it / 20).max(1));
        Self(Arc::new(Shared {
            database,
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            often: (often, often_bytes),
            log: AtomicU64::new(0),
            kept: Default::default(),
            state: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// So many writes were made.
    pub(super) fn written(&self, count: u64) {
        let before = self.0.written.fetch_add(count, Ordering::Relaxed);
        let is_first = before == 0;
        if is_due(before, count, self.0.often.0) | self.logged(count * LOG_EACH) || is_first {
            self.call();
        }
    }

    /// They were so large. A few large values may be more than many writes.
    pub(super) fn written_bytes(&self, len: usize) {
        let len = len as u64;
        let before = self.0.bytes.fetch_add(len, Ordering::Relaxed);
        if is_due(before, len, self.0.often.1) | self.logged(len) {
            self.call();
        }
    }

    /// So much was written to the log; whether it is time to write it into the file.
    fn logged(&self, len: u64) -> bool {
        let before = self.0.log.fetch_add(len, Ordering::Relaxed);
        is_due(before, len, self.0.database.log_limit())
    }

    /// Whether a quarter of what the table may hold was written since it was seen within its bounds. On a busy machine this thread
    /// may be left behind, or has a long log to write; then the writer helps.
    pub(super) fn is_behind(&self) -> bool {
        let (written, bytes) = self.0.so_far();
        let (kept, plan) = (&self.0.kept, &self.0.database.plan.plan);
        let is_much = |it: u64, kept: &AtomicU64, may: Option<u64>| {
            may.is_some_and(|may| it.saturating_sub(kept.load(Ordering::Relaxed)) > may / 4)
        };
        is_much(written, &kept.0, plan.max_entries) || is_much(bytes, &kept.1, plan.max_bytes)
    }

    /// Makes room within the transaction of those who have written for so long, if the keeper is behind: so the table is soon within its
    /// bounds again, however busy the machine is.
    pub(super) fn help(
        &self,
        call: &Call<'_>,
        writing: Duration,
    ) -> std::result::Result<(), Failure> {
        if !self.is_behind() {
            return Ok(());
        }
        // They wait for it no longer than this; and it takes longer than they did, so that it comes to an end.
        let most = HOLD_UP.max(writing * 2);
        let began = Instant::now();
        loop {
            let (written, bytes) = self.0.so_far();
            let excess = self.0.excess(&Counters::of(call)?);
            if excess <= 0 {
                self.0.seen_within_bounds(written, bytes);
                return Ok(());
            }
            self.0.remove_oldest(call, excess.min(LONG_STEP))?;
            if began.elapsed() > most {
                return Ok(());
            }
        }
    }

    fn call(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.has_thread {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("cache-db-keeper".into());
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
        let mut sweep = Sweep { after: 0, reach: REACH.0, barren: 0, ends: 0 };
        let mut logged = 0;
        let mut ticked = Instant::now();
        while self.wait() {
            // Also where it is called so often that it never waits for so long.
            let is_tick = ticked.elapsed() >= TICK;
            if is_tick {
                ticked = Instant::now();
            }
            // It opens nothing: what is closed, or gone, stays so until somebody calls.
            let Some(opened) = self.database.ready() else { continue };
            // What fails is found by the calls too, and told there.
            let _ = self.trim(&opened, &mut sweep);
            let (log, limit) = (self.log.load(Ordering::Relaxed), self.database.log_limit());
            if log - logged >= limit || (is_tick && log > logged) {
                let is_short = self.write_log(&opened).unwrap_or(true);
                // Readers were in the way: they are not for long.
                logged = if is_short { log } else { log.saturating_sub(limit / 4 * 3) };
            }
            if is_tick {
                let _ = self.sweep(&opened, &mut sweep);
                (sweep.barren, sweep.ends) = (0, 0);
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
    fn so_far(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The table was within its bounds when so much was written.
    fn seen_within_bounds(&self, written: u64, bytes: u64) {
        self.kept.0.fetch_max(written, Ordering::Relaxed);
        self.kept.1.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Removes what is too much: what has expired first, then what is oldest.
    fn trim(&self, opened: &Arc<Opened>, sweep: &mut Sweep) -> Result<()> {
        loop {
            let (written, bytes) = self.so_far();
            let counters = self.database.read_from(opened, Counters::of)?;
            let excess = self.excess(&counters);
            if excess <= 0 {
                self.seen_within_bounds(written, bytes);
            }
            if excess <= 0 || self.is_over() {
                return Ok(());
            }
            let count = excess.min(STEP);
            let mut expired = self.look_for_expired(opened, sweep)?;
            // All is looked through before what lives must go, but once between two ticks, and not the whole of a huge table.
            let found = |it: &[i64]| i64::try_from(it.len()).unwrap_or(STEP);
            let most = counters.entries.min(SEARCH);
            while found(&expired) < count && sweep.barren < most && sweep.ends < 2 {
                expired.extend(self.look_for_expired(opened, sweep)?);
            }
            let found = found(&expired);
            self.remove(opened, &expired, (count - found).max(0))?;
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
    fn look_for_expired(&self, opened: &Arc<Opened>, sweep: &mut Sweep) -> Result<Vec<i64>> {
        let (after, reach) = (sweep.after, sweep.reach);
        let seen = self.database.read_from(opened, |call| call.look_for_expired(after, reach))?;
        let is_end = seen.len() < reach as usize;
        sweep.after = if is_end { 0 } else { seen.last().map_or(0, |it| it.0) };
        let looked = i64::try_from(seen.len()).unwrap_or(i64::MAX);
        let expired: Vec<_> = seen.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        sweep.reach =
            if expired.is_empty() { reach / 2 } else { reach * 2 }.clamp(REACH.0, REACH.1);
        (sweep.barren, sweep.ends) = if expired.is_empty() {
            (sweep.barren + looked, sweep.ends + u32::from(is_end))
        } else {
            (0, 0)
        };
        Ok(expired)
    }

    /// Removes these, and so many of the oldest, in steps that others can come between.
    fn remove(&self, opened: &Arc<Opened>, expired: &[i64], oldest: i64) -> Result<()> {
        for some in expired.chunks(usize::try_from(STEP).unwrap_or(1)) {
            self.step(opened, |call| {
                some.iter().try_for_each(|it| call.remove_expired(*it).map(drop))
            })?;
        }
        if oldest > 0 {
            self.step(opened, |call| self.remove_oldest(call, oldest))?;
        }
        Ok(())
    }

    /// Up to so many, as long as there is too much: another process may have made room since it was counted, and both must not.
    fn remove_oldest(&self, call: &Call<'_>, most: i64) -> std::result::Result<(), Failure> {
        let counters = Counters::of(call)?;
        let found = call.oldest(most)?;
        let is_all = i64::try_from(found.len()).is_ok_and(|it| it < most);
        if is_all && counters != Counters::sum(&found) {
            // Somebody else has changed what is counted; of so few it costs nothing to count anew.
            return call.recount();
        }
        let (mut entries, mut bytes) = self.over(&counters);
        let mut last = None;
        for (id, size) in found {
            if entries <= 0 && bytes <= 0 {
                break;
            }
            (entries, bytes, last) = (entries - 1, bytes - size, Some(id));
        }
        last.map_or(Ok(()), |id| call.remove_up_to(id).map(drop))
    }

    /// Goes on looking for what has expired, until there is none in the next or all was seen.
    fn sweep(&self, opened: &Arc<Opened>, sweep: &mut Sweep) -> Result<()> {
        for _ in 0..STEPS {
            if self.is_over() || self.database.ready().is_none() {
                break;
            }
            let expired = self.look_for_expired(opened, sweep)?;
            self.remove(opened, &expired, 0)?;
            if sweep.after == 0 {
                break;
            }
        }
        Ok(())
    }

    fn step(
        &self,
        opened: &Arc<Opened>,
        work: impl Fn(&Call<'_>) -> std::result::Result<(), Failure>,
    ) -> Result<()> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let res = {
                let _turn = opened.keeper();
                let connection = opened.writer();
                let call = self.database.call(&connection);
                call.alone(|| work(&call))
            };
            match res {
                // Another process writes. If it goes on for long, this is left to the next tick.
                Err(failure) if failure.is_busy() && tries > 0 && !self.is_over() => {
                    thread::sleep(Duration::from_millis(1));
                }
                res => return res.map_err(|failure| self.database.settle(opened, failure)),
            }
        }
    }

    /// Writes what is in the log into the file; whether it can begin anew. The writes go on meanwhile, unless that has kept the log growing.
    fn write_log(&self, opened: &Arc<Opened>) -> Result<bool> {
        if self.database.path.is_none() {
            return Ok(true);
        }
        let log = self.database.read_from(opened, |call| Ok(call.write_log("PASSIVE")?))?;
        if u64::try_from(log.pages).unwrap_or(0) * PAGE > self.database.log_limit() {
            let _turn = opened.keeper();
            let writer = opened.writer();
            let call = self.database.call(&writer);
            // Readers of other processes may be in the way for as long as they like; the writes must not wait for them.
            let res = writer.busy_timeout(HOLD_UP).and_then(|()| call.write_log("RESTART"));
            let res = writer.busy_timeout(Duration::ZERO).and(res);
            let log = res.map_err(|it| self.database.settle(opened, it.into()))?;
            return Ok(!log.is_busy);
        }
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }
}

impl Counters {
    fn of(call: &Call<'_>) -> std::result::Result<Self, Failure> {
        let (entries, bytes) = call.counters()?;
        Ok(Self { entries, bytes })
    }

    /// Of entries with their sizes.
    fn sum(all: &[(i64, i64)]) -> Self {
        let entries = i64::try_from(all.len()).unwrap_or(i64::MAX);
        Self { entries, bytes: all.iter().map(|it| it.1).sum() }
    }
}

/// Whether a multiple of `often` was reached.
fn is_due(before: u64, more: u64, often: u64) -> bool {
    before / often != before.saturating_add(more) / often
}
