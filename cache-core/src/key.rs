//! Keys: their rules, their stored form, and the namespace of an alias.

pub(crate) mod marker;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use arrayvec::ArrayString;

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a stored key in bytes, including `prefix:version:`: the 250 bytes of
/// memcached without the room that a store may need.
pub const MAX_KEY_LEN: usize = 230;

/// Words in place of the version, for keys under which the library stores its own data.
pub(crate) const RESERVED: [&str; 4] = ["tag", "ns", "lock", "lease"];

/// A stored key. It is at most [`MAX_KEY_LEN`] long, so it needs no allocation.
pub(crate) type FullKey = ArrayString<MAX_KEY_LEN>;

/// The keys of one alias: the keys with its `key_prefix` in every version, and the keys that the
/// library stored for the alias.
///
/// ```
/// use cache_core::store::Namespace;
///
/// let shop = Namespace::new("shop")?;
/// assert!(shop.contains("shop:1:user") && shop.contains("shop:-2:a:b"));
/// assert!(!shop.contains("shop:eu:1:user"), "`shop:eu` is another namespace");
/// assert!(!shop.contains("shopping:1:user") && !shop.contains("foreign"));
/// assert!(Namespace::new("").unwrap().contains(":1:user"));
///
/// // "a:2" is refused: ("a", version 2, "1:x") and ("a:2", version 1, "x") would be the same key.
/// assert!(Namespace::new("a:2").is_err());
/// # Ok::<_, cache_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Creates the namespace of a `key_prefix`.
    ///
    /// # Errors
    /// `InvalidKey` if the prefix contains forbidden bytes or is too long, or if a segment after a
    /// colon is an integer or a reserved word of the library.
    pub fn new(prefix: &str) -> Result<Self> {
        check_bytes(prefix.as_bytes())?;
        if prefix.len() > MAX_PREFIX_LEN {
            return Err(invalid(format!(
                "is too long: {} bytes, of at most {MAX_PREFIX_LEN} in a key prefix",
                prefix.len()
            )));
        }
        match prefix.split(':').skip(1).find(|it| is_integer(it) || RESERVED.contains(it)) {
            Some(segment) => Err(invalid(format!(
                "contains the segment `{segment}` after a colon, which is reserved for versions and for keys \
                 of the library; use another word, such as `v{segment}`"
            ))),
            None => Ok(Self(prefix.into())),
        }
    }

    /// Returns the namespace of an alias without a `key_prefix`.
    pub(crate) fn unprefixed() -> Self {
        Self("".into())
    }

    /// Returns the `key_prefix`.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// Returns the prefix of a stored key, or `None` if the key was not made by an alias.
    ///
    /// ```
    /// use cache_core::store::Namespace;
    ///
    /// assert_eq!(Namespace::prefix_of("shop:eu:1:user:7"), Some("shop:eu"));
    /// assert_eq!(Namespace::prefix_of(":-2:k"), Some(""));
    /// assert_eq!(Namespace::prefix_of("foreign"), None);
    /// ```
    pub fn prefix_of(key: &str) -> Option<&str> {
        let mut colons = key.match_indices(':').map(|(at, _)| at);
        let mut begin = colons.next()?;
        // A segment of a prefix after its first colon is never a version or a reserved word, so the
        // first such segment ends the prefix.
        for end in colons {
            let segment = &key[begin + 1..end];
            if is_integer(segment) || RESERVED.contains(&segment) {
                return Some(&key[..begin]);
            }
            begin = end;
        }
        None
    }

    /// Returns whether a stored key belongs to this namespace: `prefix:`, an integer or a reserved
    /// word, and a colon.
    pub fn contains(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.prefix()).and_then(|it| it.strip_prefix(':'));
        let Some((version, _)) = rest.and_then(|it| it.split_once(':')) else { return false };
        is_integer(version) || RESERVED.contains(&version)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.prefix()).finish()
    }
}

/// Leaves room for a version of 20 digits and a hashed key.
const MAX_PREFIX_LEN: usize = 100;

/// The rules by which an alias turns a caller's key into a stored key.
#[derive(Clone, Default)]
pub(crate) struct KeyRules {
    pub(crate) long_keys: LongKeys,
    pub(crate) function: Option<KeyFunction>,
}

/// A function that changes the part of a stored key after `prefix:version:`.
pub(crate) type KeyFunction = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The handling of keys that break the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LongKeys {
    /// The call returns `InvalidKey`.
    #[default]
    Error,
    /// The key is replaced by a readable head and its SHA-256 digest (feature `long-keys`).
    #[cfg(feature = "long-keys")]
    Hash,
}

/// The words before the version in the keys of locks, and of their fencing numbers. They have the
/// same length, so that a lock whose key fits has a number.
const OWNERS: &str = ":lock:own:";
const NUMBERS: &str = ":lock:num:";

/// `prefix:version:`, made once per handle, because making it costs more than a call of an
/// in-process store.
#[derive(Clone)]
pub(crate) struct KeyHead(Arc<str>);

impl KeyHead {
    pub(crate) fn new(namespace: &Namespace, version: i64) -> Self {
        Self(format!("{}:{version}:", namespace.prefix()).into())
    }

    /// Returns the key of the fencing number of the lock with this key.
    pub(crate) fn number_of_lock(namespace: &Namespace, lock: &str) -> FullKey {
        let (prefix, key) = lock.split_at(namespace.prefix().len());
        let mut number = FullKey::new();
        for part in [prefix, NUMBERS, key.strip_prefix(OWNERS).unwrap_or(key)] {
            // Fits: the words have the same length.
            let _ = number.try_push_str(part);
        }
        number
    }

