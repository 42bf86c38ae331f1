//! Columns of rows, read as the types of [`cache_core`].

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{Entry, Stamp},
};
use tokio_postgres::{Row, types::FromSql};

use super::connection::Reply;

/// Reads a column.
pub(crate) fn column<'a, T: FromSql<'a>>(row: &'a Row, i: usize) -> Result<T> {
    row.try_get(i).map_err(|_| unexpected())
}

/// Reads the first row, if there is one.
pub(crate) fn first<T>(reply: &Reply, read: impl FnOnce(&Row) -> Result<T>) -> Result<Option<T>> {
    reply.rows.first().map(read).transpose()
}

/// Returns the only row.
pub(crate) fn one(rows: Vec<Row>) -> Result<Row> {
    rows.into_iter().next().ok_or_else(unexpected)
}

/// Reads a value.
pub(crate) fn bytes(row: &Row, i: usize) -> Result<Bytes> {
    column(row, i).map(Bytes::copy_from_slice)
}

/// Reads a value, its expiry and the server's time, in this order.
pub(crate) fn entry(row: &Row) -> Result<Option<Entry>> {
    let expires: Option<i64> = column(row, 1)?;
    let Some(ttl) = ttl(expires, column(row, 2)?) else { return Ok(None) };
    let stamp = Stamp(u64::try_from(expires.unwrap_or(0)).unwrap_or(0));
    Ok(Some(Entry::new(bytes(row, 0)?, ttl, stamp)))
}

/// Returns the remaining lifetime; nothing if the entry expired after the server found the row.
pub(crate) fn ttl(expires: Option<i64>, now: i64) -> Option<Ttl> {
    match expires {
        None => Some(Ttl::Forever),
        Some(it) if it <= now => None,
        it => Some(crate::time::ttl(it, now)),
    }
}

#[cold]
fn unexpected() -> Error {
    let what = "unexpected columns in the server's answer";
    Error::new(ErrorKind::Backend, what)
}
