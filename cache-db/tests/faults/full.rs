//! A full disk.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use cache_core::{Cache, Error, ErrorKind, Timeout};

use crate::{
    child::{is_child_on_a_small_disk, is_child_with_short_files},
    support::{NO_BREAKER, PATIENT, cache, text},
};

/// Fills the disk until it is dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn new(folder: &Path) -> Self {
        let path = folder.join("ballast");
        let mut file = File::create(&path).unwrap();
        for len in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; len]).is_ok() {}
        }
        Self(path)
    }

    /// Frees this much of the room.
    fn shrink(&self, bytes: u64) {
        let file = File::options().write(true).open(&self.0).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs the body of a test in a process with a disk of its own that no other process sees.
fn on_a_small_disk(name: &str, test: impl AsyncFnOnce(&Path)) {
    let mounted = tempfile::tempdir().unwrap();
    if is_child_on_a_small_disk(name, mounted.path(), "2m") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = std::env::current_dir().unwrap();
        runtime.block_on(test(&folder));
    }
}

fn strict(folder: &Path) -> Cache {
    let more = format!("{PATIENT}{NO_BREAKER}");
    cache(&text(&folder.join("cache.db")), &more).strict()
}

/// Returns the plain text that another connection reads under a key.
fn stored(folder: &Path, key: &str) -> Option<String> {
    let db = rusqlite::Connection::open(folder.join("cache.db")).unwrap();
    let sql = "SELECT CAST(value AS TEXT) FROM cache WHERE key = ?1";
    db.query_row(sql, [format!(":1:{key}")], |row| row.get(0)).ok()
}

/// A reader of what is stored now. While it is open, the log is not emptied and each write makes it
/// longer, however often the maintenance thread has run before the disk is full.
fn reader(folder: &Path) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(folder.join("cache.db")).unwrap();
    db.execute_batch("BEGIN; SELECT count(*) FROM cache").unwrap();
    db
}

fn is_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let text = error.to_string();
    assert!(text.contains("the disk") && text.contains("cache.db"), "{text}");
}

#[test]
fn acknowledged_count_is_on_the_disk() {
    on_a_small_disk("full::acknowledged_count_is_on_the_disk", async |folder| {
        let cache = strict(folder);
        let mut count = cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
        let _reader = reader(folder);
        let ballast = Ballast::new(folder);
        ballast.shrink(128 * 1024);
        let error = loop {
            match cache.incr("n", 1).await {
                Ok(it) => count = it,
                Err(error) => break error,
            }
            assert_eq!(stored(folder, "n"), Some(count.to_string()), "it was answered");
        };
        is_full(&error);
        drop(ballast);
        assert_eq!(cache.incr("n", 1).await.unwrap(), count + 1, "there is room again");
        assert_eq!(stored(folder, "n"), Some((count + 1).to_string()));
    });
}

#[test]
fn popped_or_deleted_entry_is_gone_from_the_disk() {
    on_a_small_disk("full::popped_or_deleted_entry_is_gone_from_the_disk", async |folder| {
        let cache = strict(folder);
        let keys: Vec<_> = (0..40).map(|i| format!("k{i}")).collect();
        for key in &keys {
            cache.set(key, &1, Timeout::Default).await.unwrap();
        }
        let _reader = reader(folder);
        let ballast = Ballast::new(folder);
        // Enough for some of them, and for less than all: each writes several pages.
        ballast.shrink(128 * 1024);
        let (mut done, mut failed) = (0, 0);
        for (i, key) in keys.iter().enumerate() {
            let gone = match i % 2 {
                0 => cache.pop::<i32>(key).await.map(|it| it.is_some()),
                _ => cache.delete(key).await,
            };
            match gone {
                Ok(gone) => {
                    assert_eq!((gone, stored(folder, key)), (true, None), "{key}");
                    done += 1;
                }
                Err(error) => {
                    is_full(&error);
                    assert!(stored(folder, key).is_some(), "{key} was not removed");
                    failed += 1;
                }
            }
        }
        assert!(done > 0 && failed > 0, "{done} done, {failed} failed");
    });
}

/// A failed batch must not leave an open transaction, in which later writes would never be
/// committed.
#[test]
fn writes_after_a_failed_batch_are_kept() {
    on_a_small_disk("full::writes_after_a_failed_batch_are_kept", async |folder| {
        let cache = strict(folder);
        cache.set("before", &1, Timeout::Default).await.unwrap();
        let ballast = Ballast::new(folder);
        let items: Vec<_> = (0..100).map(|i| (format!("k{i}"), "x".repeat(1000))).collect();
        let failed =
            cache.set_many(items.iter().map(|it| (&it.0, &it.1)), Timeout::Default).await.unwrap();
        assert_eq!(failed.len(), 100);
        for it in &failed {
            is_full(&it.error);
        }
        drop(ballast);
        for i in 0..10 {
            let key = format!("after{i}");
            cache.set(&key, &i, Timeout::Default).await.unwrap();
            assert_eq!(stored(folder, &key), Some(i.to_string()), "{key} was answered");
        }
        assert_eq!(cache.get::<i32>("before").await.unwrap(), Some(1));
    });
}

