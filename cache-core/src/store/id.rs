//! The identity of the store behind a [`Backend`](crate::store::Backend).

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The identity of the place where a store keeps its entries: two stores with equal ids hold the
/// same entries under the same keys.
///
/// A driver makes the id from the place that the store connects to (servers, database, table,
/// directory), not from the text of the settings. Aliases of one [`Caches`](crate::Caches) with
/// equal id and equal `key_prefix` share their loads and pending deletes: a delete through one
/// alias ends a load through the other.
///
/// If it is unclear whether two stores are the same place, their ids must differ. A wrongly shared
/// load returns another store's value; two loads instead of one only cost time. `localhost` and
/// `127.0.0.1` are therefore two stores.
///
/// ```
/// use cache_core::store::StoreId;
///
/// let id = |table| StoreId::new("db", ["10.0.0.1:5432", "shop", table]);
/// assert_eq!(id("cache"), id("cache"));
/// assert_ne!(id("cache"), id("sessions"));
/// assert_ne!(StoreId::unique(), StoreId::unique());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoreId(Id);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Id {
    Unique(u64),
    Place { kind: &'static str, parts: Arc<[String]> },
}

impl StoreId {
    /// Returns the id of a place. `kind` is the driver's name; it keeps the places of different
    /// drivers apart.
    ///
    /// No part may be a password: `Debug` hides the parts, but the id keeps and compares them.
    pub fn new(kind: &'static str, parts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Id::Place { kind, parts: parts.into_iter().map(Into::into).collect() })
    }

    /// Returns the id of a file or directory, with further parts such as a table.
    ///
    /// Two paths that lead to one place through links or `..` give equal ids, even if the last part
    /// of the path does not exist yet.
    ///
    /// ```
    /// use cache_core::store::StoreId;
    ///
    /// let id = |path: &str| StoreId::of_path("file", path.as_ref(), [""; 0]);
    /// assert_eq!(id("/tmp/some-cache"), id("/tmp/../tmp/./some-cache"));
    /// assert_ne!(id("/tmp/some-cache"), id("/tmp/other-cache"));
    /// ```
    pub fn of_path(
        kind: &'static str,
        path: &Path,
        parts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        // `display` would make different names equal if they are not UTF-8.
        let path = resolved(path).as_os_str().as_encoded_bytes().escape_ascii().to_string();
        Self::new(kind, std::iter::once(path).chain(parts.into_iter().map(Into::into)))
    }

    /// Returns an id that equals no other id, for a store in this process's memory or at an unknown
    /// place.
    ///
    /// The store keeps the id, because [`Backend::id`](crate::store::Backend::id) must return the
    /// same id at every call.
    ///
    /// ```
    /// # use cache_core::store::StoreId;
    /// let id = StoreId::unique();
    /// assert_eq!(id, id.clone());
    /// ```
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Id::Unique(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Equal to [`unique`](StoreId::unique).
impl Default for StoreId {
    fn default() -> Self {
        Self::unique()
    }
}

/// Prints no parts: they are addresses and paths.
impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Unique(number) => write!(f, "StoreId(unique {number})"),
            Id::Place { kind, .. } => write!(f, "StoreId({kind}, hidden)"),
        }
    }
}

/// Returns the path with links and `..` resolved, as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    for parent in path.ancestors() {
        if let Ok(found) = parent.canonicalize() {
            return missing.into_iter().rev().fold(found, |path, name| path.join(name));
        }
        missing.extend(parent.components().next_back());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_joined_and_not_shown() {
        let id = |parts: &[&str]| StoreId::new("db", parts.iter().copied());
        assert_ne!(id(&["a", "b"]), id(&["a b"]));
        assert_ne!(id(&["a"]), StoreId::new("redis", ["a"]));
        let shown = format!("{:?}", id(&["marked"]));
        assert!(shown.contains("db") && !shown.contains("marked"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn linked_paths_are_one_place() {
        let folder = std::env::temp_dir().join(format!("store-id-{}", std::process::id()));
        let (real, link) = (folder.join("real"), folder.join("link"));
        std::fs::create_dir_all(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let id = |path: PathBuf| StoreId::of_path("file", &path, [""; 0]);
        assert_eq!(id(real.join("a/b")), id(link.join("a/b")), "a path that does not exist yet");
        assert_ne!(id(real.join("a/b")), id(link.join("b")));
        assert_eq!(id(real), id(link));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
