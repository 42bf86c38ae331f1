//! The directory is deleted or moved while it is in use.

use std::{fs, time::Duration};

use cache_core::secs;

use crate::place::{Place, cache};

#[tokio::test]
async fn deleted_directory_is_created_by_the_next_write() {
    let place = Place::new();
    let one = cache(&place.path, "");
    let other = cache(&place.path, "");
    for n in 0..10 {
        for key in ["a", "b", "c"] {
            one.set(key, &n, secs(600)).await.unwrap();
            assert_eq!(other.get::<i32>(key).await.unwrap(), Some(n), "both use the new directory");
        }
        fs::remove_dir_all(&place.path).unwrap();
        assert_eq!(one.get::<i32>("a").await.unwrap(), None);
        match n % 4 {
            0 => assert_eq!(
                one.incr_or("i", 1, n.into(), secs(600)).await.unwrap(),
                i64::from(n) + 1
            ),
            1 => assert!(one.add("a", &n, secs(600)).await.unwrap()),
            2 => assert!(!one.touch("a", secs(600)).await.unwrap()),
            _ => one.clear().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn deleted_folder_is_created_by_the_next_write() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    fs::remove_dir_all(place.file().parent().unwrap()).unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    cache.set("k", &2, secs(600)).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2));
    assert!(place.file().exists());
}

/// These caches have opened the directory, but not a folder in it.
#[tokio::test]
async fn cache_that_has_only_missed_notices_a_deleted_directory() {
    let place = Place::new();
    let writer = cache(&place.path, "");
    for n in 0..5 {
        writer.set("other", &n, secs(600)).await.unwrap();
        let late = [cache(&place.path, ""), cache(&place.path, ""), cache(&place.path, "")];
        for it in &late {
            assert_eq!(it.get::<i32>("k").await.unwrap(), None);
        }
        fs::remove_dir_all(&place.path).unwrap();
        late[0].set("k", &n, secs(600)).await.unwrap();
        assert_eq!(
            late[1].get::<i32>("k").await.unwrap(),
            Some(n),
            "the entry is in the new directory"
        );
        assert!(late[2].delete("k").await.unwrap(), "the entry is in the new directory");
        late[0].clear().await.unwrap();
    }
}

/// The cache then starts empty at its location.
#[tokio::test]
async fn moved_directory_is_no_longer_written() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    let moved = place.outer().join("moved");
    fs::rename(&place.path, &moved).unwrap();
    for _ in 0..6000 {
        cache.set("k", &2, secs(600)).await.unwrap();
        if place.path.exists() {
            return;
        }
        // sleeps: the sweeper runs once a second, by the clock of the machine
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the cache still writes to the moved directory");
}

#[tokio::test]
async fn cache_that_only_reads_notices_a_moved_directory() {
    let place = Place::new();
    cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
    let reader = cache(&place.path, "");
    assert_eq!(reader.get::<i32>("k").await.unwrap(), Some(1));
    fs::rename(&place.path, place.outer().join("moved")).unwrap();
    cache(&place.path, "").set("k", &2, secs(600)).await.unwrap();
    for _ in 0..6000 {
        if reader.get::<i32>("k").await.unwrap() == Some(2) {
            return;
        }
        // sleeps: the sweeper runs once a second, by the clock of the machine
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the cache still reads the moved directory");
}
