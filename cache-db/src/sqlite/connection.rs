//! Opening one connection to a database, with its pragmas.

use std::{path::Path, time::Duration};

use cache_core::{Error, ErrorKind};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{error::Failure, schema};
use crate::options::{SqlitePlan, Synchronous};

/// SQLite's page cache for each connection, in KiB.
const CACHE: u32 = 16 * 1024;

/// Opens the connection that writes. Creates the file and the table if they do not exist. SQLite
/// itself never waits for another process on this connection: the writer does.
pub(super) fn open_writer(path: Option<&Path>, plan: &SqlitePlan) -> Result<Connection, Failure> {
    let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let db = open(path, create)?;
    db.busy_timeout(Duration::ZERO)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if path.is_some() && !mode.eq_ignore_ascii_case("wal") {
        return Err(Failure::Cache(Error::new(
            ErrorKind::Unavailable,
            "cannot use WAL mode at this path: network file systems do not support it; use a local disk",
        )));
    }
    db.pragma_update(
        None,
        "synchronous",
        match plan.synchronous {
            Synchronous::Off => "OFF",
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        },
    )?;
    // The maintenance thread runs the checkpoints, beside the writes.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    let limit = format!("PRAGMA journal_size_limit = {}", plan.wal_limit());
    db.query_row(&limit, [], |_| Ok(()))?;
    let encoding: String = db.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        // The statements cast values to text to count, which is only correct in UTF-8.
        return Err(Failure::Cache(Error::new(
            ErrorKind::Backend,
            format!(
                "the database has the encoding {encoding}, and only UTF-8 is supported; set another file in `location`"
            ),
        )));
    }
    schema::ensure(&db, &plan.plan.table)?;
    Ok(db)
}

/// Opens a read-only connection that waits at most `lock_wait` for a lock.
pub(super) fn open_reader(path: Option<&Path>, lock_wait: Duration) -> Result<Connection, Failure> {
    let reader = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    reader.busy_timeout(lock_wait)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

fn open(path: Option<&Path>, how: OpenFlags) -> Result<Connection, Failure> {
    // Each connection has one user at a time.
    let how = how | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = match path {
        Some(path) => Connection::open_with_flags(path, how)?,
        None => Connection::open_in_memory_with_flags(how)?,
    };
    // Another program may have written the schema and the pages.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(32);
    // The process that closes a database last would delete the WAL at the path. If the file was
    // replaced, this is the WAL of another file.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "cache_size", -i64::from(CACHE))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}
