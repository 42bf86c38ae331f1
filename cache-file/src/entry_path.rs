//! The path of an entry's file.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The folder and file name of a key: its 128-bit hash in hex, with the first two digits as the
/// folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryPath([u8; DIGITS]);

const DIGITS: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

impl EntryPath {
    /// Returns the path of a key.
    pub(crate) fn of(key: &str) -> Self {
        let mut hash = xxh3_128(key.as_bytes());
        let mut res = [0; DIGITS];
        for digit in res.iter_mut().rev() {
            *digit = HEX[usize::from((hash & 15) as u8)];
            hash >>= 4;
        }
        Self(res)
    }

    /// Returns the path of a file in a folder. `None` for a foreign file.
    pub(crate) fn in_folder(folder: u8, file: &[u8]) -> Option<Self> {
        let is_ours = file.len() == DIGITS - 2 && file.iter().all(|it| HEX.contains(it));
        is_ours.then(|| {
            let mut res = [0; DIGITS];
            res[..2].copy_from_slice(&folder_name(folder));
            res[2..].copy_from_slice(file);
            Self(res)
        })
    }

    pub(crate) fn folder(&self) -> u8 {
        let digit = |at: usize| match self.0[at] {
            it @ b'a'.. => it - b'a' + 10,
            it => it - b'0',
        };
        digit(0) << 4 | digit(1)
    }

    /// Returns the name of the file in its folder.
    pub(crate) fn file(&self) -> &[u8] {
        &self.0[2..]
    }
}

/// Returns the name of a folder, `00` to `ff`.
pub(crate) fn folder_name(folder: u8) -> [u8; 2] {
    [HEX[usize::from(folder >> 4)], HEX[usize::from(folder & 15)]]
}

/// Shows the path relative to the directory of the store.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, digit) in self.0.iter().enumerate() {
            write!(f, "{}{}", if n == 2 { "/" } else { "" }, char::from(*digit))?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_key_is_the_same_in_every_release() {
        let path = EntryPath::of("shop:1:user:7");
        assert_eq!(path.to_string(), "93/622b50b45b7980f36e75a95f3b4c5a");
        assert_eq!(EntryPath::in_folder(path.folder(), path.file()), Some(path));
    }

    #[test]
    fn foreign_file_has_no_entry_path() {
        for foreign in
            ["README", "0", "0123456789abcdef0123456789ABCD", "../456789abcdef0123456789abcd"]
        {
            assert_eq!(EntryPath::in_folder(7, foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn every_folder_number_has_its_name() {
        for folder in 0..=u8::MAX {
            let path = EntryPath::in_folder(folder, &[b'0'; 30]).unwrap();
            assert_eq!(path.folder(), folder);
            assert_eq!(folder_name(folder), format!("{folder:02x}").as_bytes());
        }
    }
}
