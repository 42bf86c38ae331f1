//! A connection with the statements of one table: transactions, and running a statement.

use cache_core::store::Expiry;
use rusqlite::{Connection, Row, ToSql, named_params};

use super::{error::Failure, statements::Statements};
use crate::time::Time;

type Result<T> = std::result::Result<T, Failure>;

/// A connection, and the time at which the operation runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session<'a> {
    pub(super) db: &'a Connection,
    pub(super) sql: &'a Statements,
    pub(super) time: &'a Time,
    pub(super) now: i64,
}

impl Session<'_> {
    /// Returns when an entry that is written now expires. Computed when the statement runs, so that
    /// waiting for a lock takes nothing from the lifetime.
    pub(super) fn end_of(&self, expiry: Expiry) -> Option<i64> {
        self.time.expires(expiry)
    }

    /// Runs `work` in a savepoint: all or nothing.
    pub(super) fn in_savepoint<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.db.execute_batch("SAVEPOINT cache")?;
        let res = work();
        // Some errors roll back the whole transaction.
        if !self.db.is_autocommit() {
            let end =
                if res.is_ok() { "RELEASE cache" } else { "ROLLBACK TO cache; RELEASE cache" };
            self.end(end)?;
        }
        res
    }

    /// Runs `work` in a write transaction: all or nothing, and no other connection writes between
    /// its statements.
    pub(super) fn in_transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let res = work();
        if res.is_ok() {
            self.end("COMMIT")?;
        }
        self.roll_back();
        res
    }

    /// Runs several reads in one snapshot.
    pub(super) fn in_snapshot<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.db.is_autocommit() {
            return work();
        }
        self.db.execute_batch("BEGIN")?;
        let res = work();
        self.end("COMMIT")?;
        res
    }

    /// Ends a transaction. If this fails, rolls back: the transaction would stay open, and later
    /// writes in it would never be committed.
    fn end(&self, how: &str) -> Result<()> {
        self.db.execute_batch(how).map_err(|error| {
            self.roll_back();
            error.into()
        })
    }

    pub(super) fn roll_back(&self) {
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let res = read(row)?;
        // A writing statement commits at its last step. A row before it does not yet mean success.
        while rows.next()?.is_some() {}
        Ok(Some(res))
    }

    pub(super) fn change(&self, sql: &str, params: &[(&str, &dyn ToSql)]) -> Result<bool> {
        Ok(self.db.prepare_cached(sql)?.execute(params)? > 0)
    }

    /// Checks that the database accepts writes, without changing anything.
    pub(super) fn try_to_write(&self) -> Result<bool> {
        self.change(&self.sql.remove_expired, named_params! {":id": -1, ":now": self.now})
    }

    /// Runs a checkpoint in this mode.
    pub(super) fn checkpoint(&self, how: &str) -> rusqlite::Result<Checkpoint> {
        let read = |row: &Row<'_>| Ok(Checkpoint { is_busy: row.get(0)?, pages: row.get(1)? });
        self.db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], read)
    }
}

/// The result of a checkpoint.
pub(super) struct Checkpoint {
    /// Another connection blocked it.
    pub(super) is_busy: bool,
    pub(super) pages: i64,
}
