//! Operations on one entry.

use bytes::Bytes;
use cache_core::{
    Error,
    store::{Expected, Expiry, SetMode, TtlUpdate, payload_len},
};
use rusqlite::{OptionalExtension as _, Row, named_params};

use super::{
    error::Failure,
    session::Session,
    value::{Found, Stored, expires_of, found, size},
};

type Result<T> = std::result::Result<T, Failure>;

impl Session<'_> {
    pub(super) fn get(&self, key: &str) -> Result<Option<Found>> {
        self.row(&self.sql.get, named_params! {":key": key, ":now": self.now}, found)
    }

    /// Prepares the statement once for all keys.
    pub(super) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Found>>> {
        let mut statement = self.db.prepare_cached(&self.sql.get)?;
        let mut one = |key: &String| {
            statement.query_row(named_params! {":key": key, ":now": self.now}, found).optional()
        };
        Ok(keys.iter().map(&mut one).collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the expiry of a live entry.
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

    /// Refuses a value that is too large. Removes the old entry, unless `mode` forbids the write.
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
        self.in_savepoint(|| {
            self.change(&self.sql.make_room, params)?;
            self.change(&self.sql.rename, params)
        })
    }
}

fn stamp(seen: Expected<'_>) -> Option<i64> {
    seen.stamp.map(|it| i64::try_from(it.0).unwrap_or(i64::MAX))
}

/// Returns the error of a value that is larger than the settings allow.
pub(super) fn value_too_large(value: &Bytes, max: usize) -> Option<Error> {
    let len = payload_len(value);
    (len > max).then(|| Error::too_large(len, max as u64, "options.max_value_bytes"))
}
