//! A second decoder for the files of `cache-file`, written after the table in its documentation, to
//! compare its own decoder with.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Header and key of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) is_complete: bool,
    pub(crate) key: &'a [u8],
    pub(crate) expires: u64,
    /// The value, if the file is long enough.
    pub(crate) value: Option<&'a [u8]>,
    /// Whether the checksum of the value is correct.
    pub(crate) is_right: bool,
}

const FIXED: usize = 48;
const MAX_KEY: usize = 1024;

/// Decodes header and key. `None` if they are wrong.
pub(crate) fn head(file: &[u8]) -> Option<Head<'_>> {
    let ends = key_end(file)?;
    let flag = file[5];
    if !file.starts_with(b"\xffcch\x01") || flag > 1 || number(file, 8) != head_sum(file, ends) {
        return None;
    }
    let value = value(file, ends);
    Some(Head {
        is_complete: flag == 1,
        key: &file[FIXED..ends],
        expires: number(file, 24),
        value,
        is_right: value.is_some_and(|it| xxh3_64(it) == number(file, 40)),
    })
}

/// Returns the file with correct checksums. A fuzzer cannot guess them, and code behind their check
/// would not run.
pub(crate) fn with_right_sums(file: &[u8]) -> Option<Vec<u8>> {
    let ends = key_end(file)?;
    let mut res = file.to_vec();
    if let Some(value) = value(file, ends) {
        res[40..48].copy_from_slice(&xxh3_64(value).to_le_bytes());
    }
    let sum = head_sum(&res, ends);
    res[8..16].copy_from_slice(&sum.to_le_bytes());
    Some(res)
}

fn key_end(file: &[u8]) -> Option<usize> {
    let len = usize::from(u16::from_le_bytes(file.get(6..8)?.try_into().ok()?));
    (len <= MAX_KEY && FIXED + len <= file.len()).then_some(FIXED + len)
}

fn value(file: &[u8], from: usize) -> Option<&[u8]> {
    let len = usize::try_from(number(file, 16)).ok()?;
    file.get(from..from.checked_add(len)?)
}

fn head_sum(file: &[u8], key_end: usize) -> u64 {
    xxh3_64_with_seed(&file[16..key_end], number(file, 0))
}

fn number(file: &[u8], at: usize) -> u64 {
    file[at..at + 8].iter().rev().fold(0, |res, it| res << 8 | u64::from(*it))
}
