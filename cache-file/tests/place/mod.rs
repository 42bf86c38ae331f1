//! Temporary directories and caches for the tests.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use cache_core::{Cache, Caches, Clock, Result, store::Backend, testing::FakeClock};
use cache_file as _;
use tempfile::TempDir;

/// The path of a directory that does not exist yet, in one that is deleted after the test.
pub(crate) struct Place {
    outer: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    /// In a tmpfs, if the system has one at the usual place: there, all reads run on threads.
    pub(crate) fn in_tmpfs() -> Self {
        Self::in_directory(
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
        )
    }

    fn in_directory(outer: TempDir) -> Self {
        Self { path: outer.path().join("cache"), outer }
    }

    /// Returns the directory around the store's.
    pub(crate) fn outer(&self) -> &Path {
        self.outer.path()
    }

    /// Lists all files in the folders, without spare files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let is_spare = |it: &PathBuf| it.parent().unwrap().ends_with("spare");
        self.all_files().into_iter().filter(|it| !is_spare(it)).collect()
    }

    /// Lists all files in the folders, with spare files.
    pub(crate) fn all_files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(&self.path).unwrap().map(|it| it.unwrap().path());
        let folders = folders.filter(|it| it.is_dir());
        folders.flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path()).collect()
    }

    /// Returns the file of the only entry.
    pub(crate) fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

/// Returns the settings of a cache, with a deadline for slow machines.
pub(crate) fn toml(path: &Path, options: &str) -> String {
    format!(
        "[caches.default]\nbackend = 'file'\nlocation = '{}'\ndeadline = '20s'\n\
         [caches.default.options]\n{options}",
        path.display()
    )
}

pub(crate) fn of_toml(clock: Clock, toml: &str) -> Result<Cache> {
    Ok(Caches::builder().clock(clock).toml(toml)?.build()?.get("default")?.clone())
}

pub(crate) fn cache_by(clock: Clock, path: &Path, options: &str) -> Cache {
    of_toml(clock, &toml(path, options)).unwrap()
}

/// Returns a clock that stands still, beside caches with the clock of the machine. By such a clock,
/// no deadline of the facade ends a call: the store itself does, and its error gives the reason.
pub(crate) fn still_clock() -> FakeClock {
    let clock = FakeClock::new();
    clock.set_wall(SystemTime::now());
    clock
}

/// Returns a cache that returns every error.
pub(crate) fn cache(path: &Path, options: &str) -> Cache {
    cache_by(Clock::system(), path, options).strict()
}

/// Returns the store of a cache.
pub(crate) fn store(path: &Path, options: &str) -> Arc<dyn Backend> {
    Arc::clone(cache(path, options).backend())
}
