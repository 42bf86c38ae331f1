//! One operation on one connection.

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result as CacheResult,
    store::{CounterInit, Expected, Expiry, Namespace, SetMode, TtlUpdate, integer, payload_len},
};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, named_params, types::ValueRef};

use super::{error::Failure, sql::Sql};
use crate::time::Time;

type Result<T> = std::result::Result<T, Failure>;
/// The value, and when it expires.
pub(super) type Found = (Stored, Option<i64>);

/// What is in the column of values.
#[derive(Debug)]
pub(super) enum Stored {
    Bytes(Vec<u8>),
    /// A number, a text or nothing, which another program wrote.
    Foreign,
}

impl Stored {
    /// The bytes; `Codec` if there are none.
    pub(super) fn bytes(self) -> CacheResult<Bytes> {
        match self {
            Self::Bytes(it) => Ok(it.into()),
            Self::Foreign => Err(Error::new(
                ErrorKind::Codec,
                "the value is no BLOB; another program wrote it, which must store bytes: CAST(… AS BLOB)",
            )),
        }
    }

    fn of(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(column)? {
            ValueRef::Blob(it) => Self::Bytes(it.to_vec()),
            _ => Self::Foreign,
        })
    }
}

/// When an entry expires: what is no number is never, as it is for SQLite, by which any text is greater than any number.
fn expires_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(it) => Some(it),
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        ValueRef::Real(it) => Some(it as i64),
        _ => None,
    })
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok((Stored::of(row, 0)?, expires_of(row, 1)?))
}

/// A connection, and the time at which it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) db: &'a Connection,
    pub(super) sql: &'a Sql,
    pub(super) time: &'a Time,
    pub(super) now: i64,
}

/// What an entry takes besides its value: the key is in the table and in its index, and each has a little more.
const OVERHEAD: usize = 40;

/// Maximum tries when another connection changes the counter between statement and read. Inside a transaction this cannot happen;
/// outside of one no try waits for a lock, so all of them take a few milliseconds, far less than a deadline.
const TRIES: usize = 100;

fn size(key: &str, value: &[u8]) -> i64 {
    i64::try_from(2 * key.len() + value.len() + OVERHEAD).unwrap_or(i64::MAX)
}

