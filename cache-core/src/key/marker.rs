//! The keys of markers, and of the entries of a namespace.
//!
//! The entry `7` of the namespace `users` is stored under `prefix:ns:version:users~GENERATION:7`,
//! in the namespace `eu` within `users` under `…:users~~eu~GENERATION:7`. A name contains no `~`,
//! and the generation has a fixed length, so a stored key can be split in only one way.

use std::{ops::Range, sync::Arc};

use super::{FullKey, KeyHead, MAX_KEY_LEN, Namespace, OWNERS, check_key, invalid, printable};
use crate::error::Result;

/// Ends the names of a namespace, and separates them when it is doubled.
const END: char = '~';
/// The text in place of a generation that is not known yet, which no generation has.
const UNKNOWN: &str = "0000000000000";
/// The room that a namespace leaves to a key: that of a digest, of `long_keys = "hash"`.
const ROOM: usize = 65;
/// The length of `:ns:`, a version of 20 digits, a colon, the end, a generation and a colon.
const AROUND: usize = 4 + 20 + 1 + 1 + UNKNOWN.len() + 1;

/// The name of a namespace, behind the names of the namespaces around it.
#[derive(Clone)]
pub(crate) struct NamespacePath(Arc<str>);

impl NamespacePath {
    /// Returns the path of the namespace `name` within another one.
    pub(crate) fn new(keys: &Namespace, outer: Option<&Self>, name: &str) -> Result<Self> {
        let res = Self(match outer {
            Some(Self(outer)) => format!("{outer}{END}{END}{name}").into(),
            None => name.into(),
        });
        let most = MAX_KEY_LEN - ROOM - AROUND - keys.prefix().len();
        check_key(name)
            .and_then(|()| match name {
                _ if name.contains(END) => Err(invalid(format!("contains `{END}`"))),
                _ if res.0.len() > most => Err(invalid(format!(
                    "is too long: {} bytes, of at most {most} in the names of namespaces with this prefix",
                    res.0.len()
                ))),
                _ => Ok(res),
            })
            .map_err(|error| error.with_context("namespace", printable(name)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of the marker of the namespace, in all versions of the keys.
    pub(crate) fn marker(&self, keys: &Namespace) -> Result<FullKey> {
        marker(keys, NAMESPACE, &self.0)
    }
}

impl KeyHead {
    /// Returns the key of the marker of a tag, in all versions of the keys.
    pub(crate) fn tag(keys: &Namespace, name: &str) -> Result<FullKey> {
        marker(keys, TAG, name)
    }

    /// Returns the head of the keys of a namespace, with a place for the generation.
    pub(crate) fn within(keys: &Namespace, path: &NamespacePath, version: i64) -> Self {
        let (prefix, path) = (keys.prefix(), &path.0);
        Self(format!("{prefix}:ns:{version}:{path}{END}{UNKNOWN}:").into())
    }

    /// Returns the head of the keys of locks. Those of a namespace have no generation, so a clear
    /// leaves them.
    pub(crate) fn of_locks(
        namespace: &Namespace,
        path: Option<&NamespacePath>,
        version: i64,
    ) -> Self {
        let prefix = namespace.prefix();
        Self(match path {
            Some(path) => format!("{prefix}{OWNERS}ns:{version}:{}~:", path.as_str()).into(),
            None => format!("{prefix}{OWNERS}{version}:").into(),
        })
    }

    /// Returns the generation in a key of this head, which is the head of a namespace.
    pub(crate) fn generation<'a>(&self, key: &'a str) -> &'a str {
        &key[self.generation_place()]
    }

    /// Writes the generation into a key of this head, which is the head of a namespace.
    pub(crate) fn put_generation(&self, generation: &str, key: &mut FullKey) {
        let place = self.generation_place();
        let mut res = FullKey::new();
        for part in [&key[..place.start], generation, &key[place.end..]] {
            // Fits: the length does not change.
            let _ = res.try_push_str(part);
        }
        *key = res;
    }

    /// Returns where keys of this head have their generation.
    pub(crate) fn generation_place(&self) -> Range<usize> {
        let end = self.0.len().saturating_sub(1);
        end.saturating_sub(UNKNOWN.len())..end
    }
}

/// Returns whether a stored key is that of a marker: of a tag, or of a namespace.
pub(crate) fn is_marker(key: &str) -> bool {
    // Cheap, for the keys of values.
    key.contains(TAG)
        && Namespace::prefix_of(key).is_some_and(|prefix| {
            let rest = &key[prefix.len()..];
            rest.starts_with(TAG) || rest.starts_with(NAMESPACE)
        })
}

/// Returns the hash of the tag with this marker.
pub(crate) fn tag_of(key: &str) -> Option<u64> {
    let rest = key.strip_prefix(Namespace::prefix_of(key)?)?.strip_prefix(TAG)?;
    u64::from_str_radix(rest, 16).ok()
}

/// Returns whether a stored key is that of a lock, or of its fencing number.
pub(crate) fn is_of_lock(key: &str) -> bool {
    key.contains(LOCK)
        && Namespace::prefix_of(key).is_some_and(|it| key[it.len()..].starts_with(LOCK))
}

/// The words of markers and locks, where other keys have a version.
const TAG: &str = ":tag:";
const NAMESPACE: &str = ":ns:tag:";
const LOCK: &str = ":lock:";

/// Returns the key of a marker. Its word stands where other keys have a version.
fn marker(keys: &Namespace, word: &str, name: &str) -> Result<FullKey> {
    let mut full = FullKey::new();
    let pushed = [keys.prefix(), word, name].iter().try_for_each(|it| full.try_push_str(it));
    let too_long = || {
        let len = keys.prefix().len() + word.len() + name.len();
        invalid(format!(
            "is too long: {len} bytes with `{}{word}` before it, of at most {MAX_KEY_LEN}",
            keys.prefix()
        ))
    };
    check_key(name)
        .and_then(|()| pushed.map_err(|_| too_long()))
        .map_err(|error| error.with_context("key", printable(name)))?;
    Ok(full)
}
