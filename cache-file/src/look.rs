//! What a file holds, by one look at it.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    fs::fstat,
    io::{Errno, pread},
};

use crate::header::{Bad, Header};

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Look {
    /// It is not there, or nothing was ever written to it.
    Absent,
    /// Another key of the same hash.
    Other,
    /// A write is under way, or was killed.
    Unfinished,
    /// What no writer leaves behind; or a reader was overtaken by one.
    Damaged,
    Newer,
    Found(Found),
}

/// An entry, live or not.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: Header,
    /// Empty if only the head was wanted.
    pub(crate) value: Bytes,
}

/// How much of an entry is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Whether it is there, and until when.
    Head,
    Value,
}

/// What the first read takes: all of a small entry, and the head of any.
pub(crate) const PAGE: usize = 4096;

/// Reads the entry of `key`, or of whatever key. Nothing is allocated for a length that the file does not have.
pub(crate) fn look(fd: &OwnedFd, key: Option<&str>, want: Want) -> Result<Look, Errno> {
    let mut page = [0; PAGE];
    let len = pread(fd, &mut page[..], 0)?;
    let page = &page[..len];
    let (header, found_key) = match Header::decode(page) {
        Ok(it) => it,
        Err(Bad::Unfinished) => return Ok(Look::Absent),
        Err(Bad::Damaged) => return Ok(Look::Damaged),
        Err(Bad::Newer) => return Ok(Look::Newer),
    };
    if !header.whole {
        return Ok(Look::Unfinished);
    }
    if key.is_some_and(|it| it.as_bytes() != found_key) {
        return Ok(Look::Other);
    }
    let Some(total) = header.total() else { return Ok(Look::Damaged) };
    let value = match usize::try_from(total) {
        Ok(total) if total <= len => {
            let value = &page[header.value_at()..total];
            // It costs nothing more to be sure.
            if !header.is_of(value) {
                return Ok(Look::Damaged);
            }
            if want == Want::Head { Bytes::new() } else { Bytes::copy_from_slice(value) }
        }
        _ if len < PAGE || total > size(fd)? => return Ok(Look::Damaged),
        _ if want == Want::Head => Bytes::new(),
        _ => match rest(fd, &header, &page[header.value_at()..])? {
            Some(value) if header.is_of(&value) => value.into(),
            _ => return Ok(Look::Damaged),
        },
    };
    Ok(Look::Found(Found { header, value }))
}

/// The value of which `start` is the beginning; `None` if the file is shorter.
fn rest(fd: &OwnedFd, header: &Header, start: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let len = usize::try_from(header.value_len).map_err(|_| Errno::NOMEM)?;
    let mut value = Vec::new();
    value.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    value.extend_from_slice(start);
    while value.len() < len {
        let at = (header.value_at() + value.len()) as u64;
        if pread(fd, spare_capacity(&mut value), at)? == 0 {
            return Ok(None);
        }
    }
    // What is behind it is of a longer value that was there before.
    value.truncate(len);
    Ok(Some(value))
}

#[allow(clippy::cast_sign_loss, reason = "no file has less than nothing")]
pub(crate) fn size(fd: &OwnedFd) -> Result<u64, Errno> {
    Ok(fstat(fd)?.st_size as u64)
}
