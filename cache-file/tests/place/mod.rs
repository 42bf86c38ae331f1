//! Settings and directories for the tests.
#![allow(dead_code, reason = "each program of tests uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{Cache, Caches, Clock, Result, store::Backend};
use cache_file as _;
use tempfile::TempDir;

/// A directory that is not there yet, in one that goes with the test.
pub(crate) struct Place {
    outer: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        Self { path: outer.path().join("cache"), outer }
    }

    /// What is around it.
    pub(crate) fn outer(&self) -> &Path {
        self.outer.path()
    }

    /// Its entries' files, and what others put beside them.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let is_spare = |it: &PathBuf| it.parent().unwrap().ends_with("spare");
        self.all_files().into_iter().filter(|it| !is_spare(it)).collect()
    }

    /// And those that wait for an entry.
    pub(crate) fn all_files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(&self.path).unwrap().map(|it| it.unwrap().path());
        let folders = folders.filter(|it| it.is_dir());
        folders.flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path()).collect()
    }

    /// The file of the only entry.
    pub(crate) fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
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

pub(crate) fn of_toml(clock: Clock, toml: &str) -> Result<Cache> {
    Ok(Caches::builder().clock(clock).toml(toml)?.build()?.get("default")?.clone())
}

pub(crate) fn cache_by(clock: Clock, path: &Path, options: &str) -> Cache {
    of_toml(clock, &toml(path, options)).unwrap()
}

/// One that tells every error.
pub(crate) fn cache(path: &Path, options: &str) -> Cache {
    cache_by(Clock::system(), path, options).strict()
}

/// The store without the facade.
pub(crate) fn store(path: &Path, options: &str) -> Arc<dyn Backend> {
    Arc::clone(cache(path, options).backend())
}