impl Call<'_> {
    /// When what is written now expires. Its lifetime does not begin while a write waits for its turn.
    fn end_of(&self, expiry: Expiry) -> Option<i64> {
        self.time.expires(expiry)
    }

    /// All or nothing.
    pub(super) fn together<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.db.execute_batch("SAVEPOINT cache")?;
        let res = work();
        // After some errors the whole transaction is gone.
        if !self.db.is_autocommit() {
            let end =
                if res.is_ok() { "RELEASE cache" } else { "ROLLBACK TO cache; RELEASE cache" };
            self.end(end)?;
        }
        res
    }

    /// All or nothing, and what is read first is still so when it is written.
    pub(super) fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let res = work();
        if res.is_ok() {
            self.end("COMMIT")?;
        }
        self.roll_back();
        res
    }

    /// Several reads of one moment.
    pub(super) fn at_once<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.db.is_autocommit() {
            return work();
        }
        self.db.execute_batch("BEGIN")?;
        let res = work();
        self.end("COMMIT")?;
        res
    }

    /// Ends a transaction, one way or the other: what fails to be released or committed stays open otherwise, and later writes would
    /// be made in it and never committed.
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

    fn row<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let res = read(row)?;
        // A statement that writes commits at its end, and says there whether it could; a row before that is no promise.
        while rows.next()?.is_some() {}
        Ok(Some(res))
    }

    fn change(&self, sql: &str, params: &[(&str, &dyn ToSql)]) -> Result<bool> {
        Ok(self.db.prepare_cached(sql)?.execute(params)? > 0)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Found>> {
        self.row(&self.sql.get, named_params! {":key": key, ":now": self.now}, found)
    }

    /// The same statement again and again, looked up once.
    pub(super) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Found>>> {
        let mut statement = self.db.prepare_cached(&self.sql.get)?;
        let mut one = |key: &String| {
            statement.query_row(named_params! {":key": key, ":now": self.now}, found).optional()
        };
        Ok(keys.iter().map(&mut one).collect::<rusqlite::Result<_>>()?)
    }

    /// When it expires, of a live entry.
    #[expect(clippy::option_option, reason = "no entry, and one that never expires")]
    pub(super) fn expires(&self, key: &str) -> Result<Option<Option<i64>>> {
        let read = |row: &Row<'_>| expires_of(row, 0);
        self.row(&self.sql.has, named_params! {":key": key, ":now": self.now}, read)
    }

    pub(super) fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        mode: SetMode,
    ) -> Result<bool> {
        let expires = self.end_of(expiry);
        let size = size(key, value);
        let now = self.now;
        match mode {
            SetMode::Always => self.change(
                &self.sql.set,
                named_params! {":key": key, ":expires": expires, ":size": size, ":value": value},
            ),
            SetMode::IfAbsent => self.change(
                &self.sql.add,
                named_params! {":key": key, ":expires": expires, ":size": size, ":value": value, ":now": now},
            ),
            SetMode::IfPresent => self.change(
                &self.sql.replace,
                named_params! {":key": key, ":expires": expires, ":size": size, ":value": value, ":now": now},
            ),
        }
    }

    /// What is too large leaves nothing behind, unless `mode` forbids the write.
    pub(super) fn refuse(&self, key: &str, mode: SetMode, error: Error) -> Result<bool> {
        let is_live = self.expires(key)?.is_some();
        match (mode, is_live) {
            (SetMode::IfAbsent, true) | (SetMode::IfPresent, false) => return Ok(false),
            (SetMode::IfAbsent, false) => {}
            _ => drop(self.delete(key)?),
        }
        Err(error.into())
    }

    pub(super) fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let expires = self.end_of(expiry);
        let params = named_params! {":key": key, ":expires": expires, ":now": self.now};
        self.change(&self.sql.touch, params)
    }

    pub(super) fn delete(&self, key: &str) -> Result<bool> {
        let params = named_params! {":key": key, ":now": self.now};
        Ok(self.row(&self.sql.delete, params, |row| row.get(0))?.unwrap_or(false))
    }

    pub(super) fn take(&self, key: &str) -> Result<Option<Stored>> {
        let params = named_params! {":key": key, ":now": self.now};
        let read =
            |row: &Row<'_>| if row.get(0)? { Stored::of(row, 1).map(Some) } else { Ok(None) };
        Ok(self.row(&self.sql.take, params, read)?.flatten())
    }

    /// The statement changes what is an integer, and stays one; if it changes nothing, the entry says why.
    pub(super) fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        for _ in 0..TRIES {
            let sum: Option<Vec<u8>> = match create {
                None => self.row(
                    &self.sql.incr,
                    named_params! {":key": key, ":delta": delta, ":now": self.now},
                    |row| row.get(0),
                )?,
                // What cannot be made must not keep from counting what is there.
                Some(it) if it.initial.checked_add(delta).is_none() => {
                    if self.expires(key)?.is_none() {
                        integer::add(it.initial, delta)?;
                    }
                    return self.incr(key, delta, None);
                }
                Some(it) => {
                    let expires = self.end_of(it.expiry);
                    let first = integer::add(it.initial, delta)?.to_string();
                    let (first, size) = (first.as_bytes(), size(key, first.as_bytes()));
                    self.row(
                        &self.sql.incr_or,
                        named_params! {":key": key, ":expires": expires, ":size": size, ":value": first, ":delta": delta, ":now": self.now},
                        |row| row.get(0),
                    )?
                }
            };
            if let Some(sum) = sum {
                return Ok(Some(integer::parse(&sum)?));
            }
            let Some((value, _)) = self.get(key)? else {
                if create.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Stored::Bytes(value) = value else {
                let what = "the value is no BLOB, and so no integer; another program wrote it";
                return Err(Error::new(ErrorKind::NotAnInteger, what).into());
            };
            integer::add(integer::parse(&value)?, delta)?;
            // It was something else before this look.
        }
        let what = "other connections changed the counter each time; nothing was done";
        // The database works.
        Err(Error::new(ErrorKind::TimedOut, what).ignored_by_breaker().into())
    }

    pub(super) fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let stamp = stamp(seen);
        let params =
            named_params! {":key": key, ":seen": seen.value, ":stamp": stamp, ":now": self.now};
        self.change(&self.sql.compare_and_delete, params)
    }

    pub(super) fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: &[u8],
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let (stamp, size) = (stamp(seen), size(key, value));
        let (keep, expires) = match lifetime {
            TtlUpdate::Keep => (true, None),
            TtlUpdate::New(expiry) => (false, self.end_of(expiry)),
        };
        let params = named_params! {
            ":key": key, ":seen": seen.value, ":stamp": stamp, ":now": self.now,
            ":keep": keep, ":expires": expires, ":size": size, ":value": value
        };
        self.change(&self.sql.compare_and_set, params)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let params = named_params! {":key": from, ":to": to, ":now": self.now};
        self.together(|| {
            self.change(&self.sql.make_room, params)?;
            self.change(&self.sql.rename, params)
        })
    }

    /// Removes what the namespace contains of the next keys after that one; the last that was looked at, if there may be more.
    pub(super) fn clear(
        &self,
        namespace: &Namespace,
        after: &str,
        limit: u32,
    ) -> Result<Option<String>> {
        let end = format!("{};", namespace.prefix()); // the sign after the colon
        let keys: Vec<String> = self
            .db
            .prepare_cached(&self.sql.keys_after)?
            .query_map(named_params! {":after": after, ":end": end, ":limit": limit}, |row| {
                row.get(0)
            })?
            .collect::<rusqlite::Result<_>>()?;
        for key in keys.iter().filter(|it| namespace.contains(it)) {
            self.change(&self.sql.remove, named_params! {":key": key})?;
        }
        Ok(if keys.len() < limit as usize { None } else { keys.into_iter().last() })
    }

    /// Removes some entries, whosever they are; whether there may be more.
    pub(super) fn clear_store(&self, limit: u32) -> Result<bool> {
        self.change(&self.sql.clear_store, named_params! {":limit": limit})
    }

    /// Whether it may be written, without a change.
    pub(super) fn try_to_write(&self) -> Result<bool> {
        self.change(&self.sql.remove_expired, named_params! {":id": -1, ":now": self.now})
    }

    /// Sets the counters by what is there: this looks at all of it.
    pub(super) fn recount(&self) -> Result<()> {
        self.change(&self.sql.recount, &[]).map(drop)
    }

    /// Writes the log into the file; what there is to say of the log.
    pub(super) fn write_log(&self, how: &str) -> rusqlite::Result<Log> {
        let read = |row: &Row<'_>| Ok(Log { is_busy: row.get(0)?, pages: row.get(1)? });
        self.db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], read)
    }

    /// Entries and bytes.
    pub(super) fn counters(&self) -> Result<(i64, i64)> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.row(&self.sql.counters, &[], read)?.unwrap_or_default())
    }

    /// The next numbers after that one, each with whether it has expired.
    pub(super) fn look_for_expired(&self, after: i64, limit: u32) -> Result<Vec<(i64, bool)>> {
        let params = named_params! {":after": after, ":limit": limit, ":now": self.now};
        let read =
            |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?.unwrap_or(false)));
        let mut statement = self.db.prepare_cached(&self.sql.expired_after)?;
        Ok(statement.query_map(params, read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes an entry if it is expired still.
    pub(super) fn remove_expired(&self, id: i64) -> Result<bool> {
        self.change(&self.sql.remove_expired, named_params! {":id": id, ":now": self.now})
    }

    /// The numbers and sizes of so many of the oldest.
    pub(super) fn oldest(&self, limit: i64) -> Result<Vec<(i64, i64)>> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let mut statement = self.db.prepare_cached(&self.sql.oldest)?;
        let found = statement.query_map(named_params! {":limit": limit}, read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes that number and those before it.
    pub(super) fn remove_up_to(&self, id: i64) -> Result<bool> {
        self.change(&self.sql.remove_up_to, named_params! {":id": id})
    }
}

/// What becomes of the log.
pub(super) struct Log {
    /// Somebody was in the way.
    pub(super) is_busy: bool,
    pub(super) pages: i64,
}

fn stamp(seen: Expected<'_>) -> Option<i64> {
    seen.stamp.map(|it| i64::try_from(it.0).unwrap_or(i64::MAX))
}

/// An answer per key, of keys that fail together if one does.
pub(super) fn all<T>(len: usize, res: CacheResult<Vec<CacheResult<T>>>) -> Vec<CacheResult<T>> {
    match res {
        Ok(all) => all,
        Err(error) => (0..len).map(|_| Err(error.clone())).collect(),
    }
}

/// The error of a value that is larger than the settings allow.
pub(super) fn too_large(value: &Bytes, max: usize) -> Option<Error> {
    let len = payload_len(value);
    (len > max).then(|| {
        Error::new(
            ErrorKind::TooLarge,
            format!(
                "the value has {len} bytes; at most {max} are allowed by options.max_value_bytes"
            ),
        )
    })
}
