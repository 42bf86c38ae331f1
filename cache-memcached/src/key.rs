//! The server's keys.

use std::hash::{BuildHasher, RandomState};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;

/// The server's key of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    start: Start,
    rest: &'a str,
}

/// The longest key that the server accepts.
const MAX_LEN: usize = 250;

/// Where a key begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Text(&'static str),
    Generation(Generation, u8),
}

/// Sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation([u8; 16]);

/// Builds the server's keys for one generation. The kinds of keys cannot collide, because a
/// generation consists of hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyNames {
    pub(crate) generation: Option<Generation>,
}

impl<'a> Key<'a> {
    /// Returns a key that begins with this text.
    pub(crate) const fn new(start: &'static str, rest: &'a str) -> Self {
        Self { start: Start::Text(start), rest }
    }

    /// Returns a key that begins with a generation and a separator.
    pub(crate) fn of_generation(generation: Generation, separator: u8, rest: &'a str) -> Self {
        Self { start: Start::Generation(generation, separator), rest }
    }

    /// Returns whether the key can be sent.
    pub(crate) fn is_valid(&self) -> bool {
        let len = self.start().0.len() + usize::from(self.start().1.is_some()) + self.rest.len();
        let sent = if self.is_one_word() { len } else { len.div_ceil(3) * 4 };
        (1..=MAX_LEN).contains(&sent)
    }

    /// Whether no byte would end the key early.
    fn is_one_word(&self) -> bool {
        self.rest.bytes().all(|it| it > b' ' && it != 0x7f)
    }

    /// Appends the key. Returns whether it is in base64, because a byte would end it early.
    pub(crate) fn encode(&self, out: &mut BytesMut) -> bool {
        let (start, separator) = self.start();
        let parts = [start, separator.as_slice(), self.rest.as_bytes()];
        if self.is_one_word() {
            for it in parts {
                out.extend_from_slice(it);
            }
            return false;
        }
        out.extend_from_slice(STANDARD.encode(parts.concat()).as_bytes());
        true
    }

    fn start(&self) -> (&[u8], Option<u8>) {
        match &self.start {
            Start::Text(text) => (text.as_bytes(), None),
            Start::Generation(generation, separator) => (generation.as_bytes(), Some(*separator)),
        }
    }
}

impl Generation {
    /// Parses the value of a generation's entry. `None` for a value of another program.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 16] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(Self(digits))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns 64 random bits. The operating system seeds each hasher state.
    pub(crate) fn random() -> Self {
        let bits = RandomState::new().hash_one(std::time::SystemTime::now());
        let digit = |i: usize| b"0123456789abcdef"[(bits >> (60 - 4 * i) & 15) as usize];
        Self(std::array::from_fn(digit))
    }
}

impl KeyNames {
    /// Returns the key of an entry.
    pub(crate) fn entry(self, key: &str) -> Key<'_> {
        match self.generation {
            Some(generation) => Key::of_generation(generation, b':', key),
            None => Key::new("-:", key),
        }
    }

    /// Returns the key of the lock for the rename of an entry.
    pub(crate) fn move_lock(self, key: &str) -> Key<'_> {
        match self.generation {
            Some(generation) => Key::of_generation(generation, b'~', key),
            None => Key::new("-~", key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: Key<'_>) -> (String, bool) {
        let mut out = BytesMut::new();
        let is_base64 = key.encode(&mut out);
        (String::from_utf8(out.to_vec()).unwrap(), is_base64)
    }

    #[test]
    fn key_that_would_end_early_is_sent_in_base64() {
        for (rest, expected) in [
            ("k", ("-:k", false)),
            ("ü\u{80}✓", ("-:ü\u{80}✓", false)),
            ("a b", ("LTphIGI=", true)),
            ("a\n", ("LTphCg==", true)),
            ("\0\r\nget", ("LToADQpnZXQ=", true)),
            ("\u{7f}", ("LTp/", true)),
        ] {
            let (text, is_base64) = encoded(Key::new("-:", rest));
            assert_eq!((text.as_str(), is_base64), expected, "{rest:?}");
        }
        let generation = Generation::parse(b"0123456789abcdef").unwrap();
        let names = KeyNames { generation: Some(generation) };
        assert_eq!(encoded(names.entry("k")).0, "0123456789abcdef:k");
        assert_eq!(encoded(names.move_lock("k")).0, "0123456789abcdef~k");
    }

    #[test]
    fn key_that_is_empty_or_too_long_is_invalid() {
        for (rest, is_valid) in [
            ("", false),
            ("k", true),
            (" ", true),
            (&*"x".repeat(250), true),
            (&*"x".repeat(251), false),
            (&*" ".repeat(186), true),
            (&*" ".repeat(187), false),
        ] {
            assert_eq!(Key::new("", rest).is_valid(), is_valid, "{rest:?}");
        }
        assert!(!Key::new("-:", &"x".repeat(249)).is_valid());
        assert!(Key::new("-:", "").is_valid());
    }

    #[test]
    fn value_of_another_program_is_not_a_generation() {
        for text in [&b""[..], b"0123456789abcde", b"0123456789abcdefg", b"0123456789abcdeg"] {
            assert_eq!(Generation::parse(text), None);
        }
        let one = Generation::random();
        assert_eq!(Generation::parse(one.as_bytes()), Some(one));
        assert_ne!(one, Generation::random());
    }
}
