//! Caches with a near tier.

use anyhow::Result;
use cache_core::Cache;

use crate::suites::network::ours;

pub(super) const VALUE_BYTES: usize = 100;

/// Returns the settings without a near tier.
pub(super) fn far_settings(url: &str) -> String {
    format!("backend = \"redis\"\nlocation = \"{url}\"")
}

/// Returns a cache whose near tier is in use, as in another process.
pub(super) async fn near(url: &str, entries: u64) -> Result<Cache> {
    let table = format!("near = {{ invalidation = \"tracking\", max_entries = {entries} }}");
    let cache = ours::cache(&format!("{}\n{table}", far_settings(url)))?;
    cache.check().await?;
    Ok(cache)
}
