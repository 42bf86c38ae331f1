//! Counters: one statement, as long as the entry is an integer.

use cache_core::{
    Error, ErrorKind,
    store::{CounterInit, integer},
};
use rusqlite::named_params;

use super::{
    error::Failure,
    session::Session,
    value::{Stored, size},
};

type Result<T> = std::result::Result<T, Failure>;

/// Maximum tries when another connection changes the counter between statement and read. Inside a
/// transaction this cannot happen. Outside, no try waits for a lock, so all of them take a few
/// milliseconds, far less than a deadline.
const TRIES: usize = 100;

impl Session<'_> {
    /// Increments a canonical integer in one statement. If it changes nothing, the entry tells why.
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
                // An overflow of the initial value must not prevent counting on an existing entry.
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
                let what =
                    "the value is not a BLOB, so it is not an integer; another program wrote it";
                return Err(Error::new(ErrorKind::NotAnInteger, what).into());
            };
            integer::add(integer::parse(&value)?, delta)?;
            // Another connection changed the entry between the two statements.
        }
        let what = "other connections changed the counter each time; nothing was done";
        // The database works.
        Err(Error::new(ErrorKind::TimedOut, what).ignored_by_breaker().into())
    }
}
