//! A page, whose parts come from the cache.

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

/// Long, because a census is slow and its numbers hardly change.
pub(crate) const CENSUS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Short, because the state of the disk is quick to read and soon out of date.
pub(crate) const DISK_LIFETIME: Duration = Duration::from_secs(30);

/// The result of one visit.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) census: Part<Census>,
    pub(crate) disk: Part<Disk>,
    /// An error if the store could not count, because a counter never invents a number. The page is
    /// complete without this count.
    pub(crate) visits: cache_core::Result<i64>,
}

/// A part of a page, and whether it was loaded.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pub(crate) value: T,
    /// Whether this visit did the work.
    pub(crate) loaded: bool,
    pub(crate) took: Duration,
}

// ANCHOR: recipe
pub(crate) async fn visit(folder: &Path) -> Result<Page> {
    // Both parts at once: the page takes as long as the slower part.
    let (census, disk) = tokio::try_join!(
        part("census", folder, CENSUS_LIFETIME, Census::take),
        part("disk", folder, DISK_LIFETIME, Disk::read),
    )?;
    // Counts from 0, and concurrent visits are all counted.
    let visits = cache().incr_or(&key("visits", folder), 1, 0, Timeout::Never).await;
    Ok(Page { census, disk, visits })
}

/// Returns the part from the cache. If the cache does not have the part, loads and stores it for
/// `lifetime`: one of several concurrent visitors loads, and the others wait for that load.
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
            // Reading a disk blocks a thread, and this thread must serve other visitors.
            let loading = spawn_blocking(move || load(&folder));
            async { loading.await? }
        })
        .await?;
    Ok(Part { value, loaded, took: start.elapsed() })
}

pub(crate) fn key(part: &str, folder: &Path) -> String {
    format!("{part}:{}", folder.display())
}
// ANCHOR_END: recipe

#[cfg(test)]
mod tests {
    use std::fs;

    use cache_core::{CACHES, Caches};

    use super::*;
    use crate::open;

    fn loaded(page: &Page) -> (bool, bool) {
        (page.census.loaded, page.disk.loaded)
    }

    /// Returns a folder with one file, and the caches of a settings file.
    fn scene(settings: &str) -> (tempfile::TempDir, &'static Caches) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a b.rs"), "fn a() {}\n").unwrap();
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("settings").join(settings);
        (root, open(Some(&settings)).unwrap().leak())
    }

    /// Returns the settings of a file, for a machine on which a store may be slow: a part that it
    /// does not return in time is loaded.
    #[cfg(any(all(unix, feature = "file"), all(target_os = "linux", feature = "servers")))]
    fn patient(settings: &str) -> String {
        format!("{settings}\ndeadline = '60s'\nconnect_deadline = '60s'\n")
    }

    #[tokio::test]
    async fn part_is_loaded_once_and_again_after_its_delete() {
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
    async fn settings_file_with_the_dummy_store_loads_every_time() {
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
    async fn part_in_a_shared_store_is_not_loaded_by_the_next_program() {
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
                let caches = Caches::from_toml(&patient(&settings)).unwrap().leak();
                let scene = async {
                    assert_eq!(loaded(&visit(root.path()).await.unwrap()), (is_first, is_first));
                };
                CACHES.scope(caches, scene).await;
            }
        }
    }

    #[cfg(all(unix, feature = "file"))]
    #[tokio::test]
    async fn part_in_a_directory_is_not_loaded_by_the_next_program() {
        let (root, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settings = include_str!("../settings/file.toml");
        let settings = settings.replace("${CACHE_DIR}", directory.path().to_str().unwrap());
        for is_first in [true, false] {
            let caches = Caches::from_toml(&patient(&settings)).unwrap().leak();
            let scene = async {
                assert_eq!(loaded(&visit(root.path()).await.unwrap()), (is_first, is_first));
            };
            CACHES.scope(caches, scene).await;
        }
    }

    #[tokio::test]
    async fn missing_folder_is_an_error_and_is_not_cached() {
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
