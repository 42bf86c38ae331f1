//! The settings of a store, and their checks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cache_core::{Result, config::ByteSize, store::BuildContext};
use serde::Deserialize;

/// The name of the store in the settings.
pub(crate) const NAME: &str = "file";

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

/// The checked settings of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) path: PathBuf,
    pub(crate) max_entries: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_value: u64,
    pub(crate) direct_reads: bool,
    pub(crate) threads: usize,
    /// How long to wait for a lock. Shorter than the deadline, so that the error of the store,
    /// which gives the reason, comes before the error of the deadline.
    pub(crate) patience: Duration,
}

const MIB: u64 = 1 << 20;
const MAX_ENTRIES: u64 = 1_000_000;
const MAX_BYTES: u64 = 1024 * MIB;
/// The disk space of the smallest entry: a block.
const MIN_BYTES: u64 = 4096;
/// Enough calls at once although some wait for locks. Most calls need no disk, only memory.
const THREADS: usize = 8;
const MAX_THREADS: usize = 256;

impl Plan {
    /// Reads and checks the settings of an alias.
    ///
    /// # Errors
    /// `Config` with the path of the setting that is wrong.
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        let options: Options = context.options()?;
        let wrong = |setting: &str, what: String| Err(context.error(setting, what));
        let path = path(context)?;
        let max_entries = options.max_entries.unwrap_or(MAX_ENTRIES);
        if max_entries == 0 {
            let what = "must be at least 1; to store nothing, use `backend = \"dummy\"`";
            return wrong("options.max_entries", what.into());
        }
        // Sums of it must fit 64 bits.
        let max_bytes = options.max_bytes.map_or(MAX_BYTES, ByteSize::bytes).min(u64::MAX / 4);
        if max_bytes < MIN_BYTES {
            let what = "is less than the disk space of one entry; expected 4KiB or more";
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

    /// Returns the first setting that differs from another plan of the same directory.
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
    /// Returns a plan for tests, with room for a thousand entries and time for a slow machine.
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

/// Returns the location as an absolute path, so that a program can change its working directory.
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
        .map_err(|it| context.error("location", format!("is not a valid path: {}", it.kind())))?;
    // Removes `.` and repeated slashes, so that two spellings of one directory are one store.
    let path: PathBuf = path.components().collect();
    if path == Path::new("/") {
        let what = "is the root of the file system; expected a directory for this cache alone";
        return Err(context.error("location", what));
    }
    Ok(path)
}
