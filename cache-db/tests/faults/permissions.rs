//! File permissions: only the owner can read the database, and no other user can plant one.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use cache_core::{Error, ErrorKind, Timeout};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    child::is_child,
    support::{NO_BREAKER, PATIENT, cache, text},
};

/// A user id without an account on the machine.
const OTHER: u32 = 12_345;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn strict(path: &Path) -> cache_core::Cache {
    cache(&text(path), &format!("{PATIENT}{NO_BREAKER}")).strict()
}

async fn refused(path: &Path, advice: &str) -> Error {
    let cache = strict(path);
    let error = cache.set("k", &"marked", Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
    assert!(!format!("{error} {error:?}").contains("marked"));
    assert!(cache.get::<String>("k").await.is_err());
    assert!(cache.check().await.is_err());
    error
}

/// Creates a database with a store, closes it, and returns its folder.
async fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let cache = strict(&path);
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache.close().await.unwrap();
    (folder, path)
}

#[test]
fn database_wal_and_shared_memory_are_0600_for_every_umask() {
    const TEST: &str = "permissions::database_wal_and_shared_memory_are_0600_for_every_umask";
    for umask in ["000", "022", "077", "777"] {
        let script = format!("umask {umask} && exec \"$0\" \"$@\"");
        if !is_child(TEST, &["sh", "-c", &script]) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o700);
        let path = folder.path().join("cache.db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = strict(&path);
            cache.set("k", &1, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        });
        let files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        return;
    }
}

#[tokio::test]
async fn files_readable_by_others_become_private() {
    let (folder, path) = made().await;
    for suffix in ["", "-wal", "-shm"] {
        set_mode(&folder.path().join(format!("cache.db{suffix}")), 0o644);
    }
    let cache = strict(&path);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&folder.path().join(format!("cache.db{suffix}"))), 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn read_only_file_of_the_owner_stays_read_only() {
    let (_folder, path) = made().await;
    set_mode(&path, 0o444);
    // root can write it anyway
    let _ = strict(&path).get::<i32>("k").await;
    assert_eq!(mode(&path), 0o400);
}

#[tokio::test]
async fn files_writable_by_others_are_refused() {
    for suffix in ["", "-wal", "-shm"] {
        let (folder, path) = made().await;
        let file = folder.path().join(format!("cache.db{suffix}"));
        set_mode(&file, 0o666);
        refused(&path, "chmod go-w").await;
        set_mode(&file, 0o600);
        assert_eq!(strict(&path).get::<i32>("k").await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn folder_writable_by_others_is_refused() {
    for bad in [0o777, 0o1777, 0o770, 0o702] {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        set_mode(&inner, bad);
        refused(&inner.join("cache.db"), "chmod go-w").await;
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0, "{bad:o}");
        set_mode(&inner, 0o755);
        strict(&inner.join("cache.db")).set("k", &1, Timeout::Default).await.unwrap();
    }
}

/// Only root can give files away.
#[tokio::test]
async fn folders_and_files_of_another_user_are_refused() {
    for name in ["", "cache.db", "cache.db-wal", "cache.db-shm"] {
        let (folder, path) = made().await;
        if chown(folder.path().join(name), Some(OTHER), None).is_err() {
            return;
        }
        refused(&path, "another user").await;
    }
}

#[tokio::test]
async fn links_are_refused_and_their_targets_untouched() {
    for suffix in ["", "-wal", "-shm"] {
        let (folder, path) = made().await;
        let file = folder.path().join(format!("cache.db{suffix}"));
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        fs::rename(&file, &target).unwrap();
        symlink(&target, &file).unwrap();
        let before = fs::read(&target).unwrap();
        refused(&path, "link").await;
        assert_eq!(fs::read(&target).unwrap(), before, "{suffix}");
        fs::remove_file(&target).unwrap();
        refused(&path, "link").await;
        assert!(!target.exists(), "no file is made through a link");
    }
}

/// Users may do so in their home: the folder is a link, but the file is not.
#[tokio::test]
async fn folder_may_be_reached_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    set_mode(&folder.path().join("real"), 0o755);
    symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    strict(&folder.path().join("link/cache.db")).set("k", &1, Timeout::Default).await.unwrap();
    assert!(folder.path().join("real/cache.db").exists());
}

#[tokio::test]
async fn database_replaced_by_a_link_at_run_time_is_refused() {
    let (folder, path) = made().await;
    let cache = strict(&path);
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let target = folder.path().join("target");
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    crate::support::until("it is seen", async || {
        cache.get::<i32>("k").await.is_err_and(|it| it.to_string().contains("link"))
    })
    .await;
}

/// Triggers that copy or change values, and views in place of tables.
#[tokio::test]
async fn foreign_triggers_and_views_are_refused() {
    for sql in [
        "CREATE TABLE stolen (value);
         CREATE TRIGGER thief AFTER INSERT ON cache BEGIN INSERT INTO stolen VALUES (NEW.value); END",
        "CREATE TRIGGER forger AFTER UPDATE ON cache WHEN NEW.value <> 'x' BEGIN
         UPDATE cache SET value = 'x'; END",
        "CREATE TRIGGER counter AFTER UPDATE ON cache_meta BEGIN DELETE FROM cache; END",
        "DROP TRIGGER cache_added; CREATE TABLE stolen (value);
         CREATE TRIGGER cache_added AFTER INSERT ON cache BEGIN INSERT INTO stolen VALUES (NEW.value); END",
        "ALTER TABLE cache RENAME TO real; CREATE VIEW cache AS SELECT * FROM real",
        "ALTER TABLE cache_meta RENAME TO real; CREATE VIEW cache_meta AS SELECT * FROM real",
    ] {
        let (_folder, path) = made().await;
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let cache = strict(&path);
        let error = cache.set("k", &"marked", Timeout::Default).await.unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Backend, "{sql}: {said}");
        assert!(said.contains("another program") || said.contains("trigger"), "{sql}: {said}");
    }
}
