//! The bounds of the store, and the counts that it keeps for them.

use std::{fs, time::Duration};

use cache_core::{Timeout, secs, testing::FakeClock};

use crate::place::{Place, cache, cache_by};

/// The folders of a small store have less than one entry each.
#[tokio::test]
async fn store_never_exceeds_max_entries() {
    for most in [1_usize, 7, 300, 1000] {
        let place = Place::new();
        let cache = cache(&place.path, &format!("max_entries = {most}"));
        for n in 0..2 * most + 100 {
            cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
            let newest = cache.get::<usize>(&n.to_string()).await.unwrap();
            assert_eq!(newest, Some(n), "the newest entry stays");
        }
        let files = place.files().len();
        assert!(files <= most, "{files} of {most}");
        assert!(files + 5 >= most, "not many fewer: {files} of {most}");
    }
}

#[tokio::test]
async fn store_never_exceeds_max_bytes() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '1MiB'\nmax_value_bytes = '200KiB'");
    for n in 0..1000_usize {
        let len = if n.is_multiple_of(20) { 100_000 } else { 500 };
        cache.bytes().set(&n.to_string(), &vec![7; len], secs(600)).await.unwrap();
    }
    let room = |len: u64| len.div_ceil(4096) * 4096;
    let bytes: u64 = place.all_files().iter().map(|it| room(fs::metadata(it).unwrap().len())).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(bytes > 1 << 19, "{bytes}");
}

/// A store that lost its counts would exceed its bounds.
#[tokio::test]
async fn counts_survive_a_restart() {
    let place = Place::new();
    for round in 0..5 {
        let cache = cache(&place.path, "max_entries = 100");
        for n in 0..60 {
            cache.set(&format!("{round}:{n}"), &n, secs(600)).await.unwrap();
        }
        cache.close().await.unwrap();
    }
    assert!(place.files().len() <= 100, "{}", place.files().len());
}

#[tokio::test]
async fn expired_entries_are_evicted_before_live_ones() {
    let (place, time) = (Place::new(), FakeClock::new());
    let cache = cache_by(time.clock(), &place.path, "max_entries = 1000");
    for n in 0..600 {
        cache.set(&format!("short:{n}"), &n, secs(1)).await.unwrap();
        if n < 400 {
            cache.set(&format!("long:{n}"), &n, Timeout::Never).await.unwrap();
        }
    }
    time.advance(Duration::from_secs(2));
    for n in 0..500 {
        cache.set(&format!("new:{n}"), &n, Timeout::Never).await.unwrap();
    }
    let mut kept = 0;
    for n in 0..400 {
        kept += usize::from(cache.has_key(&format!("long:{n}")).await.unwrap());
    }
    // A sample without an expired entry evicts a live one now and then.
    assert!(kept >= 350, "{kept} of 400 are left");
}

#[tokio::test]
async fn old_entries_are_evicted_before_new_ones() {
    let place = Place::new();
    let cache = cache(&place.path, "max_entries = 1000");
    for n in 0..2000 {
        cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
    let mut kept = [0; 2];
    for n in 0..2000 {
        kept[n / 1000] += usize::from(cache.has_key(&n.to_string()).await.unwrap());
    }
    let [old, new] = kept;
    assert!(new > 3 * old, "{old} old and {new} new ones are left");
}

/// The store is idle meanwhile.
#[tokio::test]
async fn sweeper_removes_expired_entries() {
    let (place, time) = (Place::new(), FakeClock::new());
    let cache = cache_by(time.clock(), &place.path, "");
    for n in 0..500 {
        cache.set(&n.to_string(), &n, secs(1)).await.unwrap();
    }
    time.advance(Duration::from_secs(2));
    for _ in 0..6000 {
        if place.files().is_empty() {
            return;
        }
        // sleeps: the sweeper runs once a second, by the clock of the machine
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files are left", place.files().len());
}

/// Garbage, a part of the file, an empty file, and the counts of an earlier release.
#[tokio::test]
async fn damaged_counts_evict_nothing() {
    let random =
        |len: usize| b"\x93\x07\xf1\x5c\xa8\x3e\xd2".iter().copied().cycle().take(len).collect();
    // An earlier release wrote two numbers of 8 bytes.
    let old = [50_u64.to_le_bytes(), (50 * 4096_u64).to_le_bytes()].concat().repeat(256);
    let damages = [vec![0xff; 4096], random(4096), random(1000), vec![], old];
    for damage in damages {
        for is_running in [true, false] {
            let place = Place::new();
            let open = || cache(&place.path, "max_entries = 600");
            let mut cache = open();
            for n in 0..300 {
                cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
            }
            if !is_running {
                cache.close().await.unwrap();
                cache = open();
            }
            fs::write(place.path.join("counts"), &damage).unwrap();
            for n in 0..100 {
                cache.set(&format!("new:{n}"), &n, secs(600)).await.unwrap();
            }
            assert_eq!(place.files().len(), 400, "{} bytes, {is_running}", damage.len());
        }
    }
}

/// The checksums are valid, but the counts belong to another store.
#[tokio::test]
async fn counts_of_another_store_evict_nothing() {
    let other = Place::new();
    let larger = cache(&other.path, "");
    for n in 0..1200 {
        larger.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
    for is_running in [true, false] {
        let place = Place::new();
        let open = || cache(&place.path, "max_entries = 600");
        let mut cache = open();
        for n in 0..300 {
            cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
        }
        if !is_running {
            cache.close().await.unwrap();
            cache = open();
        }
        // Overwrites the file instead of replacing it, because the store has it open.
        fs::copy(other.path.join("counts"), place.path.join("counts")).unwrap();
        for n in 0..100 {
            cache.set(&format!("new:{n}"), &n, secs(600)).await.unwrap();
        }
        assert_eq!(place.files().len(), 400, "{is_running}");
    }
}

#[tokio::test]
async fn one_large_value_too_many_evicts_one() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '4MiB'");
    for n in 0..20 {
        cache.bytes().set(&n.to_string(), &vec![7; 1_000_000], secs(600)).await.unwrap();
        assert!(place.files().len() >= 4.min(n + 1), "{} after {n}", place.files().len());
    }
    assert_eq!(place.files().len(), 4);
}

/// A large value needs the space of hundreds of small ones.
#[tokio::test]
async fn large_value_evicts_as_much_as_it_needs() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '8MiB'");
    for n in 0..2000 {
        cache.set(&format!("small:{n}"), &n, secs(600)).await.unwrap();
    }
    let room = |len: u64| len.div_ceil(4096) * 4096;
    for n in 0..10 {
        cache.bytes().set(&n.to_string(), &vec![7; 1_000_000], secs(600)).await.unwrap();
        // The sweeper may remove a file meanwhile.
        let files = place.all_files();
        let found = files.iter().filter_map(|it| fs::metadata(it).ok());
        let bytes: u64 = found.map(|it| room(it.len())).sum();
        assert!(bytes <= 8 << 20, "{bytes} after {n}");
        assert!(bytes >= 6 << 20, "{bytes} after {n}");
    }
}
