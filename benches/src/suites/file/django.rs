//! The caches in files for Django.

use std::path::Path;

use serde_json::json;

use crate::peers::DjangoCache;

/// Returns the file cache of Django with this bound, and diskcache, which has a bound in bytes
/// only, each in its own folder.
pub(super) fn caches(directory: &Path, max_entries: usize) -> [DjangoCache; 2] {
    let of_peer = |name: &str| directory.join(name).display().to_string();
    let django = json!({
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": of_peer("django"), "OPTIONS": { "MAX_ENTRIES": max_entries },
    });
    let diskcache = json!({ "BACKEND": "diskcache.DjangoCache", "LOCATION": of_peer("diskcache") });
    [DjangoCache::new("django", django, &[]), DjangoCache::diskcache(diskcache)]
}
