//! Keeping a table within its bounds, and removing expired entries, in small steps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::Result;
use rusqlite::{Row, named_params};

use super::{database::Database, error::Failure, pool::Pool, session::Session};

/// Removes entries of one table, in the maintenance thread or in a writer's transaction.
#[derive(Debug)]
pub(super) struct Evictor {
    database: Arc<Database>,
    /// Writes so far.
    pub(super) written: AtomicU64,
    /// Bytes of values so far.
    pub(super) bytes: AtomicU64,
    /// `written` and `bytes` when the table was last found within its bounds.
    within_bounds: (AtomicU64, AtomicU64),
    /// Set when the store ends. A running step stops.
    pub(super) is_closed: AtomicBool,
}

/// The position of the search for expired entries.
#[derive(Debug)]
pub(super) struct Sweep {
    after: i64,
    /// Rows read in one step. The number grows while the search finds something.
    window: u32,
    /// Rows read since the last expired one, or since the last tick.
    pub(super) fruitless: i64,
    /// How often the search reached the end of the table since then. After two ends it has read
    /// every row.
    pub(super) ends: u32,
}

/// The entries and bytes of a table, by its triggers.
#[derive(PartialEq, Eq)]
struct Counters {
    entries: i64,
    bytes: i64,
}

/// Rows removed in one transaction.
const STEP: i64 = 128;
/// Rows that the writer removes at once: twice the writes of one group, so that the table shrinks
/// however slow the machine is.
const LONG_STEP: i64 = 512;
const WINDOW: (u32, u32) = (256, 8192);
/// Steps of the search at each tick if the table is within its bounds.
const STEPS: usize = 16;
/// Rows that the search reads between two ticks to find an expired one when the table is full.
const SEARCH: i64 = 100_000;
/// Attempts of one step while another process writes.
const TRIES: u32 = 100;
/// The longest time for which writes wait for maintenance.
pub(super) const MAX_HOLD: Duration = Duration::from_millis(20);

impl Evictor {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            within_bounds: Default::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Returns whether a quarter of the bound was written since the table was last within it. On a
    /// busy machine the maintenance thread may get no time, or may have a long WAL to checkpoint.
    /// Then the writer evicts.
    pub(super) fn is_behind(&self) -> bool {
        let (written, bytes) = self.written_so_far();
        let (within_bounds, plan) = (&self.within_bounds, &self.database.plan.plan);
        let is_much = |it: u64, within_bounds: &AtomicU64, may: Option<u64>| {
            may.is_some_and(|may| {
                it.saturating_sub(within_bounds.load(Ordering::Relaxed)) > may / 4
            })
        };
        is_much(written, &within_bounds.0, plan.max_entries)
            || is_much(bytes, &within_bounds.1, plan.max_bytes)
    }

    /// Evicts inside a transaction whose writes took `writing`, if the maintenance thread is
    /// behind. The table soon returns within its bounds, however busy the machine is.
    pub(super) fn make_room(
        &self,
        session: &Session<'_>,
        writing: Duration,
    ) -> std::result::Result<(), Failure> {
        if !self.is_behind() {
            return Ok(());
        }
        // Takes longer than the writes themselves, or the table would go on growing.
        let most = MAX_HOLD.max(writing * 2);
        let began = Instant::now();
        loop {
            let (written, bytes) = self.written_so_far();
            let excess = self.excess(&Counters::of(session)?);
            if excess <= 0 {
                self.note_within_bounds(written, bytes);
                return Ok(());
            }
            self.remove_oldest(session, excess.min(LONG_STEP))?;
            if began.elapsed() > most {
                return Ok(());
            }
        }
    }

