//! A page and its parts: where the cache is used.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use cache_core::{Timeout, cache};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::spawn_blocking;

use crate::{census::Census, disk::Disk};

/// Reading every file is slow, and what it tells hardly changes.
pub(crate) const CENSUS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A look at the disk is quick, and soon out of date.
pub(crate) const DISK_LIFETIME: Duration = Duration::from_secs(30);

/// The answer to one visit.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) census: Part<Census>,
    pub(crate) disk: Part<Disk>,
    /// A count that the store could not give is an error, never an invented number; the page can do without.
    pub(crate) visits: cache_core::Result<i64>,
}

/// A part of a page, and how we came by it.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pub(crate) value: T,
    /// Whether this visit did the work.
    pub(crate) loaded: bool,
    pub(crate) took: Duration,
}

pub(crate) async fn visit(folder: &Path) -> Result<Page> {
    // Both at once: the page is there when the slower one is.
    let (census, disk) = tokio::try_join!(
        part("census", folder, CENSUS_LIFETIME, Census::take),
        part("disk", folder, DISK_LIFETIME, Disk::look),
    )?;
    // Counts from 0, in one step, however many visitors there are.
    let visits = cache().incr_or(&key("visits", folder), 1, 0, Timeout::Never).await;
    Ok(Page { census, disk, visits })
}

/// The part from the cache; if it is not there, it is loaded and kept for `lifetime`. Of many who ask at the same
/// time one loads, and the others wait for that load.
async fn part<T>(
    name: &str,
    folder: &Path,
    lifetime: Duration,
    load: fn(&Path) -> io::Result<T>,
) -> cache_core::Result<Part<T>>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let start = Instant::now();
    let mut loaded = false;
    let value = cache()
        .get_or_try_set(&key(name, folder), lifetime, || {
            loaded = true;
            let folder = folder.to_owned();
            // Reading a disk blocks its thread, and this one has other visitors to serve.
            let loading = spawn_blocking(move || load(&folder));
            async { loading.await? }
        })
        .await?;
    Ok(Part { value, loaded, took: start.elapsed() })
}

pub(crate) fn key(part: &str, folder: &Path) -> String {
    format!("{part}:{}", folder.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cache_core::{CACHES, Caches};

    use super::*;
    use crate::open;

    fn loaded(page: &Page) -> (bool, bool) {
        (page.census.loaded, page.disk.loaded)
    }

    /// A folder with one file, and the caches of one of the settings files.
    fn scene(settings: &str) -> (tempfile::TempDir, &'static Caches) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a b.rs"), "fn a() {}\n").unwrap();
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("settings").join(settings);
        (root, open(Some(&settings)).unwrap().leak())
    }

    #[tokio::test]
    async fn each_part_is_loaded_once_and_deleted_alone() {
        let (root, caches) = scene("memory.toml");
        let folder = root.path();
        let scene = async {
            let first = visit(folder).await.unwrap();
            assert_eq!(loaded(&first), (true, true));
            fs::write(folder.join("new.rs"), "").unwrap();
            let second = visit(folder).await.unwrap();
            assert_eq!(loaded(&second), (false, false));
            assert_eq!(second.census.value, first.census.value);
            cache().delete(&key("disk", folder)).await.unwrap();
            let third = visit(folder).await.unwrap();
            assert_eq!(loaded(&third), (false, true));
            assert_eq!(third.disk.value.recent.len(), 2);
            assert_eq!(third.visits.unwrap(), 3);
        };
        CACHES.scope(caches, scene).await;
    }

    #[tokio::test]
    async fn another_settings_file_is_another_store() {
        let (root, caches) = scene("dummy.toml");
        let scene = async {
            for _ in 0..2 {
                assert_eq!(loaded(&visit(root.path()).await.unwrap()), (true, true));
            }
        };
        CACHES.scope(caches, scene).await;
    }

    #[cfg(all(target_os = "linux", feature = "servers"))]
    #[tokio::test]
    async fn what_one_program_has_loaded_is_there_for_the_next() {
        let (redis, memcached) =
            (test_servers::Redis::start().unwrap(), test_servers::Memcached::start().unwrap());
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("cache.db").display().to_string();
        for settings in [
            include_str!("../settings/redis.toml").replace("${REDIS_URL}", &redis.url()),
            include_str!("../settings/memcached.toml")
                .replace("${MEMCACHED_SERVERS}", &memcached.url()),
            include_str!("../settings/db.toml").replace("${CACHE_DB}", &file),
        ] {
            let root = tempfile::tempdir().unwrap();
            for is_first in [true, false] {
                let caches = Caches::from_toml(&settings).unwrap().leak();
                let scene = async {
                    assert_eq!(loaded(&visit(root.path()).await.unwrap()), (is_first, is_first));
                };
                CACHES.scope(caches, scene).await;
            }
        }
    }

    #[cfg(all(unix, feature = "file"))]
    #[tokio::test]
    async fn in_a_directory_what_one_program_has_loaded_is_there_for_the_next() {
        let (root, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settings = include_str!("../settings/file.toml");
        let settings = settings.replace("${CACHE_DIR}", directory.path().to_str().unwrap());
        for is_first in [true, false] {
            let caches = Caches::from_toml(&settings).unwrap().leak();
            let scene = async {
                assert_eq!(loaded(&visit(root.path()).await.unwrap()), (is_first, is_first));
            };
            CACHES.scope(caches, scene).await;
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_an_error_and_not_cached() {
        let (root, caches) = scene("memory.toml");
        let folder = root.path().join("later");
        let scene = async {
            let error = visit(&folder).await.unwrap_err();
            let error = error.downcast::<cache_core::Error>().unwrap();
            let cause = error.loader::<io::Error>().unwrap();
            assert_eq!(cause.kind(), io::ErrorKind::NotFound);
            fs::create_dir(&folder).unwrap();
            assert_eq!(loaded(&visit(&folder).await.unwrap()), (true, true));
        };
        CACHES.scope(caches, scene).await;
    }
}
