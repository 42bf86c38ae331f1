//! Trimming: keeps the table within its bounds, beside the calls. No call waits for it, and none
//! counts rows.
//!
//! Each process counts its own writes. When they reach a threshold, its task estimates the table
//! from a sample of pages and removes the excess in small batches: expired entries first, then the
//! oldest. One process at a time holds the trim lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Result, store::SharedDeadline};
use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::{
    connection::Reply,
    connector::Connector,
    detached::Caller,
    error,
    param::Param,
    row::{column, one},
    slot::Slot,
    statements::Statement,
};
use crate::options::Plan;

/// The writes since the last estimate, and how many call for the next.
#[derive(Debug, Default)]
pub(crate) struct WriteCounts {
    entries: AtomicU64,
    bytes: AtomicU64,
    due_entries: AtomicU64,
    due_bytes: AtomicU64,
    wake: Notify,
    is_closed: AtomicBool,
}

/// Trims one table.
pub(crate) struct Trimmer {
    connector: Arc<Connector>,
    /// The connection for slow statements.
    slot: Arc<Slot>,
    /// The time limit of one statement.
    limit: SharedDeadline,
    writes: Arc<WriteCounts>,
    /// The position of the sweep.
    cursor: i64,
}

/// An estimate of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    entries: u64,
    bytes: u64,
    expired: u64,
}

/// The excess over the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Excess {
    entries: u64,
    bytes: u64,
}

/// Expired entries of an idle cache are removed, too.
const IDLE: Duration = Duration::from_secs(60);
/// The process that holds the lease may not have seen the last writes.
const SOON: Duration = Duration::from_secs(1);
/// Trimming begins at a bound and ends this part of it below, so that a run is worth its cost.
const SLACK: u64 = 32;
/// So many pages give about 2 % accuracy near the bound, for some 10 ms of work. A smaller table is
/// counted exactly.
const SAMPLE: f64 = 2048.0;
/// Rows read and rows removed by a statement: a few milliseconds of work.
const WINDOW: i64 = 1000;
const BATCH: u64 = 500;
/// Statements in one lease, and the milliseconds after which it ends by itself.
const STEPS: u32 = 100;
const LEASE: i64 = 30_000;

impl Trimmer {
    pub(crate) fn new(
        connector: Arc<Connector>,
        slot: Arc<Slot>,
        limit: SharedDeadline,
        writes: Arc<WriteCounts>,
    ) -> Self {
        Self { connector, slot, limit, writes, cursor: 0 }
    }

    /// Trims when enough was written, and every minute, until [`WriteCounts::close`].
    pub(crate) async fn run(mut self) {
        let clock = self.connector.clock.clone();
        let mut pause = IDLE;
        loop {
            let is_over = {
                let wake = std::pin::pin!(self.writes.wake.notified());
                let over = std::pin::pin!(clock.sleep(pause));
                matches!(select(wake, over).await, Either::Right(_))
            };
            if self.writes.is_closed() {
                return;
            }
            let outcome = self.trim(is_over && pause == IDLE).await;
            // After an error the next writes try again. Callers report a server that is down.
            pause = if matches!(outcome, Ok(false)) { SOON } else { IDLE };
        }
    }

    /// Trims until nothing is left to do. Returns `false` if another process holds the lease.
    async fn trim(&mut self, idle: bool) -> Result<bool> {
        self.writes.restart(self.plan());
        while self.execute(Statement::TakeTrimLease, vec![LEASE.into()]).await?.count > 0 {
            let is_done = self.trim_in_lease(idle).await;
            self.execute(Statement::ReleaseTrimLease, vec![]).await?;
            if is_done? || self.writes.is_closed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn execute(&self, statement: Statement, params: Vec<Param>) -> Result<Reply> {
        let connection = self.slot.connected().await?;
        let caller = Caller::default();
        let reply =
            self.slot.execute(connection, Some(&self.limit), statement, &params, &caller).await?;
        reply.ok_or_else(|| error::locked(statement, &self.connector.address))
    }

    fn plan(&self) -> &Plan {
        &self.connector.plan.plan
    }

    /// Returns whether nothing is left to do.
    async fn trim_in_lease(&mut self, idle: bool) -> Result<bool> {
        let seen = self.estimate().await?;
        self.writes.due(self.plan(), seen);
        let mut excess = seen.excess(self.plan());
        let mut steps = 0..STEPS;
        if !seen.has_few_expired() && (idle || !excess.is_none()) {
            let mut wrapped = self.cursor == 0;
            while steps.next().is_some() {
                let params = vec![self.cursor.into(), WINDOW.into()];
                let row = one(self.execute(Statement::Sweep, params).await?.rows)?;
                let (last, entries, bytes): (Option<i64>, i64, i64) =
                    (column(&row, 0)?, column(&row, 1)?, column(&row, 2)?);
                excess = excess.less(entries, bytes);
                self.cursor = last.unwrap_or(0);
                if (last.is_none() && std::mem::replace(&mut wrapped, true))
                    || (!idle && excess.is_none())
                {
                    break;
                }
            }
        }
        let mut after = i64::MIN;
        while !excess.is_none() && steps.next().is_some() {
            let batch = excess.batch(seen);
            let (entries, bytes) = (whole(excess.entries), whole(excess.bytes));
            let params = vec![after.into(), batch.into(), entries.into(), bytes.into()];
            let row = one(self.execute(Statement::Evict, params).await?.rows)?;
            let Some(last) = column(&row, 0)? else { return Ok(true) };
            after = last;
            excess = excess.less(column(&row, 1)?, column(&row, 2)?);
        }
        Ok(steps.next().is_some())
    }

    async fn estimate(&self) -> Result<Estimate> {
        let params = vec![Param::Float(SAMPLE), Param::Text(self.plan().table.quoted())];
        let row = one(self.execute(Statement::Sample, params).await?.rows)?;
        let share: f64 = column(&row, 3)?;
        let estimate = |i: usize| -> Result<u64> {
            let part: i64 = column(&row, i)?;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate, and never negative"
            )]
            let whole = (part as f64 * 100.0 / share) as u64;
            Ok(whole)
        };
        Ok(Estimate { entries: estimate(0)?, bytes: estimate(1)?, expired: estimate(2)? })
    }
}

