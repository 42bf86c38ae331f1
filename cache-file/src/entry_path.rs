//! Where a key's entry is.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The folder and the name of a key's file: 128 bits of hash in hex, of which the first two digits are the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryPath([u8; DIGITS]);

const DIGITS: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

impl EntryPath {
    pub(crate) fn of(key: &str) -> Self {
        let mut hash = xxh3_128(key.as_bytes());
        let mut res = [0; DIGITS];
        for digit in res.iter_mut().rev() {
            *digit = HEX[usize::from((hash & 15) as u8)];
            hash >>= 4;
        }
        Self(res)
    }

    /// That of a file in a folder; `None` if it is none of ours.
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

    pub(crate) fn file(&self) -> &[u8] {
        &self.0[2..]
    }
}

/// `00` to `ff`.
pub(crate) fn folder_name(folder: u8) -> [u8; 2] {
    [HEX[usize::from(folder >> 4)], HEX[usize::from(folder & 15)]]
}

/// As the path from the store's directory.
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
    fn names_are_the_same_in_every_release() {
        let name = EntryPath::of("shop:1:user:7");
        assert_eq!(name.to_string(), "93/622b50b45b7980f36e75a95f3b4c5a");
        assert_eq!(EntryPath::in_folder(name.folder(), name.file()), Some(name));
    }

    #[test]
    fn other_names_are_not_ours() {
        for other in
            ["README", "0", "0123456789abcdef0123456789ABCD", "../456789abcdef0123456789abcd"]
        {
            assert_eq!(EntryPath::in_folder(7, other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn every_folder_has_its_name() {
        for folder in 0..=u8::MAX {
            let name = EntryPath::in_folder(folder, &[b'0'; 30]).unwrap();
            assert_eq!(name.folder(), folder);
            assert_eq!(folder_name(folder), format!("{folder:02x}").as_bytes());
        }
    }
}
