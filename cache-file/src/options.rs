//! The settings, checked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cache_core::{Result, config::ByteSize, store::BuildContext};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    max_entries: Option<u64>,
    max_bytes: Option<ByteSize>,
    max_value_bytes: Option<ByteSize>,
    #[serde(default)]
    direct_reads: bool,
    threads: Option<usize>,
}

/// All that the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) path: PathBuf,
    pub(crate) max_entries: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_value: u64,
    pub(crate) direct_reads: bool,
    pub(crate) threads: usize,
    /// How long to wait for a lock: somewhat less than a call may take, so that who waits in vain is told why.
    pub(crate) patience: Duration,
}

const MIB: u64 = 1 << 20;
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_BYTES: u64 = 1024 * MIB;
/// What an entry takes at least: a block.
const LEAST: u64 = 4096;
/// Nearly all calls are answered from the system's memory, so this is not about disks but about waiting for locks.
const THREADS: usize = 8;
const MAX_THREADS: usize = 256;

impl Plan {
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        let options: Options = context.options()?;
        let wrong = |setting: &str, what: String| Err(context.error(setting, what));
        let path = path(context)?;
        let max_entries = options.max_entries.unwrap_or(MAX_ENTRIES);
        if max_entries == 0 {
            let what = "must be at least 1; `backend = \"dummy\"` stores nothing";
            return wrong("options.max_entries", what.into());
        }
        // Sums of it stay within 64 bits.
        let max_bytes = options.max_bytes.map_or(MAX_BYTES, ByteSize::bytes).min(u64::MAX / 4);
        if max_bytes < LEAST {
            let what = "is less than one entry takes on the disk; expected 4KiB or more";
            return wrong("options.max_bytes", what.into());
        }
        let max_value = options
            .max_value_bytes
            .map_or_else(|| (max_bytes / 64).max(MIB).min(max_bytes), ByteSize::bytes);
        if max_value == 0 || max_value > max_bytes {
            let what = format!("expected 1 byte to max_bytes, which is {max_bytes} bytes");
            return wrong("options.max_value_bytes", what);
        }
        let threads = options.threads.unwrap_or(THREADS);
        if !(1..=MAX_THREADS).contains(&threads) {
            return wrong("options.threads", format!("expected 1 to {MAX_THREADS}"));
        }
        Ok(Self {
            path,
            max_entries,
            max_bytes,
            max_value,
            direct_reads: options.direct_reads,
            threads,
            patience: context.deadline() / 8 * 7,
        })
    }

    /// The first setting in which two differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let settings = [
            ("options.max_entries", self.max_entries == other.max_entries),
            ("options.max_bytes", self.max_bytes == other.max_bytes),
            ("options.max_value_bytes", self.max_value == other.max_value),
            ("options.direct_reads", self.direct_reads == other.direct_reads),
            ("options.threads", self.threads == other.threads),
            ("deadline", self.patience == other.patience),
        ];
        settings.iter().find(|(_, is_same)| !is_same).map(|(name, _)| *name)
    }
}

#[cfg(test)]
impl Plan {
    /// For tests: room for a thousand entries, and time for a slow machine.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self {
            path,
            max_entries: 1000,
            max_bytes: 1 << 30,
            max_value: 1 << 20,
            direct_reads: false,
            threads: 1,
            patience: Duration::from_secs(20),
        }
    }
}

/// Absolute, so that a program that changes its directory keeps its cache.
fn path(context: &BuildContext<'_>) -> Result<PathBuf> {
    let missing = "is missing; expected the path of a directory for this cache alone";
    let location = context.location()?.filter(|it| !it.trim().is_empty());
    let location = location.ok_or_else(|| context.error("location", missing))?;
    if location.contains("://") {
        return Err(context.error("location", "is a URL; expected the path of a directory"));
    }
    if location == "~" || location.starts_with("~/") {
        let what = "begins with `~`, which is not expanded; write the path, or \"${HOME}/…\"";
        return Err(context.error("location", what));
    }
    let path = std::path::absolute(location)
        .map_err(|it| context.error("location", format!("is no path: {}", it.kind())))?;
    // Without `..`, two names of one directory are one name, as far as a look at the names can tell.
    let path: PathBuf = path.components().collect();
    if path == Path::new("/") {
        return Err(context.error("location", "is the root; name a directory for this cache alone"));
    }
    Ok(path)
}
