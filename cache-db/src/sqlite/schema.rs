//! The table and its counters: creating, upgrading and checking them.
//!
//! ```sql
//! CREATE TABLE "cache" (
//!     id      INTEGER PRIMARY KEY,    -- ascending: the lowest is the oldest, evicted first
//!     key     TEXT NOT NULL UNIQUE,   -- the whole key
//!     expires INTEGER,                -- milliseconds since 1970; NULL means never
//!     size    INTEGER NOT NULL,       -- about the size of the entry
//!     value   BLOB NOT NULL           -- last: the other columns are read without it
//! );
//! CREATE TABLE "cache_meta" (
//!     version INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL
//! );
//! ```
//!
//! `expires` has no index, because updating one costs more on each write than the sweep saves.
//! Triggers keep the counters, so they are correct for every writer and after a crash.

use cache_core::{Error, ErrorKind};
use rusqlite::{Connection, Row, ffi::ErrorCode};

use super::error::Failure;
use crate::table::Table;

/// The statements that upgrade from each version to the next. The first creates the table.
const STEPS: [fn(&Table) -> String; 2] = [table, counters];

fn table(table: &Table) -> String {
    let (entries, meta) = (entries(table), table.quoted_with("meta"));
    format!(
        "{entries}CREATE TABLE {meta} (version INTEGER NOT NULL);\nINSERT INTO {meta} (version) VALUES (1);\n"
    )
}

fn entries(table: &Table) -> String {
    format!(
        "CREATE TABLE {} (\n    id INTEGER PRIMARY KEY,\n    key TEXT NOT NULL UNIQUE,\n    expires INTEGER,\n    \
         size INTEGER NOT NULL,\n    value BLOB NOT NULL\n);\n",
        table.quoted(),
    )
}

fn counters(table: &Table) -> String {
    let (name, meta) = (table.quoted(), table.quoted_with("meta"));
    format!(
        "ALTER TABLE {meta} ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;\n\
         ALTER TABLE {meta} ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;\n\
         UPDATE {meta} SET (entries, bytes) = (SELECT count(*), coalesce(sum(size), 0) FROM {name});\n\
         {}UPDATE {meta} SET version = 2;\n",
        triggers(table).map(|(_, sql)| format!("{sql};\n")).concat(),
    )
}

/// Returns the names of the triggers and the statements that create them.
fn triggers(table: &Table) -> [(String, String); 3] {
    let (name, meta) = (table.quoted(), table.quoted_with("meta"));
    let trigger = |suffix: &str, when: &str, what: &str| {
        let sql = format!(
            "CREATE TRIGGER {} AFTER {when} BEGIN\n    UPDATE {meta} SET {what};\nEND",
            table.quoted_with(suffix)
        );
        (format!("{}_{suffix}", table.name()), sql)
    };
    [
        trigger(
            "added",
            &format!("INSERT ON {name}"),
            "entries = entries + 1, bytes = bytes + NEW.size",
        ),
        trigger(
            "changed",
            &format!("UPDATE OF size ON {name} WHEN NEW.size <> OLD.size"),
            "bytes = bytes + NEW.size - OLD.size",
        ),
        trigger(
            "removed",
            &format!("DELETE ON {name}"),
            "entries = entries - 1, bytes = bytes - OLD.size",
        ),
    ]
}

/// Returns the statements that create everything from nothing.
pub(crate) fn sql(table: &Table) -> String {
    STEPS.iter().map(|step| step(table)).collect()
}

/// The state of the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Both tables with this version, or neither (0).
    Version(usize),
    /// Both tables with the latest version, but a trigger is missing.
    Triggers,
    /// One of the two was dropped, and the other is of this crate.
    OnlyEntries,
    OnlyMeta,
}

