//! The file is deleted, replaced or damaged while a store uses it.

use std::{
    ffi::OsString,
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use cache_core::{Cache, ErrorKind, Timeout};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{NO_BREAKER, PATIENT, cache, text, until};

/// A cache on a file with a few entries, some of them only in the WAL.
struct Scene {
    folder: TempDir,
    cache: Cache,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("cache.db");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let cache = cache(&text(&path), &format!("{PATIENT}{NO_BREAKER}")).strict();
        let it = Self { folder, cache };
        it.fill().await;
        it
    }

    async fn fill(&self) {
        for i in 0..200 {
            self.cache.set(&format!("k{i}"), &"x".repeat(500), Timeout::Default).await.unwrap();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sub").join("cache.db")
    }

    /// Returns the file and its companions.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = OsString::from(self.path());
        path.push(suffix);
        path.into()
    }

    /// Checks that the store recovers by itself and that an acknowledged write is on the disk.
    async fn recovers(&self) {
        let key = "recovered";
        until("it works again", async || {
            self.cache.set(key, &1, Timeout::Default).await.is_ok()
                && self.cache.get::<i32>(key).await.is_ok_and(|it| it == Some(1))
                && stored(&self.path(), key)
        })
        .await;
        self.fill().await;
        for i in 0..200 {
            assert!(self.cache.has_key(&format!("k{i}")).await.unwrap(), "k{i}");
        }
        self.cache.check().await.unwrap();
        assert_eq!(integrity(&self.path()), "ok");
    }
}

fn stored(path: &Path, key: &str) -> bool {
    let Ok(db) = Connection::open(path) else { return false };
    let sql = "SELECT 1 FROM cache WHERE key = ?1";
    db.query_row(sql, [format!(":1:{key}")], |_| Ok(())).is_ok()
}

fn integrity(path: &Path) -> String {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn file_deleted_with_its_wal_is_created_again() {
    let scene = Scene::new().await;
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(scene.beside(suffix)).unwrap();
    }
    scene.recovers().await;
}

#[tokio::test]
async fn file_deleted_alone_is_created_again() {
    let scene = Scene::new().await;
    fs::remove_file(scene.path()).unwrap();
    scene.recovers().await;
}

#[tokio::test]
async fn removed_folder_is_an_error_until_it_exists_again() {
    let scene = Scene::new().await;
    let folder = scene.path().parent().unwrap().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    let mut seen = None;
    until("it is seen", async || {
        seen = scene.cache.set("k", &"marked", Timeout::Default).await.err();
        seen.is_some()
    })
    .await;
    let error = seen.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let said = format!("{error}");
    assert!(said.contains("cache.db") && said.contains("folder"), "{said}");
    assert!(!format!("{error} {error:?}").contains("marked"));
    let open = cache(&text(&scene.path()), &format!("{PATIENT}{NO_BREAKER}"));
    open.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(open.get::<i32>("k").await.unwrap(), None, "it fails open");
    fs::create_dir(&folder).unwrap();
    scene.recovers().await;
    until("the other too", async || {
        open.set("k", &1, Timeout::Default).await.unwrap();
        open.get::<i32>("k").await.unwrap() == Some(1)
    })
    .await;
}

/// The WAL of the old file lies beside the new one, and must not be read into it.
#[tokio::test]
async fn replaced_file_is_used() {
    let scene = Scene::new().await;
    let other = scene.folder.path().join("other.db");
    {
        let more = format!("{PATIENT}{NO_BREAKER}");
        let other = cache(&text(&other), &more).strict();
        for i in 0..500 {
            other.set(&format!("other{i}"), &i, Timeout::Default).await.unwrap();
        }
        other.close().await.unwrap();
    }
    fs::rename(&other, scene.path()).unwrap();
    until("the other file is seen", async || {
        scene.cache.get::<i32>("other1").await.is_ok_and(|it| it == Some(1))
    })
    .await;
    for i in 0..500 {
        assert_eq!(scene.cache.get::<i32>(&format!("other{i}")).await.unwrap(), Some(i));
    }
    assert!(!scene.cache.has_key("k1").await.unwrap());
    scene.recovers().await;
}

#[tokio::test]
async fn truncated_file_is_created_again() {
    let scene = Scene::new().await;
    // The WAL was checkpointed into the file.
    Connection::open(scene.path())
        .unwrap()
        .query_row("PRAGMA wal_checkpoint", [], |_| Ok(()))
        .unwrap();
    fs::File::options().write(true).open(scene.path()).unwrap().set_len(0).unwrap();
    scene.recovers().await;
}

#[tokio::test]
async fn corrupt_file_is_an_error_with_advice() {
    let scene = Scene::new().await;
    scene.cache.close().await.unwrap();
    let mut file = fs::File::options().write(true).open(scene.path()).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(len - 4096).unwrap()]).unwrap();
    let error = scene.cache.get::<String>("k1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("corrupt; delete the file"), "{error}");
    assert!(scene.cache.set("k1", &"marked", Timeout::Default).await.is_err());
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(scene.beside(suffix));
    }
    scene.recovers().await;
}

#[tokio::test]
async fn dropped_table_is_created_again_by_any_call() {
    for synchronous in ["normal", "full"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let more = format!(
            "{PATIENT}{NO_BREAKER}[caches.default.options]\nsynchronous = \"{synchronous}\"\n"
        );
        let cache = cache(&text(&path), &more).strict();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        for dropped in
            ["DROP TABLE cache; DROP TABLE cache_meta", "DROP TABLE cache", "DROP TABLE cache_meta"]
        {
            Connection::open(&path).unwrap().execute_batch(dropped).unwrap();
            until("it is created again", async || {
                cache.set("k", &1, Timeout::Default).await.is_ok()
            })
            .await;
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "{dropped}");
            Connection::open(&path).unwrap().execute_batch(dropped).unwrap();
            until("a read makes it, too", async || cache.get::<i32>("k").await.is_ok()).await;
            until("and so does a write", async || {
                cache.set("k", &1, Timeout::Default).await.is_ok()
            })
            .await;
            Connection::open(&path)
                .unwrap()
                .execute_batch(
                    "ALTER TABLE cache ADD COLUMN note TEXT; ALTER TABLE cache DROP COLUMN note",
                )
                .unwrap();
            cache.set("k", &2, Timeout::Default).await.unwrap();
        }
    }
}

/// Old connections read a WAL that new connections truncate. Under concurrent load this must not
/// end the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_deleted_repeatedly_under_load_blocks_no_call() {
    let scene = Arc::new(Scene::new().await);
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let task = |i: u64| {
        let (scene, is_over, done) = (scene.clone(), is_over.clone(), done.clone());
        tokio::spawn(async move {
            let mut n = i;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let key = format!("k{}", n % 200);
                let res = match n % 3 {
                    0 => scene.cache.set(&key, &"x".repeat(500), Timeout::Default).await.is_ok(),
                    _ => scene.cache.get::<String>(&key).await.is_ok(),
                };
                done.fetch_add(u64::from(res), Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    let tasks: Vec<_> = (0..8).map(task).collect();
    for round in 0..12 {
        let before = done.load(Ordering::Relaxed);
        until("calls succeed", async || done.load(Ordering::Relaxed) > before + 500).await;
        let suffixes = if round % 2 == 0 { &["", "-wal", "-shm"][..] } else { &[""] };
        for suffix in suffixes {
            let _ = fs::remove_file(scene.beside(suffix));
        }
        until("it is there again", async || scene.path().exists()).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for it in tasks {
        it.await.unwrap();
    }
    scene.recovers().await;
}
