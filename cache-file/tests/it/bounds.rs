//! The bounds, and the counts by which they are kept.

use std::{fs, time::Duration};

use cache_core::{Timeout, secs, testing::FakeClock};

use crate::place::{Place, cache, cache_by};

/// "Bounded by entries", at any size: the folders of a small store have less than one entry each.
#[tokio::test]
async fn there_are_never_more_entries_than_may_be() {
    for most in [1_usize, 7, 300, 2000] {
        let place = Place::new();
        let cache = cache(&place.path, &format!("max_entries = {most}"));
        for n in 0..2 * most + 100 {
            cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
            assert_eq!(
                cache.get::<usize>(&n.to_string()).await.unwrap(),
                Some(n),
                "the newest stays"
            );
        }
        let files = place.files().len();
        assert!(files <= most, "{files} of {most}");
        assert!(files + 5 >= most.min(most), "and not many fewer: {files} of {most}");
    }
}

#[tokio::test]
async fn the_files_take_no_more_room_than_may_be() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '1MiB'\nmax_value_bytes = '200KiB'");
    for n in 0..2000_usize {
        let len = if n.is_multiple_of(20) { 100_000 } else { 500 };
        cache.set_bytes(&n.to_string(), vec![7; len], secs(600)).await.unwrap();
    }
    let room = |len: u64| len.div_ceil(4096) * 4096;
    let bytes: u64 = place.all_files().iter().map(|it| room(fs::metadata(it).unwrap().len())).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(bytes > 1 << 19, "{bytes}");
}