impl WriteCounts {
    /// Counts writes.
    pub(crate) fn add(&self, entries: usize, bytes: usize) {
        let add = |it: &AtomicU64, more: usize| {
            let more = more as u64;
            it.fetch_add(more, Ordering::Relaxed) + more
        };
        let entries = add(&self.entries, entries) >= self.due_entries.load(Ordering::Relaxed);
        let bytes = add(&self.bytes, bytes) >= self.due_bytes.load(Ordering::Relaxed);
        if entries || bytes {
            self.wake.notify_one();
        }
    }

    /// Ends the trimmer after its current lease.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Resets the counts before the estimate, so that no write is missed.
    fn restart(&self, plan: &Plan) {
        self.entries.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        // Until the estimate is known, assume that the table is full: the estimate may fail, or
        // another process may hold the lease.
        let full = |bound: Option<u64>| bound.unwrap_or(0);
        let (entries, bytes) = (full(plan.max_entries), full(plan.max_bytes));
        self.due(plan, Estimate { entries, bytes, expired: 0 });
    }

    /// The next run is due when a quarter of the free room was written: other processes may write
    /// as much.
    fn due(&self, plan: &Plan, seen: Estimate) {
        let due = |bound: Option<u64>, seen: u64| match bound {
            None => u64::MAX,
            Some(bound) => (bound / SLACK).max(bound.saturating_sub(seen) / 4).max(1),
        };
        self.due_entries.store(due(plan.max_entries, seen.entries), Ordering::Relaxed);
        self.due_bytes.store(due(plan.max_bytes, seen.bytes), Ordering::Relaxed);
    }
}

impl Estimate {
    fn excess(self, plan: &Plan) -> Excess {
        let over = |bound: Option<u64>, seen: u64| match bound {
            Some(bound) if seen > bound => seen - (bound - bound / SLACK),
            _ => 0,
        };
        Excess {
            entries: over(plan.max_entries, self.entries),
            bytes: over(plan.max_bytes, self.bytes),
        }
    }

    /// Whether a sweep would cost more than the few expired entries are worth.
    fn has_few_expired(self) -> bool {
        self.expired <= self.entries / 100
    }

    fn bytes_each(self) -> u64 {
        (self.bytes / self.entries.max(1)).max(1)
    }
}

impl Excess {
    fn is_none(self) -> bool {
        self == Self::default()
    }

    fn less(self, entries: i64, bytes: i64) -> Self {
        let less = |it: u64, by: i64| it.saturating_sub(u64::try_from(by).unwrap_or(0));
        Self { entries: less(self.entries, entries), bytes: less(self.bytes, bytes) }
    }

    /// Returns how many of the oldest entries to remove next.
    fn batch(self, seen: Estimate) -> i64 {
        let rows = self.entries.max(self.bytes.div_ceil(seen.bytes_each()));
        whole(rows.clamp(1, BATCH))
    }
}

fn whole(it: u64) -> i64 {
    i64::try_from(it).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    fn plan(max_entries: Option<u64>, max_bytes: Option<u64>) -> Plan {
        let table = Table::new("cache").unwrap();
        Plan { table, max_entries, max_bytes, max_value_len: 1, deadline: Duration::ZERO }
    }

    #[test]
    fn excess_is_removed_to_slightly_below_the_bound() {
        let seen = |entries, bytes| Estimate { entries, bytes, expired: 0 };
        let plan = plan(Some(3200), Some(64_000));
        assert!(seen(3200, 64_000).excess(&plan).is_none());
        assert_eq!(seen(3201, 10).excess(&plan), Excess { entries: 101, bytes: 0 });
        assert_eq!(seen(10, 64_001).excess(&plan), Excess { entries: 0, bytes: 2001 });
        let excess = Excess { entries: 0, bytes: 2001 };
        assert_eq!(excess.batch(seen(100, 2000)), 101);
        assert!(excess.less(7, 3000).is_none());
    }

    #[test]
    fn less_free_room_makes_the_next_run_due_sooner() {
        let plan = plan(Some(3200), None);
        let writes = WriteCounts::default();
        let due = |entries: u64| {
            writes.due(&plan, Estimate { entries, bytes: 0, expired: 0 });
            writes.due_entries.load(Ordering::Relaxed)
        };
        assert_eq!([due(0), due(1600), due(3200), due(9999)], [800, 400, 100, 100]);
        assert_eq!(writes.due_bytes.load(Ordering::Relaxed), u64::MAX);
        writes.restart(&plan);
        assert_eq!(writes.due_entries.load(Ordering::Relaxed), 100);
    }
}
