//! The directory is deleted, moved or emptied while it is in use.

use std::{fs, time::Duration};

use cache_core::secs;

use crate::place::{Place, cache};

#[tokio::test]
async fn a_deleted_directory_is_made_again_by_the_next_write() {
    let place = Place::new();
    let one = cache(&place.path, "");
    let other = cache(&place.path, "");
    for n in 0..10 {
        for key in ["a", "b", "c"] {
            one.set(key, &n, secs(600)).await.unwrap();
            assert_eq!(other.get::<i32>(key).await.unwrap(), Some(n), "both see the new one");
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
async fn a_folder_that_is_deleted_alone_is_made_again() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    fs::remove_dir_all(place.file().parent().unwrap()).unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    cache.set("k", &2, secs(600)).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2));
    assert!(place.file().exists());
}

/// Nothing but the directory is open then.
#[tokio::test]
async fn who_has_found_nothing_yet_notices_that_the_directory_was_deleted() {
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
        assert_eq!(late[1].get::<i32>("k").await.unwrap(), Some(n), "it is in the new one");
        assert!(late[2].delete("k").await.unwrap(), "it is in the new one");
        late[0].clear().await.unwrap();
    }
}

/// Who moved it away has it, and the cache begins anew where it is said to be.
#[tokio::test]
async fn a_directory_that_is_moved_away_is_left_alone() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    let moved = place.outer().join("moved");
    fs::rename(&place.path, &moved).unwrap();
    for _ in 0..600 {
        cache.set("k", &2, secs(600)).await.unwrap();
        if place.path.exists() {
            return;
        }
        // sleeps: the sweeper looks once a second
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is still the moved one");
}

/// As well for a process that only reads.
#[tokio::test]
async fn a_reader_notices_that_the_directory_is_another_one() {
    let place = Place::new();
    cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
    let reader = cache(&place.path, "");
    assert_eq!(reader.get::<i32>("k").await.unwrap(), Some(1));
    fs::rename(&place.path, place.outer().join("moved")).unwrap();
    cache(&place.path, "").set("k", &2, secs(600)).await.unwrap();
    for _ in 0..300 {
        if reader.get::<i32>("k").await.unwrap() == Some(2) {
            return;
        }
        // sleeps: the sweeper looks once a second
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it reads what was moved away");
}
