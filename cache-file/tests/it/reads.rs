//! Reads stay on the caller's thread if the system has the files in memory.

use std::{
    fs::File,
    io::IoSliceMut,
    path::Path,
    pin::pin,
    task::{Context, Waker},
};

use bytes::Bytes;
use cache_core::{Cache, secs};
use rustix::{
    fs::{Advice, fadvise},
    io::{ReadWriteFlags, preadv2},
};

use crate::place::{Place, cache};

/// Returns whether a read finished on this thread.
fn is_at_once<T>(read: impl Future<Output = T>) -> bool {
    pin!(read).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Returns whether kernel and file system can read from memory alone.
fn can_read_nowait(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    preadv2(&file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT).is_ok()
}

/// Returns a cache that has read its entry `k`. `None` where reads always change the thread.
async fn cache_with_an_entry(place: &Place, options: &str) -> Option<Cache> {
    let cache = cache(&place.path, options);
    cache.set("k", &1, secs(600)).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
    if !can_read_nowait(&place.file()) {
        eprintln!("the file system of temporary directories has no reads from memory");
        return None;
    }
    Some(cache)
}

#[tokio::test]
async fn entry_in_memory_is_read_on_the_callers_thread() {
    let place = Place::new();
    let Some(cache) = cache_with_an_entry(&place, "").await else { return };
    for _ in 0..100 {
        assert!(is_at_once(cache.get::<i32>("k")));
    }
    assert!(is_at_once(cache.bytes().get::<Bytes>("k")));
    assert!(is_at_once(cache.get_many::<i32, _>(["k"])));
    assert!(is_at_once(cache.has_key("k")));
    assert!(is_at_once(cache.ttl("k")));
    cache.set("k", &2, secs(600)).await.unwrap();
    assert!(is_at_once(cache.get::<i32>("k")), "the write leaves it in memory");
    assert_eq!(cache.get("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn entry_outside_of_memory_is_read_from_the_disk() {
    let place = Place::new();
    let Some(cache) = cache_with_an_entry(&place, "").await else { return };
    let file = File::open(place.file()).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
    assert!(is_at_once(cache.get::<i32>("k")), "the thread has read it into memory");
}

#[tokio::test]
async fn direct_reads_never_change_the_thread() {
    let place = Place::new();
    let Some(cache) = cache_with_an_entry(&place, "direct_reads = true").await else { return };
    let file = File::open(place.file()).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    assert!(is_at_once(cache.get::<i32>("k")));
}
