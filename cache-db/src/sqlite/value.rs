//! Columns of a row: value, expiry, size.

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result};
use rusqlite::{Row, types::ValueRef};

/// The value, and when it expires.
pub(super) type Found = (Stored, Option<i64>);

/// The content of the value column.
#[derive(Debug)]
pub(super) enum Stored {
    Bytes(Vec<u8>),
    /// A number, a text or NULL, written by another program.
    Foreign,
}

impl Stored {
    /// Returns the bytes.
    pub(super) fn bytes(self) -> Result<Bytes> {
        match self {
            Self::Bytes(it) => Ok(it.into()),
            Self::Foreign => Err(Error::new(
                ErrorKind::WrongType,
                "the value is not a BLOB: another program wrote it, and must store bytes with CAST(… AS BLOB)",
            )),
        }
    }

    pub(super) fn of(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(column)? {
            ValueRef::Blob(it) => Self::Bytes(it.to_vec()),
            _ => Self::Foreign,
        })
    }
}

/// The size of an entry besides its value and key: the row and the index entry.
const OVERHEAD: usize = 40;

/// Reads the expiry. Anything but a number means never: in SQLite, any text is greater than any
/// number.
pub(super) fn expires_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(it) => Some(it),
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        ValueRef::Real(it) => Some(it as i64),
        _ => None,
    })
}

pub(super) fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok((Stored::of(row, 0)?, expires_of(row, 1)?))
}

pub(super) fn size(key: &str, value: &[u8]) -> i64 {
    i64::try_from(2 * key.len() + value.len() + OVERHEAD).unwrap_or(i64::MAX)
}