#[test]
fn full_disk_fails_open_and_reads_work() {
    on_a_small_disk("full::full_disk_fails_open_and_reads_work", async |folder| {
        let strict = strict(folder);
        let cache = cache(&text(&folder.join("cache.db")), &format!("{PATIENT}{NO_BREAKER}"));
        strict.set("k", &1, Timeout::Default).await.unwrap();
        let ballast = Ballast::new(folder);
        let large = "x".repeat(100_000);
        let error = strict.set("large", &large, Timeout::Default).await.unwrap_err();
        is_full(&error);
        assert!(!format!("{error:?}").contains("xxxx"));
        cache.set("large", &large, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<String>("large").await.unwrap(), None);
        assert_eq!(strict.get::<i32>("k").await.unwrap(), Some(1));
        drop(ballast);
        strict.set("large", &large, Timeout::Default).await.unwrap();
        assert_eq!(strict.get::<String>("large").await.unwrap(), Some(large));
    });
}

/// The part that can be tested where no disk can be mounted.
#[test]
fn file_size_limit_is_an_error_and_acknowledged_writes_stay() {
    let name = "full::file_size_limit_is_an_error_and_acknowledged_writes_stay";
    if !is_child_with_short_files(name, 1_000_000) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = strict(folder.path());
        let mut kept = 0;
        let error = loop {
            match cache.set(&format!("k{kept}"), &"x".repeat(10_000), Timeout::Default).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        is_full(&error);
        assert!(kept > 10, "{kept}");
        for i in 0..kept {
            let found = cache.get::<String>(&format!("k{i}")).await.unwrap();
            assert_eq!(found.map(|it| it.len()), Some(10_000), "k{i} of {kept}");
        }
    });
}

fn log_len(folder: &Path) -> u64 {
    fs::metadata(folder.join("cache.db-wal")).map_or(0, |it| it.len())
}

/// The disk has room for forty such tables.
#[test]
fn wal_of_a_small_table_does_not_fill_the_disk() {
    let mounted = tempfile::tempdir().unwrap();
    let name = "full::wal_of_a_small_table_does_not_fill_the_disk";
    if !is_child_on_a_small_disk(name, mounted.path(), "20m") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = std::env::current_dir().unwrap();
        let options = "[caches.default.options]\nmax_bytes = \"512KiB\"\n";
        let more = format!("{PATIENT}{NO_BREAKER}{options}");
        let cache = cache(&text(&folder.join("cache.db")), &more).strict();
        let mut longest = 0;
        for i in 0..4000 {
            cache.set(&format!("k{i}"), &"x".repeat(4000), Timeout::Default).await.unwrap();
            longest = longest.max(log_len(&folder));
        }
        assert!(longest < 8 << 20, "the log had {longest} bytes");
        let items: Vec<_> = (0..2000).map(|i| (format!("m{i}"), "x".repeat(4000))).collect();
        let failed =
            cache.set_many(items.iter().map(|it| (&it.0, &it.1)), Timeout::Default).await.unwrap();
        assert!(failed.is_empty());
        cache.clear().await.unwrap();
        cache.close().await.unwrap();
    });
}

/// A reader of another process keeps the WAL growing until the disk is full. When the reader ends,
/// nothing else is needed.
#[test]
fn disk_filled_by_the_wal_is_freed_when_the_blocking_reader_ends() {
    let mounted = tempfile::tempdir().unwrap();
    let name = "full::disk_filled_by_the_wal_is_freed_when_the_blocking_reader_ends";
    if !is_child_on_a_small_disk(name, mounted.path(), "12m") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = std::env::current_dir().unwrap();
        let cache = strict(&folder);
        let keys: Vec<_> = (0..50).map(|i| format!("k{i}")).collect();
        for key in &keys {
            cache.set(key, &"x".repeat(10_000), Timeout::Default).await.unwrap();
        }
        cache.close().await.unwrap();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        let reader = reader(&folder);
        let mut i = 0;
        let error = loop {
            i += 1;
            let value = i.to_string().repeat(2000);
            if let Err(error) = cache.set(&keys[i % 50], &value, Timeout::Default).await {
                break error;
            }
            assert!(i < 100_000);
        };
        is_full(&error);
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "reads go on");
        cache.close().await.unwrap();
        drop(reader);
        for key in &keys {
            cache.delete(key).await.unwrap();
        }
        cache.set("k", &2, Timeout::Default).await.unwrap();
        assert_eq!(stored(&folder, "k"), Some("2".into()));
        cache.clear().await.unwrap();
        cache.close().await.unwrap();
        assert!(log_len(&folder) < 2 << 20);
    });
}

/// Other programs use all the remaining room; the room of the WAL can be used again.
#[test]
fn entries_can_be_deleted_on_a_full_disk_if_the_wal_can_be_checkpointed() {
    let mounted = tempfile::tempdir().unwrap();
    let name = "full::entries_can_be_deleted_on_a_full_disk_if_the_wal_can_be_checkpointed";
    if !is_child_on_a_small_disk(name, mounted.path(), "8m") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = std::env::current_dir().unwrap();
        let cache = strict(&folder);
        for round in 0..2 {
            for i in 0..50 {
                cache
                    .set(&format!("k{i}"), &format!("{round}").repeat(10_000), Timeout::Default)
                    .await
                    .unwrap();
            }
            if round == 0 {
                // Everything is in the file now, which need not grow for later writes.
                cache.close().await.unwrap();
            }
        }
        let _ballast = Ballast::new(&folder);
        for i in 0..50 {
            cache.delete(&format!("k{i}")).await.unwrap();
        }
        cache.clear().await.unwrap();
        cache.close().await.unwrap();
    });
}
