//! Mistakes that several cache libraries made.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use cache_core::store::{Expiry, SetMode};
use rustix::fs::{FlockOperation, flock};

use crate::place::{Place, store};

/// Stores a value in a directory of its own, and returns the file of the entry.
async fn file_of(key: &str, value: &'static str, place: &Place) -> PathBuf {
    let store = store(&place.path, "");
    store.set(key, value.into(), Expiry::Never, SetMode::Always).await.unwrap();
    place.file()
}

/// Returns the same path in another directory.
fn in_directory(file: &Path, from: &Place, to: &Place) -> PathBuf {
    to.path.join(file.strip_prefix(&from.path).unwrap())
}

/// A trap: the hash of a key is taken for the key. Here, the file of `ours` has the entry of
/// another key, as after a collision.
#[tokio::test]
async fn hash_collision_is_a_miss_and_the_other_entry_stays() {
    for options in ["", "direct_reads = true"] {
        let (place, theirs, ours) = (Place::new(), Place::new(), Place::new());
        let other = file_of(":1:them", "other", &theirs).await;
        let path = in_directory(&file_of(":1:ours", "1", &ours).await, &ours, &place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&other, &path).unwrap();
        let (key, never) = (":1:ours", Expiry::Never);
        let store = store(&place.path, options);
        assert_eq!(store.get(key).await.unwrap(), None);
        assert!(store.get_entry(key).await.unwrap().is_none());
        assert!(!store.has(key).await.unwrap() && store.ttl(key).await.unwrap().is_none());
        assert!(!store.touch(key, never).await.unwrap());
        assert_eq!(store.incr(key, 1, None).await.unwrap(), None);
        assert!(!store.set(key, "2".into(), never, SetMode::IfPresent).await.unwrap());
        assert!(store.take(key).await.unwrap().is_none() && !store.delete(key).await.unwrap());
        assert_eq!(fs::read(&path).unwrap(), fs::read(&other).unwrap(), "changed by a call");
        // A write replaces it: of two keys with one hash, the store has the last one.
        assert!(store.set(key, "3".into(), never, SetMode::IfAbsent).await.unwrap());
        assert_eq!(store.get(key).await.unwrap().as_deref(), Some(&b"3"[..]));
    }
}

/// A trap: a writer opens a file, waits for its lock, and changes a file that another writer has
/// replaced meanwhile.
#[tokio::test]
async fn writer_that_waited_for_the_lock_changes_the_file_that_is_there_then() {
    for _ in 0..10 {
        let (place, newer) = (Place::new(), Place::new());
        let file = file_of(":1:n", "1", &place).await;
        let replacement = file_of(":1:n", "41", &newer).await;
        let lock = File::open(file.parent().unwrap()).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let store = store(&place.path, "");
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.incr(":1:n", 1, None).await }
        });
        // sleeps: nothing shows that a writer waits for a lock.
        tokio::time::sleep(Duration::from_millis(10)).await;
        fs::rename(&replacement, &file).unwrap();
        flock(&lock, FlockOperation::Unlock).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Some(42));
        assert_eq!(store.get(":1:n").await.unwrap().as_deref(), Some(&b"42"[..]));
    }
}
