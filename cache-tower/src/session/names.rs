//! The names of sessions in the cache, and their values as texts.

use std::fmt::Write;

use cache_core::{Error, ErrorKind, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Returns the tag of the sessions of a user.
pub(super) fn user_tag(prefix: &str, user: &str) -> String {
    hashed(&format!("{prefix}user:"), user)
}

/// Returns a value as JSON. The error does not quote it.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|_| Error::new(ErrorKind::Codec, "a session value does not serialize to JSON"))
}

/// Returns the prefix with a hash of an id, of which the id cannot be recovered.
pub(super) fn hashed(prefix: &str, id: &str) -> String {
    let mut res = prefix.to_owned();
    for byte in Sha256::digest(id) {
        // Writing to a string cannot fail.
        let _ = write!(res, "{byte:02x}");
    }
    res
}