/// "Counters that survive a restart": a store that forgot what it had would grow beyond its bounds.
#[tokio::test]
async fn a_restart_does_not_forget_how_much_there_is() {
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

/// What has expired goes first: no live entry is evicted for its sake.
#[tokio::test]
async fn the_expired_make_room_for_the_living() {
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
    // A sample without an expired entry evicts a living one now and then.
    assert!(kept >= 350, "{kept} of 400 are left");
}

#[tokio::test]
async fn the_oldest_of_those_looked_at_goes() {
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

/// On a timer, where nobody writes.
#[tokio::test]
async fn the_sweeper_removes_what_has_expired() {
    let (place, time) = (Place::new(), FakeClock::new());
    let cache = cache_by(time.clock(), &place.path, "");
    for n in 0..500 {
        cache.set(&n.to_string(), &n, secs(1)).await.unwrap();
    }
    time.advance(Duration::from_secs(2));
    for _ in 0..600 {
        if place.files().is_empty() {
            return;
        }
        // sleeps: the sweeper goes by the machine's clock
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files are left", place.files().len());
}

/// Not only where it finds many.
#[tokio::test]
async fn the_sweeper_finds_the_few_that_have_expired_among_many() {
    let (place, time) = (Place::new(), FakeClock::new());
    let cache = cache_by(time.clock(), &place.path, "");
    for n in 0..4000 {
        let timeout = if n % 100 == 0 { secs(1) } else { Timeout::Never };
        cache.set(&n.to_string(), &n, timeout).await.unwrap();
    }
    time.advance(Duration::from_secs(2));
    for _ in 0..1200 {
        if place.files().len() == 3960 {
            return;
        }
        // sleeps: the sweeper goes by the machine's clock
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files are left", place.files().len());
}

/// Somebody deleted files by hand, or a kill cut the counting off.
#[tokio::test]
async fn wrong_counts_are_set_right() {
    let place = Place::new();
    let cache = cache(&place.path, "max_entries = 1000");
    for n in 0..500 {
        cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
    let counters = place.path.join("counts");
    let total = || {
        let bytes = fs::read(&counters).unwrap();
        let slots = bytes.chunks_exact(16);
        slots.map(|it| u64::from(u32::from_le_bytes(it[..4].try_into().unwrap()))).sum::<u64>()
    };
    assert_eq!(total(), 500);
    // As if all 256 folders had 1000 entries.
    let mut wrong = fs::read(&counters).unwrap();
    wrong
        .chunks_exact_mut(16)
        .take(3)
        .for_each(|it| it[..8].copy_from_slice(&50_u64.to_le_bytes()));
    fs::write(&counters, wrong).unwrap();
    for _ in 0..600 {
        let exact = place.files().len() as u64;
        if total().abs_diff(exact) <= 6 {
            return;
        }
        // sleeps: the sweeper goes by the machine's clock
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} counted, {} there", total(), place.files().len());
}

/// Garbage, zeros, a part of it, and numbers of another layout: nothing that lives goes for them.
#[tokio::test]
async fn a_damaged_counters_file_evicts_nothing() {
    let random =
        |len: usize| b"\x93\x07\xf1\x5c\xa8\x3e\xd2".iter().copied().cycle().take(len).collect();
    // Of an earlier release, too: two numbers of 8 bytes.
    let old = [50_u64.to_le_bytes(), (50 * 4096_u64).to_le_bytes()].concat().repeat(256);
    let damages = [vec![0xff; 4096], random(4096), random(1000), vec![], old];
    for damage in damages {
        for is_running in [true, false] {
            let place = Place::new();
            let open = || cache(&place.path, "max_entries = 2000");
            let mut cache = open();
            for n in 0..1000 {
                cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
            }
            if !is_running {
                cache.close().await.unwrap();
                cache = open();
            }
            fs::write(place.path.join("counts"), &damage).unwrap();
            for n in 0..300 {
                cache.set(&format!("new:{n}"), &n, secs(600)).await.unwrap();
            }
            assert_eq!(place.files().len(), 1300, "{} bytes, {is_running}", damage.len());
        }
    }
}

/// Valid checksums, and numbers that are not those of the files: of another store, or of this one before files were deleted.
#[tokio::test]
async fn counts_of_another_store_evict_nothing() {
    let other = Place::new();
    let larger = cache(&other.path, "");
    for n in 0..4000 {
        larger.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
    for is_running in [true, false] {
        let place = Place::new();
        let open = || cache(&place.path, "max_entries = 2000");
        let mut cache = open();
        for n in 0..1000 {
            cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
        }
        if !is_running {
            cache.close().await.unwrap();
            cache = open();
        }
        // In place, as the file is open.
        fs::copy(other.path.join("counts"), place.path.join("counts")).unwrap();
        for n in 0..300 {
            cache.set(&format!("new:{n}"), &n, secs(600)).await.unwrap();
        }
        assert_eq!(place.files().len(), 1300, "{is_running}");
    }
}

/// One value too many costs about one value, however few fit.
#[tokio::test]
async fn a_few_large_values_do_not_all_go_for_one_more() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '4MiB'");
    for n in 0..20 {
        cache.set_bytes(&n.to_string(), vec![7; 1_000_000], secs(600)).await.unwrap();
        assert!(place.files().len() >= 4.min(n + 1), "{} after {n}", place.files().len());
    }
    assert_eq!(place.files().len(), 4);
}

/// "Bounded by bytes": a large value takes the room of hundreds of small ones.
#[tokio::test]
async fn large_values_make_as_much_room_as_they_take() {
    let place = Place::new();
    let cache = cache(&place.path, "max_bytes = '16MiB'");
    for n in 0..4000 {
        cache.set(&format!("small:{n}"), &n, secs(600)).await.unwrap();
    }
    let room = |len: u64| len.div_ceil(4096) * 4096;
    for n in 0..10 {
        cache.set_bytes(&n.to_string(), vec![7; 1_000_000], secs(600)).await.unwrap();
        // What the sweeper removes meanwhile takes no room.
        let files = place.all_files();
        let found = files.iter().filter_map(|it| fs::metadata(it).ok());
        let bytes: u64 = found.map(|it| room(it.len())).sum();
        assert!(bytes <= 16 << 20, "{bytes} after {n}");
        assert!(bytes >= 14 << 20, "{bytes} after {n}");
    }
}

/// Kills between a file and its count, in folders that have a file or two.
#[tokio::test]
async fn what_nobody_counted_is_found_in_small_folders() {
    let (place, time) = (Place::new(), FakeClock::new());
    let cache = cache_by(time.clock(), &place.path, "");
    for n in 0..100 {
        cache.set(&n.to_string(), &n, secs(1)).await.unwrap();
    }
    let counters = place.path.join("counts");
    // What is there counts nothing, and what is not there counts.
    let wrong: Vec<u8> = fs::read(&counters)
        .unwrap()
        .chunks(16)
        .flat_map(|it| if it.starts_with(&[0]) { [1, 4096_u64] } else { [0, 0] })
        .flat_map(u64::to_le_bytes)
        .collect();
    fs::write(&counters, wrong).unwrap();
    time.advance(Duration::from_secs(2));
    for _ in 0..800 {
        let zeros = fs::read(&counters).unwrap().iter().all(|it| *it == 0);
        if place.files().is_empty() && zeros {
            return;
        }
        // sleeps: the sweeper goes by the machine's clock
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files are left", place.files().len());
}

/// A kill between a value and its count: a large one that nobody knows of, or room that nobody takes.
#[tokio::test]
async fn wrong_counts_of_bytes_are_set_right() {
    let place = Place::new();
    // So much that none of it is evicted meanwhile.
    let cache = cache(&place.path, "max_bytes = '100GiB'");
    for n in 0..300 {
        cache.set(&n.to_string(), &n, secs(600)).await.unwrap();
    }
    let counters = place.path.join("counts");
    let right = fs::read(&counters).unwrap();
    let mut wrong = right.clone();
    for slot in wrong.chunks_mut(16).filter(|it| it[0] != 0) {
        slot[8..].copy_from_slice(&(64_u64 << 20).to_le_bytes());
    }
    fs::write(&counters, wrong).unwrap();
    for _ in 0..800 {
        if fs::read(&counters).unwrap() == right {
            return;
        }
        // sleeps: the sweeper goes by the machine's clock
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the counts are still wrong");
}
