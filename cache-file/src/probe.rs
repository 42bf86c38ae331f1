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
pub(crate) enum Probe {
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
pub(crate) enum Part {
    /// Whether it is there, and until when.
    Head,
    Value,
}

/// What the first read takes: all of a small entry, and the head of any.
pub(crate) const PAGE: usize = 4096;

/// Reads the entry of `key`, or of whatever key. Nothing is allocated for a length that the file does not have.
pub(crate) fn probe(fd: &OwnedFd, key: Option<&str>, part: Part) -> Result<Probe, Errno> {
    let mut page = [0; PAGE];
    let len = pread(fd, &mut page[..], 0)?;
    let page = &page[..len];
    let (header, found_key) = match Header::decode(page) {
        Ok(it) => it,
        Err(Bad::Unfinished) => return Ok(Probe::Absent),
        Err(Bad::Damaged) => return Ok(Probe::Damaged),
        Err(Bad::Newer) => return Ok(Probe::Newer),
    };
    if !header.whole {
        return Ok(Probe::Unfinished);
    }
    if key.is_some_and(|it| it.as_bytes() != found_key) {
        return Ok(Probe::Other);
    }
    let Some(total) = header.total() else { return Ok(Probe::Damaged) };
    let value = match usize::try_from(total) {
        Ok(total) if total <= len => {
            let value = &page[header.value_at()..total];
            // It costs nothing more to be sure.
            if !header.is_of(value) {
                return Ok(Probe::Damaged);
            }
            if part == Part::Head { Bytes::new() } else { Bytes::copy_from_slice(value) }
        }
        _ if len < PAGE || total > size(fd)? => return Ok(Probe::Damaged),
        _ if part == Part::Head => Bytes::new(),
        _ => match rest(fd, &header, &page[header.value_at()..])? {
            Some(value) if header.is_of(&value) => value.into(),
            _ => return Ok(Probe::Damaged),
        },
    };
    Ok(Probe::Found(Found { header, value }))
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// The seeds as files: what a reader makes of each.
    #[test]
    fn only_good_files_hold_an_entry() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
        for seed in std::fs::read_dir(corpus).unwrap().map(|it| it.unwrap()) {
            let fd = File::open(seed.path()).unwrap().into();
            let is_good = seed.file_name().to_string_lossy().starts_with("good");
            for key in [None, Some("shop:1:user:7")] {
                let found = probe(&fd, key, Part::Value).unwrap();
                assert_eq!(matches!(found, Probe::Found(_)), is_good, "{seed:?}: {found:?}");
            }
            assert!(!matches!(probe(&fd, Some("other"), Part::Value).unwrap(), Probe::Found(_)));
        }
    }

    /// A file that is as long as a header says, but for the holes in it, is read and refused; one that is shorter is not even
    /// made room for.
    #[test]
    fn no_room_is_made_for_a_length_that_the_file_does_not_have() {
        let file = tempfile::tempfile().unwrap();
        let header = Header {
            whole: true,
            key_len: 1,
            value_len: 1 << 40,
            expires: 0,
            stamp: 1,
            value_sum: 0,
        };
        let fd: OwnedFd = file.into();
        rustix::io::pwrite(&fd, &header.encode(b"k"), 0).unwrap();
        rustix::fs::ftruncate(&fd, 1 << 20).unwrap();
        for part in [Part::Head, Part::Value] {
            assert!(matches!(probe(&fd, None, part).unwrap(), Probe::Damaged));
        }
    }
}
