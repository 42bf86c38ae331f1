//! Full and read-only disks, size limits, and too many open files: a clear error, and recovery
//! without a restart.

use std::{fs, path::Path, process::Command};

use cache_core::{Cache, ErrorKind, secs};

use crate::{
    child::{Child, is_pattern, pattern},
    place::{Place, cache},
};

/// A file system in memory. Unmounted when dropped.
pub(crate) struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// Mounts it. `None` where mounting is not allowed.
    pub(crate) fn new(path: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let options = format!("{options},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path);
        mount.output().is_ok_and(|it| it.status.success()).then_some(Self(path))
    }

    pub(crate) fn again(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

async fn check_all(cache: &Cache, keys: u64) -> u64 {
    let mut found = 0;
    for n in 0..keys {
        let value = cache.bytes().get(&format!("l:{n}")).await.unwrap();
        assert!(value.as_ref().is_none_or(|it| is_pattern(it)), "l:{n}");
        found += u64::from(value.is_some());
    }
    found
}

#[tokio::test]
async fn full_disk_is_an_error_until_there_is_space() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=3M") else {
        eprintln!("mounting is not allowed here; other tests use a limit of file sizes");
        return;
    };
    let cache = cache(mount.0, "");
    let mut full = None;
    for n in 0..60 {
        if let Err(error) =
            cache.bytes().set(&format!("l:{n}"), &pattern(n, 100_000), secs(600)).await
        {
            full = Some(error);
        }
    }
    let error = full.unwrap();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("disk full"), "{error}");
    assert!(check_all(&cache, 60).await > 10, "the written entries stay");

    // The old value of a failed write must not stay.
    cache.bytes().set("l:0", &pattern(0, 10), secs(600)).await.unwrap();
    let filler = place.path.join("filler");
    let _ = fs::write(&filler, vec![0; 3 << 20]);
    assert!(cache.bytes().set("l:0", &pattern(1, 900_000), secs(600)).await.is_err());
    assert_eq!(cache.bytes().get("l:0").await.unwrap(), None);
    fs::remove_file(&filler).unwrap();

    let open = crate::place::cache_by(cache_core::Clock::system(), mount.0, "");
    for n in 0..60 {
        let key = format!("o:{n}");
        open.bytes().set(&key, &pattern(n, 100_000), secs(600)).await.unwrap();
        assert!(open.bytes().get(&key).await.unwrap().is_none_or(|it| is_pattern(&it)));
    }
    cache.clear_store().await.unwrap();
    cache.bytes().set("l:1", &pattern(1, 100_000), secs(600)).await.unwrap();
    assert_eq!(check_all(&cache, 60).await, 1);
}

/// The files of deleted entries are kept as spare files until their space is needed.
#[tokio::test]
async fn deleted_entries_free_space_on_a_full_disk() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=3M") else { return };
    let cache = cache(mount.0, "");
    let mut count = 0;
    while cache.bytes().set(&count.to_string(), &pattern(count, 12_000), secs(600)).await.is_ok() {
        count += 1;
    }
    for n in 0..60 {
        assert!(cache.delete(&n.to_string()).await.unwrap());
    }
    cache.bytes().set("large", &pattern(1, 400_000), secs(600)).await.unwrap();
    assert!(is_pattern(&cache.bytes().get("large").await.unwrap().unwrap()));
}

/// A new folder needs an inode, which a spare file has.
#[tokio::test]
async fn deleted_entries_free_inodes_for_new_folders() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=3M,nr_inodes=60") else { return };
    let cache = cache(mount.0, "");
    cache.set("0", &0, secs(600)).await.unwrap();
    assert!(cache.delete("0").await.unwrap());
    let mut count = 0;
    while cache.set(&count.to_string(), &count, secs(600)).await.is_ok() {
        count += 1;
    }
    for n in 0..count {
        assert!(cache.delete(&n.to_string()).await.unwrap());
    }
    for n in count..count + 10 {
        cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
}

/// A counter is overwritten in its own block.
#[tokio::test]
async fn counter_works_on_a_full_disk() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=2M") else { return };
    let cache = cache(mount.0, "");
    cache.set("n", &1, secs(600)).await.unwrap();
    let _ = fs::write(place.path.join("filler"), vec![0; 3 << 20]);
    assert_eq!(cache.incr("n", 41).await.unwrap(), 42);
    assert!(cache.bytes().set("large", &pattern(1, 100_000), secs(600)).await.is_err());
    assert_eq!(cache.get::<i64>("n").await.unwrap(), Some(42));
}

