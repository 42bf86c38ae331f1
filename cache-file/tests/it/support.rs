//! Settings and directories for the tests.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{Backend, Cache, Caches, Clock};
use cache_file as _;
use tempfile::TempDir;

/// A directory that is not there yet, in one that goes with the test.
pub(crate) struct Place {
    _outer: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        Self { path: outer.path().join("cache"), _outer: outer }
    }

    /// Its entries' files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(&self.path).unwrap().map(|it| it.unwrap().path());
        let folders = folders.filter(|it| it.is_dir());
        folders.flat_map(|it| std::fs::read_dir(it).unwrap()).map(|it| it.unwrap().path()).collect()
    }
}

/// Settings of a cache there. Slow machines are slow, not wrong.
pub(crate) fn toml(path: &Path, options: &str) -> String {
    format!(
        "[caches.default]\nbackend = 'file'\nlocation = '{}'\ndeadline = '20s'\n\
         [caches.default.options]\n{options}",
        path.display()
    )
}

pub(crate) fn cache_by(clock: Clock, path: &Path, options: &str) -> Cache {
    let caches = Caches::builder().clock(clock).toml(&toml(path, options)).unwrap().build();
    caches.unwrap().get("default").unwrap().clone()
}

/// One that tells every error.
pub(crate) fn cache(path: &Path, options: &str) -> Cache {
    cache_by(Clock::system(), path, options).strict()
}

/// The store without the facade.
pub(crate) fn store(path: &Path, options: &str) -> Arc<dyn Backend> {
    Arc::clone(cache(path, options).backend())
}