/// Creates or upgrades the table. If several processes do so at once, one of them does it.
pub(super) fn ensure(db: &Connection, table: &Table) -> Result<(), Failure> {
    // Usually the table is complete, which is seen without a lock.
    if find(db, table)? == Found::Version(STEPS.len()) {
        return Ok(());
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    let res = find(db, table).and_then(|found| complete(db, table, found));
    db.execute_batch(if res.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    res
}

fn complete(db: &Connection, table: &Table, found: Found) -> Result<(), Failure> {
    let (name, meta) = (table.quoted(), table.quoted_with("meta"));
    match found {
        Found::Version(from) => {
            for step in STEPS.iter().skip(from) {
                db.execute_batch(&step(table))?;
            }
        }
        Found::OnlyEntries => {
            db.execute_batch(&format!(
                "CREATE TABLE {meta} (version INTEGER NOT NULL, entries INTEGER NOT NULL DEFAULT 0, \
                 bytes INTEGER NOT NULL DEFAULT 0); INSERT INTO {meta} (version) VALUES ({})",
                STEPS.len()
            ))?;
        }
        Found::OnlyMeta => {
            // The step that created this table created the other one, too.
            db.execute_batch(&entries(table))?;
        }
        Found::Triggers => {}
    }
    // SQLite drops the triggers of a table with it.
    let there = trigger_texts(db, table)?;
    for (trigger, sql) in triggers(table) {
        if !there.iter().any(|(it, _)| it.eq_ignore_ascii_case(&trigger)) {
            db.execute_batch(&sql)?;
        }
    }
    if !matches!(found, Found::Version(_)) {
        let count = format!("SELECT count(*), coalesce(sum(size), 0) FROM {name}");
        db.execute_batch(&format!("UPDATE {meta} SET (entries, bytes) = ({count})"))?;
    }
    if find(db, table)? == Found::Version(STEPS.len()) { Ok(()) } else { Err(foreign(table)) }
}

/// Reads what exists. Compares what the statements depend on (columns, types, keys, triggers) and
/// accepts additional columns and any order.
fn find(db: &Connection, table: &Table) -> Result<Found, Failure> {
    // One statement reads one snapshot. Between two, another process could create both tables.
    let sql = "SELECT (SELECT type = 'table' FROM sqlite_master WHERE name = ?1 COLLATE NOCASE),
                      (SELECT type = 'table' FROM sqlite_master WHERE name = ?2 COLLATE NOCASE)";
    let meta = format!("{}_meta", table.name());
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let there: (Option<bool>, Option<bool>) = db.query_row(sql, [table.name(), &meta], read)?;
    let found = match there {
        (None, None) => return Ok(Found::Version(0)),
        (Some(true), Some(true)) => match version(db, table)? {
            latest if latest == STEPS.len() => None,
            older => return Ok(Found::Version(older)),
        },
        (Some(true), None) => Some(Found::OnlyEntries),
        (None, Some(true)) if version(db, table)? == STEPS.len() => Some(Found::OnlyMeta),
        _ => return Err(foreign(table)),
    };
    if there.0.is_some() {
        has_columns(db, table, table.name(), &ENTRIES)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list
                   WHERE list.\"unique\" AND NOT list.partial AND 'key' =
                   (SELECT group_concat(lower(name)) FROM pragma_index_info(list.name)))";
        if !db.query_row(sql, [table.name()], |row| row.get(0))? {
            return Err(foreign(table));
        }
    }
    if there.1.is_some() {
        has_columns(db, table, &meta, &META)?;
    }
    check_triggers(db, table, found)
}

/// A trigger of another program could change or copy values.
fn check_triggers(db: &Connection, table: &Table, found: Option<Found>) -> Result<Found, Failure> {
    let ours = triggers(table);
    let there = trigger_texts(db, table)?;
    for (name, text) in &there {
        let known = ours.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        if known.is_none_or(|(_, sql)| words(sql) != words(text)) {
            return Err(Failure::Cache(Error::new(
                ErrorKind::Backend,
                format!(
                    "the table {} has a trigger of another program; drop it (DROP TRIGGER), or set another options.table",
                    table.quoted()
                ),
            )));
        }
    }
    Ok(match found {
        Some(it) => it,
        None if there.len() < ours.len() => Found::Triggers,
        None => Found::Version(STEPS.len()),
    })
}

/// Returns names and statements of the triggers on both tables.
fn trigger_texts(db: &Connection, table: &Table) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_master
               WHERE type = 'trigger' AND (tbl_name = ?1 COLLATE NOCASE OR tbl_name = ?2 COLLATE NOCASE)";
    let meta = format!("{}_meta", table.name());
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    db.prepare(sql)?.query_map([table.name(), &meta], read)?.collect()
}

/// Normalises the white space of a statement.
fn words(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the version of the existing table. Refuses a foreign table and a newer version.
fn version(db: &Connection, table: &Table) -> Result<usize, Failure> {
    let known = STEPS.len();
    let sql = format!("SELECT version FROM {}", table.quoted_with("meta"));
    let version: i64 = match db.query_row(&sql, [], |row| row.get(0)) {
        Err(error) if is_error(&error) => return Err(foreign(table)),
        res => res?,
    };
    match usize::try_from(version) {
        Ok(it) if it > known => Err(Failure::Cache(Error::new(
            ErrorKind::Backend,
            format!(
                "the table {} has schema version {it}, and this program supports up to version {known}; update the program, or set another options.table",
                table.quoted()
            ),
        ))),
        Ok(it) if it > 0 => Ok(it),
        _ => Err(foreign(table)),
    }
}

/// The table lacks the column or the row, or holds another type. A lock or a disk error says
/// nothing about the table.
fn is_error(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), None | Some(ErrorCode::Unknown))
}

/// Name, type, and position in the primary key.
type Column = (&'static str, &'static str, i64);

const ENTRIES: [Column; 5] = [
    ("id", "INTEGER", 1),
    ("key", "TEXT", 0),
    ("expires", "INTEGER", 0),
    ("size", "INTEGER", 0),
    ("value", "BLOB", 0),
];
const META: [Column; 3] =
    [("version", "INTEGER", 0), ("entries", "INTEGER", 0), ("bytes", "INTEGER", 0)];

/// Checks that the table has these columns, besides others.
fn has_columns(
    db: &Connection,
    table: &Table,
    name: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, String, i64)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    };
    let there: Vec<_> = db
        .prepare("SELECT name, type, pk FROM pragma_table_info(?1)")?
        .query_map([name], read)?
        .collect::<rusqlite::Result<_>>()?;
    let is_there = |(column, kind, pk): &Column| {
        there.iter().any(|(name, its, its_pk)| {
            name.eq_ignore_ascii_case(column) && its.eq_ignore_ascii_case(kind) && its_pk == pk
        })
    };
    if columns.iter().all(is_there) { Ok(()) } else { Err(foreign(table)) }
}

fn foreign(table: &Table) -> Failure {
    Failure::Cache(Error::new(
        ErrorKind::Backend,
        format!(
            "the table {} or {} exists and belongs to another program; set another options.table",
            table.quoted(),
            table.quoted_with("meta")
        ),
    ))
}