    /// Returns the key of the lock of a stored key. Long keys may share one.
    pub(crate) fn lock(namespace: &Namespace, stored: &str) -> FullKey {
        let (prefix, key) = stored.split_at(namespace.prefix().len());
        let key = key.strip_prefix(':').unwrap_or(key);
        let mut lock = FullKey::new();
        // Fits: a prefix is shorter than half a key.
        let _ = fmt::Write::write_fmt(&mut lock, format_args!("{prefix}:lock:"));
        if lock.try_push_str(key).is_err() {
            let sum = crc32fast::hash(key.as_bytes());
            let _ = fmt::Write::write_fmt(&mut lock, format_args!("{sum:08x}"));
        }
        lock
    }

    /// Writes the stored form of a caller's key into the empty `full`. A return value would be
    /// copied from frame to frame, which costs more than making the key.
    pub(crate) fn key(&self, rules: &KeyRules, key: &str, full: &mut FullKey) -> Result<()> {
        if let Some(function) = &rules.function {
            return self.join(rules.long_keys, &function(key), full);
        }
        self.join(rules.long_keys, key, full)
    }

    #[cfg_attr(
        not(feature = "long-keys"),
        expect(unused_variables, reason = "LongKeys has only one variant then")
    )]
    fn join(&self, long_keys: LongKeys, key: &str, full: &mut FullKey) -> Result<()> {
        #[cfg(feature = "long-keys")]
        if long_keys == LongKeys::Hash
            && !key.is_empty()
            && let Some(hashed) = hashed::replace(key, MAX_KEY_LEN - self.0.len())
        {
            return self.join(LongKeys::Error, &hashed, full);
        }
        let res = check_key(key).and_then(|()| {
            let pushed = full.try_push_str(&self.0).and_then(|()| full.try_push_str(key));
            pushed.map_err(|_| self.too_long(key))
        });
        res.map_err(|err| err.with_context("key", printable(key)))
    }

    #[cold]
    fn too_long(&self, key: &str) -> Error {
        invalid(format!(
            "is too long: {} bytes with its head `{}`, of at most {MAX_KEY_LEN}; shorten the key, or set \
             long_keys = \"hash\"",
            self.0.len() + key.len(),
            self.0
        ))
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(invalid("is empty"));
    }
    check_bytes(key.as_bytes())
}

/// Refuses spaces and control characters. In the protocol of memcached they end a key and begin a
/// command (CVE-2020-13254).
fn check_bytes(bytes: &[u8]) -> Result<()> {
    // The common case has no branch per byte: the compiler turns each chunk into one vector
    // instruction. The last chunk overlaps the one before it.
    let any = |bytes: &[u8]| bytes.iter().fold(false, |odd, &it| odd | is_forbidden(it));
    let is_odd = match (bytes.last_chunk::<16>(), bytes.last_chunk::<8>()) {
        (Some(last), _) => any(last) || bytes.as_chunks::<16>().0.iter().any(|it| any(it)),
        (None, Some(last)) => any(last) || bytes.first_chunk::<8>().is_some_and(|it| any(it)),
        (None, None) => any(bytes),
    };
    if !is_odd {
        return Ok(());
    }
    let at = bytes.iter().position(|&it| is_forbidden(it)).unwrap_or_default();
    Err(invalid(format!(
        "contains the byte 0x{:02x} at {at}; spaces and control characters are not allowed",
        bytes[at]
    )))
}

const fn is_forbidden(byte: u8) -> bool {
    byte <= 0x20 || byte == 0x7f
}

/// `0|-?[1-9][0-9]*`
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || (!digits.starts_with('0')
            && !digits.is_empty()
            && digits.bytes().all(|it| it.is_ascii_digit()))
}

fn invalid(rule: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidKey, format!("the key {rule}"))
}

/// Shortens and escapes a key that breaks the rules.
fn printable(key: &str) -> String {
    let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
    if key.chars().nth(60).is_some() { shown + "…" } else { shown }
}

#[cfg(feature = "long-keys")]
mod hashed {
    use sha2::{Digest, Sha256};

    /// Separates head and digest. A key that looks like a replaced key is replaced too, so that a
    /// caller cannot reach the entry of another key by writing its digest.
    const MARK: char = '~';
    const DIGEST_LEN: usize = 64;
    const HEAD_LEN: usize = 32;

    /// Returns the replacement of a key that breaks the rules, and `None` for a valid key.
    pub(super) fn replace(key: &str, room: usize) -> Option<String> {
        let good = key.len() <= room && super::check_key(key).is_ok() && !looks_replaced(key);
        if good {
            return None;
        }
        let mut res: String = key
            .chars()
            .filter(char::is_ascii_graphic)
            .take(HEAD_LEN.min(room.saturating_sub(DIGEST_LEN + 1)))
            .collect();
        res.push(MARK);
        for byte in Sha256::digest(key.as_bytes()) {
            res.push(char::from(HEX[usize::from(byte >> 4)]));
            res.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Some(res)
    }

    const HEX: &[u8; 16] = b"0123456789abcdef";

    fn looks_replaced(key: &str) -> bool {
        key.rsplit_once(MARK).is_some_and(|(_, digest)| {
            digest.len() == DIGEST_LEN && digest.bytes().all(|it| HEX.contains(&it))
        })
    }
}
