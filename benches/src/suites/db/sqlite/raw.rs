use std::{
    collections::HashMap,
    hint::black_box,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params, params_from_iter};
use tokio::task::spawn_blocking;

use crate::suites::{
    db::rows::{MANY, Rows, User, counter, counters, key, name, new_name},
    network::workers::Job,
};

/// Direct use of the crate `rusqlite`: one connection that writes, and others that read.
pub(super) struct Raw {
    path: Option<PathBuf>,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    rows: Arc<Rows>,
}

const GET: &str = "SELECT value FROM cache WHERE key = ?1 AND (expires IS NULL OR expires > ?2)";
const SET: &str = "INSERT INTO cache (key, expires, value) VALUES (?1, ?2, ?3) \
    ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, value = excluded.value";
const ADD: &str = "INSERT INTO cache (key, expires, value) VALUES (?1, ?2, ?3) \
    ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, value = excluded.value \
    WHERE expires <= ?4";
const INCR: &str = "UPDATE cache SET value = CAST(CAST(value AS TEXT) + 1 AS TEXT) \
    WHERE key = ?1 AND (expires IS NULL OR expires > ?2) RETURNING value";
const LIFETIME: i64 = 3_600_000;

/// Runs the call on the caller's thread.
pub(super) fn inline(raw: &Arc<Raw>, call: fn(&Raw) -> Result<()>) -> Job {
    let raw = Arc::clone(raw);
    Arc::new(move |range| {
        let raw = Arc::clone(&raw);
        Box::pin(async move { range.into_iter().try_for_each(|_| call(&raw)) })
    })
}

/// Runs the call in `spawn_blocking`.
pub(super) fn blocking(raw: &Arc<Raw>, call: fn(&Raw) -> Result<()>) -> Job {
    let raw = Arc::clone(raw);
    Arc::new(move |range| {
        let raw = Arc::clone(&raw);
        Box::pin(async move {
            for _ in range {
                let raw = Arc::clone(&raw);
                spawn_blocking(move || call(&raw)).await??;
            }
            Ok(())
        })
    })
}

impl Raw {
    pub(super) fn open(path: Option<&Path>, rows: &Arc<Rows>) -> Result<Arc<Self>> {
        let writer = connect(path)?;
        writer.execute_batch(
            "CREATE TABLE cache (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, expires INTEGER, value BLOB NOT NULL)",
        )?;
        Ok(Arc::new(Self {
            path: path.map(Path::to_owned),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            rows: Arc::clone(rows),
        }))
    }

    /// Writes the rows that the calls read.
    pub(super) fn fill(&self) -> Result<()> {
        let db = self.writer();
        db.execute_batch("BEGIN")?;
        for row in 0..self.rows.count {
            write(&db, &key(&name(row)), &self.rows.json(row)?)?;
        }
        for counter in counters() {
            write(&db, &key(&counter), b"0")?;
        }
        Ok(db.execute_batch("COMMIT")?)
    }

