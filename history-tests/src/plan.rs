//! The orders of a worker, and the objects that its clients share.

use std::path::PathBuf;

use cache_core::Cache;
use serde::{Deserialize, Serialize};

use crate::{planted::Bug, record::Recorder, source::Source};

/// The orders of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The settings file: the caches `default`, `fenced`, `grouped` and `revised`.
    pub(crate) settings: String,
    /// The file of the history.
    pub(crate) history: PathBuf,
    /// The folder of the source.
    pub(crate) source: PathBuf,
    pub(crate) seed: u64,
    pub(crate) process: u32,
    /// The clients of the worker, which call at the same time.
    pub(crate) clients: u32,
    /// The time at which the run began; keys change with the time since then.
    pub(crate) start: u64,
    /// The time at which the worker ends.
    pub(crate) until: u64,
    /// The calls of a client after which it ends.
    pub(crate) calls: u64,
    /// The lifetime of entries that expire during the run, in milliseconds.
    pub(crate) lifetime: u64,
    /// The bug, for those that are in the calls and not in the store.
    pub(crate) bug: Option<Bug>,
    /// Whether the caches have a near tier.
    pub(crate) has_near: bool,
    /// The counters to read instead of anything else.
    pub(crate) counters: Vec<String>,
}

/// The objects that the clients of a worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) recorder: Recorder,
    pub(crate) source: Source,
    /// A strict handle.
    pub(crate) plain: Cache,
    /// A cache with fenced loads, which fails open.
    pub(crate) fenced: Cache,
    /// A strict handle of a cache with tags, namespaces, a grace and fenced loads.
    pub(crate) grouped: Cache,
    /// A strict handle of a cache with revisions and fenced loads.
    pub(crate) revised: Cache,
}
