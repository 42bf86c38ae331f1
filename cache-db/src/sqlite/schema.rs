//! The table, how it came to be what it is, and its counters.
//!
//! ```sql
//! CREATE TABLE "cache" (
//!     id      INTEGER PRIMARY KEY,    -- in the order in which entries came: the oldest goes first
//!     key     TEXT NOT NULL UNIQUE,   -- the whole key
//!     expires INTEGER,                -- milliseconds since 1970; NULL is never
//!     size    INTEGER NOT NULL,       -- what the entry takes, about
//!     value   BLOB NOT NULL           -- last, so that the others are read without it
//! );
//! CREATE TABLE "cache_meta" (version INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
//! ```
//!
//! There is no index on `expires`: it would cost more on each write than the sweeper saves. Triggers keep the counters, so they are
//! right whoever writes, and after a crash too.

use cache_core::{Error, ErrorKind};
use rusqlite::{Connection, ffi::ErrorCode};

use super::error::Failure;
use crate::table::Table;

/// What leads from each version to the next; from none to the first.
const STEPS: [fn(&Table) -> String; 2] = [table, counters];

fn table(table: &Table) -> String {
    format!(
        "CREATE TABLE {} (\n    id INTEGER PRIMARY KEY,\n    key TEXT NOT NULL UNIQUE,\n    expires INTEGER,\n    \
         size INTEGER NOT NULL,\n    value BLOB NOT NULL\n);\n\
         CREATE TABLE {} (version INTEGER NOT NULL);\n\
         INSERT INTO {1} (version) VALUES (1);\n",
        table.quoted(),
        table.quoted_with("meta"),
    )
}

fn counters(table: &Table) -> String {
    let (name, meta) = (table.quoted(), table.quoted_with("meta"));
    let [added, changed, removed] = ["added", "changed", "removed"].map(|it| table.quoted_with(it));
    format!(
        "ALTER TABLE {meta} ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;\n\
         ALTER TABLE {meta} ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;\n\
         UPDATE {meta} SET (entries, bytes) = (SELECT count(*), coalesce(sum(size), 0) FROM {name});\n\
         CREATE TRIGGER {added} AFTER INSERT ON {name} BEGIN\n    \
             UPDATE {meta} SET entries = entries + 1, bytes = bytes + NEW.size;\nEND;\n\
         CREATE TRIGGER {changed} AFTER UPDATE OF size ON {name} WHEN NEW.size <> OLD.size BEGIN\n    \
             UPDATE {meta} SET bytes = bytes + NEW.size - OLD.size;\nEND;\n\
         CREATE TRIGGER {removed} AFTER DELETE ON {name} BEGIN\n    \
             UPDATE {meta} SET entries = entries - 1, bytes = bytes - OLD.size;\nEND;\n\
         UPDATE {meta} SET version = 2;\n"
    )
}

/// All statements that make the table where there is none.
pub(crate) fn sql(table: &Table) -> String {
    STEPS.iter().map(|step| step(table)).collect()
}

/// Makes the table, or brings it to this version. Of several processes that do, one does it.
pub(super) fn ensure(db: &Connection, table: &Table) -> Result<(), Failure> {
    // Most often it is there, and nothing need be locked to see it.
    if version(db, table)? == STEPS.len() {
        return Ok(columns(db, table)?);
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    let res = version(db, table).and_then(|from| {
        for step in STEPS.iter().skip(from) {
            db.execute_batch(&step(table))?;
        }
        Ok(columns(db, table)?)
    });
    db.execute_batch(if res.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    res
}

/// Which it is; 0 if there is none.
fn version(db: &Connection, table: &Table) -> Result<usize, Failure> {
    let known = STEPS.len();
    // One statement sees one moment. With two, another process may make both tables in between.
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1 COLLATE NOCASE),
                      EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?2 COLLATE NOCASE)";
    let meta = format!("{}_meta", table.name());
    match db.query_row(sql, [table.name(), &meta], |row| Ok((row.get(0)?, row.get(1)?)))? {
        (false, false) => return Ok(0),
        (true, true) => {}
        _ => return Err(foreign(table)),
    }
    let sql = format!("SELECT version FROM {}", table.quoted_with("meta"));
    let version: i64 = match db.query_row(&sql, [], |row| row.get(0)) {
        // A table without this column, without a row, or with something else in it. A lock or a bad disk says nothing about it.
        Err(error) if matches!(error.sqlite_error_code(), None | Some(ErrorCode::Unknown)) => {
            return Err(foreign(table));
        }
        res => res?,
    };
    match usize::try_from(version) {
        Ok(it) if it > known => Err(Failure::Ours(Error::new(
            ErrorKind::Backend,
            format!(
                "the table {} is of version {it}, and this program knows up to {known}; use a newer cache-db, or another table",
                table.quoted()
            ),
        ))),
        Ok(it) if it > 0 => Ok(it),
        _ => Err(foreign(table)),
    }
}

/// Whether the table has what the statements ask for.
fn columns(db: &Connection, table: &Table) -> rusqlite::Result<()> {
    db.prepare(&format!("SELECT id, key, expires, size, value FROM {}", table.quoted()))?;
    db.prepare(&format!("SELECT entries, bytes FROM {}", table.quoted_with("meta"))).map(drop)
}

fn foreign(table: &Table) -> Failure {
    Failure::Ours(Error::new(
        ErrorKind::Backend,
        format!(
            "the database has a table {} or {} that is not ours; name another one in options.table",
            table.quoted(),
            table.quoted_with("meta")
        ),
    ))
}
