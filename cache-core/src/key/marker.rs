//! The keys of markers.

use super::{FullKey, KeyHead, MAX_KEY_LEN, Namespace, check_key, invalid, printable};
use crate::error::Result;

impl KeyHead {
    /// Returns the key of the marker of a tag, in all versions of the keys.
    pub(crate) fn tag(namespace: &Namespace, name: &str) -> Result<FullKey> {
        marker(namespace, ":tag:", name)
    }
}

/// Returns the key of a marker. Its word stands where other keys have a version.
fn marker(namespace: &Namespace, word: &str, name: &str) -> Result<FullKey> {
    let mut full = FullKey::new();
    let pushed = [namespace.prefix(), word, name].iter().try_for_each(|it| full.try_push_str(it));
    let too_long = || {
        let len = namespace.prefix().len() + word.len() + name.len();
        invalid(format!(
            "is too long: {len} bytes with `{}{word}` before it, of at most {MAX_KEY_LEN}",
            namespace.prefix()
        ))
    };
    check_key(name)
        .and_then(|()| pushed.map_err(|_| too_long()))
        .map_err(|error| error.with_context("key", printable(name)))?;
    Ok(full)
}