    /// Evicts what exceeds the bounds: expired entries first, then the oldest.
    pub(super) fn trim(&self, pool: &Arc<Pool>, sweep: &mut Sweep) -> Result<()> {
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
            // Reads the table once between two ticks before a live entry is removed, but not the
            // whole of a huge table.
            let found = |it: &[i64]| i64::try_from(it.len()).unwrap_or(STEP);
            let most = counters.entries.min(SEARCH);
            while found(&expired) < count && sweep.fruitless < most && sweep.ends < 2 {
                expired.extend(self.find_expired(pool, sweep)?);
            }
            let found = found(&expired);
            self.remove(pool, &expired, (count - found).max(0))?;
        }
    }

    /// Removes expired entries until a step finds none or the end of the table is reached.
    pub(super) fn sweep(&self, pool: &Arc<Pool>, sweep: &mut Sweep) -> Result<()> {
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

    fn written_so_far(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn note_within_bounds(&self, written: u64, bytes: u64) {
        self.within_bounds.0.fetch_max(written, Ordering::Relaxed);
        self.within_bounds.1.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Returns about how many entries exceed the bounds.
    fn excess(&self, counters: &Counters) -> i64 {
        let bytes_each = (counters.bytes / counters.entries.max(1)).max(1);
        let (entries, bytes) = self.over(counters);
        entries.max(bytes / bytes_each + i64::from(bytes > 0))
    }

    /// Returns how many entries and bytes exceed the bounds.
    fn over(&self, counters: &Counters) -> (i64, i64) {
        let plan = &self.database.plan.plan;
        let over = |has: i64, may: Option<u64>| {
            may.map_or(0, |it| has.saturating_sub(i64::try_from(it).unwrap_or(i64::MAX)))
        };
        (over(counters.entries, plan.max_entries), over(counters.bytes, plan.max_bytes))
    }

    /// Returns the expired rows among the next ones.
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

    /// Removes `expired`, and `oldest` of the oldest rows, in steps between which writes can run.
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

    /// Removes up to `most` rows while the table exceeds its bounds. Counts again first: another
    /// process may have evicted meanwhile.
    fn remove_oldest(&self, session: &Session<'_>, most: i64) -> std::result::Result<(), Failure> {
        let counters = Counters::of(session)?;
        let found = session.oldest(most)?;
        let is_all = i64::try_from(found.len()).is_ok_and(|it| it < most);
        if is_all && counters != Counters::sum(&found) {
            // Another program changed the counters. So few rows are counted quickly.
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

    fn step(
        &self,
        pool: &Arc<Pool>,
        work: impl Fn(&Session<'_>) -> std::result::Result<(), Failure>,
    ) -> Result<()> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let res = {
                let connection = pool.writer();
                let session = self.database.session(&connection);
                session.in_transaction(|| work(&session))
            };
            match res {
                // Another process writes. If it goes on for long, the next tick tries again.
                Err(failure) if failure.is_busy() && tries > 0 && !self.is_closed() => {
                    thread::sleep(Duration::from_millis(1));
                }
                res => return res.map_err(|failure| self.database.to_error(pool, failure)),
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

impl Sweep {
    pub(super) fn new() -> Self {
        Self { after: 0, window: WINDOW.0, fruitless: 0, ends: 0 }
    }
}

impl Counters {
    fn of(session: &Session<'_>) -> std::result::Result<Self, Failure> {
        let (entries, bytes) = session.counters()?;
        Ok(Self { entries, bytes })
    }

    /// Sums the sizes of rows.
    fn sum(all: &[(i64, i64)]) -> Self {
        let entries = i64::try_from(all.len()).unwrap_or(i64::MAX);
        Self { entries, bytes: all.iter().map(|it| it.1).sum() }
    }
}

impl Session<'_> {
    /// Sets the counters from the rows. Reads the whole table.
    fn recount(&self) -> std::result::Result<(), Failure> {
        self.change(&self.sql.recount, &[]).map(drop)
    }

    /// Returns the entries and bytes of the table.
    pub(super) fn counters(&self) -> std::result::Result<(i64, i64), Failure> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.row(&self.sql.counters, &[], read)?.unwrap_or_default())
    }

    /// Returns the ids of the next rows after `after`, each with whether it has expired.
    fn find_expired(
        &self,
        after: i64,
        limit: u32,
    ) -> std::result::Result<Vec<(i64, bool)>, Failure> {
        let params = named_params! {":after": after, ":limit": limit, ":now": self.now};
        let read =
            |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?.unwrap_or(false)));
        let mut statement = self.db.prepare_cached(&self.sql.expired_after)?;
        Ok(statement.query_map(params, read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes a row if it is still expired.
    fn remove_expired(&self, id: i64) -> std::result::Result<bool, Failure> {
        self.change(&self.sql.remove_expired, named_params! {":id": id, ":now": self.now})
    }

    /// Returns ids and sizes of the oldest rows.
    fn oldest(&self, limit: i64) -> std::result::Result<Vec<(i64, i64)>, Failure> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let mut statement = self.db.prepare_cached(&self.sql.oldest)?;
        let found = statement.query_map(named_params! {":limit": limit}, read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes the rows up to `id`.
    fn remove_up_to(&self, id: i64) -> std::result::Result<bool, Failure> {
        self.change(&self.sql.remove_up_to, named_params! {":id": id})
    }
}
