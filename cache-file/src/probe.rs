//! Reading the content of a file.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    fs::fstat,
    io::{Errno, pread},
};

use crate::header::{DecodeError, Header};

/// The content of a file.
#[derive(Debug)]
pub(crate) enum Probe {
    /// The file does not exist, or was never written.
    Absent,
    /// Another key with the same hash.
    OtherKey,
    /// A write is under way, or was killed.
    Incomplete,
    /// No writer leaves such bytes behind. A write during the read may show them, too.
    Damaged,
    /// A newer release has written it.
    Newer,
    Found(Found),
}

/// An entry, live or expired.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: Header,
    /// Empty for [`Part::Head`].
    pub(crate) value: Bytes,
}

/// The part of an entry to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The header: whether the entry exists, and its expiry.
    Head,
    Value,
}

/// The length of the first read: a small entry, or the head of a larger one.
pub(crate) const PAGE: usize = 4096;

/// The content of a file as far as its first page shows it.
#[derive(Debug)]
pub(crate) enum Start {
    Whole(Probe),
    /// The entry of the key, whose value continues behind the page.
    Longer(Header),
}

/// Reads the entry of a key, or of any key.
///
/// Allocates memory for a value only if the file is as long as its header says.
pub(crate) fn probe(fd: &OwnedFd, key: Option<&str>, part: Part) -> Result<Probe, Errno> {
    let mut page = [0; PAGE];
    let len = pread(fd, &mut page[..], 0)?;
    let header = match probe_start(&page[..len], key, part) {
        Start::Whole(probe) => return Ok(probe),
        Start::Longer(header) => header,
    };
    if !is_in_file(&header, fd)? {
        return Ok(Probe::Damaged);
    }
    let value = match part {
        Part::Head => Bytes::new(),
        Part::Value => match read_value(fd, &header, &page[header.value_offset()..])? {
            Some(value) if header.matches(&value) => value.into(),
            _ => return Ok(Probe::Damaged),
        },
    };
    Ok(Probe::Found(Found { header, value }))
}

/// Decodes the first page of a file, or its content if it is shorter.
pub(crate) fn probe_start(page: &[u8], key: Option<&str>, part: Part) -> Start {
    let (header, found_key) = match Header::decode(page) {
        Ok(decoded) => decoded,
        Err(DecodeError::Empty) => return Start::Whole(Probe::Absent),
        Err(DecodeError::Damaged) => return Start::Whole(Probe::Damaged),
        Err(DecodeError::Newer) => return Start::Whole(Probe::Newer),
    };
    if !header.is_complete {
        return Start::Whole(Probe::Incomplete);
    }
    if key.is_some_and(|it| it.as_bytes() != found_key) {
        return Start::Whole(Probe::OtherKey);
    }
    let total = header.total_len().map(usize::try_from);
    let value = match total {
        Some(Ok(total)) if total <= page.len() => &page[header.value_offset()..total],
        Some(_) if page.len() == PAGE => return Start::Longer(header),
        _ => return Start::Whole(Probe::Damaged),
    };
    // The value was read anyway, so check it for both parts.
    if !header.matches(value) {
        return Start::Whole(Probe::Damaged);
    }
    let value = if part == Part::Head { Bytes::new() } else { Bytes::copy_from_slice(value) };
    Start::Whole(Probe::Found(Found { header, value }))
}

/// Returns whether the file is as long as its header says.
pub(crate) fn is_in_file(header: &Header, fd: &OwnedFd) -> Result<bool, Errno> {
    let len = u64::try_from(fstat(fd)?.st_size).unwrap_or(0);
    Ok(header.total_len().is_some_and(|it| it <= len))
}

/// Reads a value that begins with `start`. `None` if the file is too short.
fn read_value(fd: &OwnedFd, header: &Header, start: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let len = usize::try_from(header.value_len).map_err(|_| Errno::NOMEM)?;
    let mut value = Vec::new();
    value.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    value.extend_from_slice(start);
    while value.len() < len {
        let offset = (header.value_offset() + value.len()) as u64;
        if pread(fd, spare_capacity(&mut value), offset)? == 0 {
            return Ok(None);
        }
    }
    // The capacity may exceed the length, and a longer old value may follow in the file.
    value.truncate(len);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_good_files_of_the_corpus_hold_an_entry() {
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

    #[test]
    fn length_beyond_the_end_of_the_file_is_damage() {
        let file = tempfile::tempfile().unwrap();
        let header = Header {
            is_complete: true,
            key_len: 1,
            value_len: 1 << 40,
            expires: 0,
            stamp: 1,
            value_checksum: 0,
        };
        let fd: OwnedFd = file.into();
        rustix::io::pwrite(&fd, &header.encode(b"k"), 0).unwrap();
        rustix::fs::ftruncate(&fd, 1 << 20).unwrap();
        for part in [Part::Head, Part::Value] {
            assert!(matches!(probe(&fd, None, part).unwrap(), Probe::Damaged));
        }
    }
}