#[tokio::test]
async fn file_size_limit_is_an_error_and_leaves_no_torn_entry() {
    let place = Place::new();
    // The unit is 512 or 1024 bytes, depending on the shell.
    let shell = "trap '' XFSZ; ulimit -f 60";
    let lines = Child::start_in(shell, "large 20", &place.path, "").all();
    assert!(lines.iter().all(|it| it.contains("file too large")), "{lines:?}");
    let lines = Child::start_in(shell, "fill 20", &place.path, "").all();
    assert!(lines.iter().all(|it| !it.contains("error")), "{lines:?}");
    assert_eq!(check_all(&cache(&place.path, ""), 20).await, 0);
}

/// Without space for a single byte, a failed `set` removes the old value, and a failed `incr` keeps
/// it.
#[tokio::test]
async fn failed_write_leaves_no_stale_value() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.bytes().set("small", &pattern(1, 100), secs(600)).await.unwrap();
    cache.set("counter", &5, secs(600)).await.unwrap();
    for task in ["write 1", "incr 1"] {
        let lines = Child::start_in("trap '' XFSZ; ulimit -f 0", task, &place.path, "").all();
        assert!(lines[0].contains("file too large"), "{lines:?}");
    }
    assert_eq!(cache.bytes().get("small").await.unwrap(), None);
    assert_eq!(cache.get::<i64>("counter").await.unwrap(), Some(5));
}

#[tokio::test]
async fn read_only_disk_allows_reads_and_refuses_writes() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=4M") else { return };
    let first = cache(mount.0, "");
    first.set("damaged", &1, secs(600)).await.unwrap();
    fs::write(place.file(), "harm").unwrap();
    first.set("k", &1, secs(600)).await.unwrap();
    first.set("deleted", &1, secs(600)).await.unwrap();
    drop(first);
    mount.again("ro");
    let cache = cache(mount.0, "");
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(cache.get::<i32>("other").await.unwrap(), None);
    let error = cache.get::<i32>("damaged").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec, "a miss, although it cannot be removed");
    assert!(!cache.has_key("damaged").await.unwrap());
    for error in [
        cache.set("k", &2, secs(600)).await.unwrap_err(),
        cache.incr("k", 1).await.unwrap_err(),
        cache.delete("deleted").await.unwrap_err(),
        cache.clear().await.unwrap_err(),
        cache.check().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("read-only"), "{error}");
    }
    mount.again("rw");
    assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    assert_eq!(cache.get::<i32>("deleted").await.unwrap(), None, "the delete is made up for");
}

/// A spare file still has the content of its deleted entry.
#[tokio::test]
async fn clear_fails_if_it_cannot_delete_spare_files() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=4M") else { return };
    let cache = cache(mount.0, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    assert!(cache.delete("k").await.unwrap());
    cache.close().await.unwrap();
    fs::write(place.path.join("spare/s0123456789abcdef"), "of a killed process").unwrap();
    mount.again("ro");
    let error = cache.clear().await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    mount.again("rw");
    cache.clear().await.unwrap();
    assert!(place.all_files().is_empty());
}

/// Without free descriptors, the store closes those that it keeps for speed.
#[test]
fn store_works_with_few_open_files() {
    let place = Place::new();
    // Enough for the program, but not for all folders.
    let lines = Child::start_in("ulimit -n 40", "fill 300", &place.path, "").all();
    assert!(lines.iter().all(|it| !it.contains("error")), "{lines:?}");
    assert_eq!(place.files().len(), 300);
    // Many calls at once.
    let lines = Child::start_in("ulimit -n 80", "crowd 30", &place.path, "").all();
    assert!(lines.iter().all(|it| !it.contains("error")), "{lines:?}");
}

#[test]
fn too_many_open_files_is_an_error_until_some_are_closed() {
    let place = Place::new();
    let lines = Child::start_in("ulimit -n 60", "hoard 3", &place.path, "").all();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|it| it.contains("too many open files")), "{lines:?}");
}

/// Each key waits for a descriptor; together they wait no longer than the deadline of the batch.
#[test]
fn batch_fails_with_too_many_open_files_within_its_deadline() {
    let place = Place::new();
    let lines = Child::start_in("ulimit -n 60", "hoard_batch 1", &place.path, "").all();
    assert_eq!(lines[0].matches("too many open files").count(), 3, "{lines:?}");
}

/// The entry of a write that stops in the middle of a page is removed.
#[tokio::test]
async fn write_that_is_cut_off_leaves_the_old_value_or_a_miss() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("small", &"old", secs(600)).await.unwrap();
    let lines = Child::start_in("trap '' XFSZ; ulimit -f 1", "grow 1", &place.path, "").all();
    assert!(lines[0].contains("file too large"), "{lines:?}");
    assert!(cache.get::<String>("small").await.unwrap().is_none_or(|it| it == "old"));
}