    pub(super) fn remove_new(&self) -> Result<()> {
        remove_new(&self.writer())
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R>(&self, ask: impl FnOnce(&Connection) -> Result<R>) -> Result<R> {
        let Some(path) = &self.path else { return ask(&self.writer()) };
        let idle = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = idle().pop();
        let reader = reader.map_or_else(|| connect(Some(path)), Ok)?;
        let res = ask(&reader);
        idle().push(reader);
        res
    }

    pub(super) fn get(&self) -> Result<()> {
        let key = key(&name(self.rows.any()));
        let found = self.read(|db| {
            let mut get = db.prepare_cached(GET)?;
            Ok(get.query_row(params![key, now()], |row| row.get::<_, Vec<u8>>(0)).optional()?)
        })?;
        black_box(serde_json::from_slice::<User>(&found.context("the key is absent")?)?);
        Ok(())
    }

    pub(super) fn set(&self) -> Result<()> {
        let json = self.rows.json(self.rows.next())?;
        write(&self.writer(), &key(&name(self.rows.any())), &json)
    }

    pub(super) fn set_new(&self) -> Result<()> {
        let n = self.rows.next();
        let json = self.rows.json(n)?;
        write(&self.writer(), &key(&new_name(n)), &json)
    }

    pub(super) fn add(&self) -> Result<()> {
        let n = self.rows.next();
        let (key, json, now) = (key(&new_name(n)), self.rows.json(n)?, now());
        let added =
            self.writer().prepare_cached(ADD)?.execute(params![key, now + LIFETIME, json, now])?;
        ensure!(added == 1, "the key exists");
        Ok(())
    }

    /// Adds to the value without a check.
    pub(super) fn incr(&self) -> Result<()> {
        let key = key(&counter(self.rows.next()));
        let db = self.writer();
        let sum: String =
            db.prepare_cached(INCR)?.query_row(params![key, now()], |row| row.get(0))?;
        black_box(sum);
        Ok(())
    }

    pub(super) fn get_many(&self) -> Result<()> {
        let names: Vec<String> = self.rows.many().map(name).collect();
        let keys: Vec<String> = names.iter().map(|it| key(it)).collect();
        let marks = vec!["?"; MANY].join(",");
        let sql = format!(
            "SELECT key, value FROM cache WHERE key IN ({marks}) AND (expires IS NULL OR expires > {now})",
            now = now() / 60_000 * 60_000
        );
        let found = self.read(|db| {
            let mut get = db.prepare_cached(&sql)?;
            let row =
                |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
            Ok(get
                .query_map(params_from_iter(&keys), row)?
                .collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        let mut values: HashMap<String, User> = HashMap::with_capacity(MANY);
        for (key, json) in found {
            values.insert(key, serde_json::from_slice(&json)?);
        }
        ensure!(values.len() == MANY, "{} values", values.len());
        black_box(values);
        Ok(())
    }

    pub(super) fn set_many(&self) -> Result<()> {
        let n = self.rows.next();
        let items: Vec<(String, Vec<u8>)> = self
            .rows
            .many()
            .map(|it| Ok((key(&name(it)), self.rows.json(n)?)))
            .collect::<Result<_>>()?;
        let db = self.writer();
        db.execute_batch("BEGIN IMMEDIATE")?;
        items.iter().try_for_each(|(key, json)| write(&db, key, json))?;
        Ok(db.execute_batch("COMMIT")?)
    }

    /// Inserts a new key and removes the oldest.
    pub(super) fn set_bounded(&self) -> Result<()> {
        let n = self.rows.next();
        let json = self.rows.json(n)?;
        let db = self.writer();
        db.execute_batch("BEGIN IMMEDIATE")?;
        write(&db, &key(&new_name(n)), &json)?;
        db.prepare_cached("DELETE FROM cache WHERE id = (SELECT min(id) FROM cache)")?
            .execute([])?;
        Ok(db.execute_batch("COMMIT")?)
    }
}

pub(super) fn remove_new(db: &Connection) -> Result<()> {
    db.busy_timeout(Duration::from_secs(60))?;
    let (from, to) = (key("new:"), key("new;"));
    db.execute("DELETE FROM cache WHERE key >= ?1 AND key < ?2", [from, to])?;
    Ok(())
}

fn write(db: &Connection, key: &str, json: &[u8]) -> Result<()> {
    db.prepare_cached(SET)?.execute(params![key, now() + LIFETIME, json])?;
    Ok(())
}

fn connect(path: Option<&Path>) -> Result<Connection> {
    let how = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = match path {
        Some(path) => Connection::open_with_flags(path, how)?,
        None => Connection::open_in_memory_with_flags(how)?,
    };
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -16 * 1024)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.query_row("PRAGMA wal_autocheckpoint = 4000", [], |_| Ok(()))?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// Returns the milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
