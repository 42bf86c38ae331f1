//! The bounds: entries and bytes, and no value dropped silently.

use cache_core::{
    ErrorKind,
    store::{Expected, Expiry, SetMode, SyncBackend, TtlUpdate},
};
use cache_memory::Memory;

use crate::{get, put, text};

fn set(memory: &Memory, key: &str, len: usize) -> Result<bool, ErrorKind> {
    memory.set(key, vec![b'x'; len].into(), Expiry::Never, SetMode::Always).map_err(|it| it.kind())
}

#[test]
fn turnover_never_exceeds_max_entries() {
    for max in [1, 2, 5, 100, 3000, 20_000] {
        let memory = Memory::builder().max_entries(max).build().unwrap();
        for n in 0..10 * max {
            put(&memory, &format!("k{n}"), "1");
            assert!(memory.len() as u64 <= max);
            assert_eq!(get(&memory, &format!("k{n}")), Some(text("1")), "{n} of {max}");
        }
        assert!(memory.len() as u64 >= max - max / 10, "{} of {max}", memory.len());
    }
}

#[test]
fn small_store_holds_max_entries() {
    let memory = Memory::builder().max_entries(500).build().unwrap();
    (0..500).for_each(|n| put(&memory, &format!("k{n}"), "1"));
    assert!((0..500).all(|n| get(&memory, &format!("k{n}")).is_some()));
}

/// The keys are not distributed evenly among the shards.
#[test]
fn store_of_several_shards_holds_nearly_max_entries() {
    for max in [1024, 2000, 10_000] {
        let memory = Memory::builder().max_entries(max).build().unwrap();
        (0..max).for_each(|n| put(&memory, &format!("k{n}"), "1"));
        assert!(memory.len() as u64 > max * 85 / 100, "{} of {max}", memory.len());
    }
}

#[test]
fn turnover_never_exceeds_max_bytes() {
    let max = 4 << 20;
    let memory = Memory::builder().max_bytes(max).build().unwrap();
    let mut written = 0;
    for n in 0.. {
        let len = (n * 7919) % 20_000;
        set(&memory, &format!("k{n}"), len).unwrap();
        assert!(memory.bytes() <= max);
        assert!(memory.has(&format!("k{n}")).unwrap());
        written += len as u64;
        if written > 10 * max {
            break;
        }
    }
    let held: usize =
        (0..10_000).filter_map(|n| get(&memory, &format!("k{n}"))).map(|it| it.len()).sum();
    assert!(held as u64 <= max && held as u64 > max / 2, "{held}");
}

/// Entries grow by `set` and by `compare_and_set`.
#[test]
fn growing_entry_stays_and_bounds_hold() {
    let max = 1 << 20;
    let memory = Memory::builder().max_bytes(max).build().unwrap();
    for round in 1..=20_usize {
        for n in 0..100 {
            let key = format!("k{n}");
            // Reads protect an entry from eviction; here some entries are read, some are not.
            (0..n % 4).for_each(|_| drop(get(&memory, &key)));
            let len = round * 1000 + n;
            if let (Some(old), true) = (get(&memory, &key), n % 2 == 0) {
                let new = vec![b'y'; len].into();
                assert!(
                    memory
                        .compare_and_set(&key, Expected::value(&old), new, TtlUpdate::Keep)
                        .unwrap()
                );
            } else {
                set(&memory, &key, len).unwrap();
            }
            assert!(memory.bytes() <= max, "{}", memory.bytes());
            assert_eq!(get(&memory, &key).map(|it| it.len()), Some(len), "{round} {n}");
        }
    }
}

/// A recently evicted key is set again in a store where every other entry was read often.
#[test]
fn new_entry_stays_though_all_others_were_read() {
    let memory = Memory::builder().max_entries(10).build().unwrap();
    let read_all = || (0..40).for_each(|n| drop(get(&memory, &format!("k{}", n % 20))));
    for n in 0..1000 {
        put(&memory, &format!("k{}", n % 10), "1");
        read_all();
        // These were never read, so one evicts the other, and the engine remembers the evicted key.
        put(&memory, &format!("k{}", 10 + n % 7), "1");
        put(&memory, &format!("k{}", 10 + (n + 1) % 7), "1");
        read_all();
        let key = format!("k{}", 10 + n % 7);
        put(&memory, &key, &n.to_string());
        assert_eq!(get(&memory, &key), Some(text(&n.to_string())), "{n}");
    }
}

#[test]
fn value_at_the_limit_is_stored_and_a_larger_one_is_too_large() {
    for max_bytes in [1024, 100_000, 16 << 20, 256 << 20] {
        let memory = Memory::builder().max_bytes(max_bytes).build().unwrap();
        let limit = memory.capabilities().max_value_len.unwrap();
        let key = "k".repeat(cache_core::MAX_KEY_LEN);
        for n in 0..100 {
            put(&memory, &format!("other{n}"), "1");
        }
        assert_eq!(set(&memory, &key, limit), Ok(true));
        assert_eq!(get(&memory, &key).map(|it| it.len()), Some(limit));
        assert_eq!(set(&memory, &key, limit + 1), Err(ErrorKind::TooLarge));
        assert_eq!(get(&memory, &key), None, "the old value is still there");
    }
}

#[test]
fn too_large_value_removes_the_old_one_only_if_the_mode_allowed_the_write() {
    let memory = Memory::builder().max_value_bytes(10).build().unwrap();
    let large = || bytes::Bytes::from(vec![0; 11]);
    put(&memory, "k", "old");
    let kind = |mode| memory.set("k", large(), Expiry::Never, mode).unwrap_err().kind();
    assert_eq!(kind(SetMode::IfAbsent), ErrorKind::TooLarge);
    assert_eq!(get(&memory, "k"), Some(text("old")));
    let cas = memory.compare_and_set("k", Expected::value(b"old"), large(), TtlUpdate::Keep);
    assert_eq!(cas.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(get(&memory, "k"), Some(text("old")));
    assert_eq!(kind(SetMode::IfPresent), ErrorKind::TooLarge);
    assert_eq!(get(&memory, "k"), None);
    let all = memory.set_many(&[("a", text("1")), ("b", large()), ("c", text("3"))], Expiry::Never);
    assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn large_value_does_not_evict_most_entries() {
    let memory = Memory::new();
    (0..10_000).for_each(|n| put(&memory, &format!("k{n}"), "1"));
    set(&memory, "large", memory.capabilities().max_value_len.unwrap()).unwrap();
    assert!(memory.len() > 9000, "{}", memory.len());
}

#[test]
fn invalid_bound_is_a_config_error_that_names_it() {
    for (builder, name) in [
        (Memory::builder().max_entries(0), "max_entries"),
        (Memory::builder().max_bytes(0), "max_bytes"),
        (Memory::builder().max_value_bytes(0), "max_value_bytes"),
        (Memory::builder().max_bytes(1 << 20).max_value_bytes(1 << 20), "max_value_bytes"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
}
