//! Lifetimes: no entry expires early, an expired entry is absent at once, and is swept later.

use std::time::Duration;

use cache_core::{
    Ttl,
    store::{CounterInit, Expected, Expiry, SetMode, SyncBackend, TtlUpdate},
    testing::FakeClock,
};
use cache_memory::Memory;

use crate::{MINUTE, get, put, text};

fn memory() -> (Memory, FakeClock) {
    let fake = FakeClock::new();
    (Memory::builder().clock(fake.clock()).build().unwrap(), fake)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn entry_lives_exactly_as_long_as_its_lifetime() {
    let (memory, fake) = memory();
    for nanos in [1, 63, 64, 1_000_001, 999_999_999, 3_600_000_000_000] {
        let life = Duration::from_nanos(nanos);
        memory.set("k", text("1"), Expiry::After(life), SetMode::Always).unwrap();
        fake.advance(Duration::from_nanos(nanos - 1));
        assert!(memory.has("k").unwrap(), "{life:?}");
        fake.advance(Duration::from_millis(1));
        assert!(!memory.has("k").unwrap(), "{life:?}");
    }
}

#[test]
fn expired_entry_is_absent_for_every_operation() {
    // A new store for each operation, as the first operation may remove the expired entry.
    let expired = || {
        let (memory, fake) = memory();
        put(&memory, "k", "1");
        fake.advance(secs(60));
        memory
    };
    let never = Expiry::Never;
    assert_eq!(expired().get("k").unwrap(), None);
    assert_eq!(expired().get_entry("k").unwrap(), None);
    assert_eq!(expired().get_many(&["k"])[0].as_ref().unwrap(), &None);
    assert_eq!(expired().get_entries(&["k"])[0].as_ref().unwrap(), &None);
    assert!(!expired().has("k").unwrap());
    assert_eq!(expired().ttl("k").unwrap(), None);
    assert!(!expired().touch("k", never).unwrap());
    assert!(!expired().delete("k").unwrap());
    assert!(!*expired().delete_many(&["k"])[0].as_ref().unwrap());
    assert_eq!(expired().take("k").unwrap(), None);
    assert_eq!(expired().incr("k", 1, None).unwrap(), None);
    assert_eq!(expired().incr("k", 1, Some(CounterInit::new(5, never))).unwrap(), Some(6));
    assert!(expired().set("k", text("2"), never, SetMode::IfAbsent).unwrap());
    assert!(!expired().set("k", text("2"), never, SetMode::IfPresent).unwrap());
    assert!(!expired().compare_and_delete("k", Expected::value(b"1")).unwrap());
    assert!(
        !expired()
            .compare_and_set("k", Expected::value(b"1"), text("2"), TtlUpdate::New(never))
            .unwrap()
    );
    assert!(!expired().rename("k", "to").unwrap());
}

#[test]
fn touch_sets_a_new_lifetime_and_never_revives_an_expired_entry() {
    let (memory, fake) = memory();
    put(&memory, "k", "1");
    fake.advance(secs(59));
    assert!(memory.touch("k", Expiry::After(secs(10))).unwrap());
    assert_eq!(memory.ttl("k").unwrap(), Some(Ttl::Remaining(secs(10))));
    fake.advance(secs(9));
    assert!(memory.touch("k", Expiry::Never).unwrap() && memory.touch("k", Expiry::Never).unwrap());
    fake.advance(secs(1_000_000_000));
    assert_eq!(memory.ttl("k").unwrap(), Some(Ttl::Forever));
    assert!(memory.touch("k", MINUTE).unwrap());
    fake.advance(secs(60));
    assert!(!memory.touch("k", Expiry::Never).unwrap());
    assert_eq!(get(&memory, "k"), None);
}

#[test]
fn incr_and_rename_keep_the_lifetime_and_set_resets_it() {
    let (memory, fake) = memory();
    put(&memory, "k", "1");
    fake.advance(secs(20));
    memory.incr("k", 1, Some(CounterInit::new(0, Expiry::Never))).unwrap();
    assert!(
        memory.compare_and_set("k", Expected::value(b"2"), text("3"), TtlUpdate::Keep).unwrap()
    );
    memory.rename("k", "to").unwrap();
    assert_eq!(memory.ttl("to").unwrap(), Some(Ttl::Remaining(secs(40))));
    put(&memory, "to", "4");
    assert_eq!(memory.ttl("to").unwrap(), Some(Ttl::Remaining(secs(60))));
    let entry = memory.get_entry("to").unwrap().unwrap();
    assert_eq!(entry.ttl, Ttl::Remaining(secs(60)));
}

#[test]
fn stamp_differs_after_a_rewrite_with_another_lifetime() {
    let (memory, fake) = memory();
    put(&memory, "k", "1");
    let seen = memory.get_entry("k").unwrap().unwrap();
    fake.advance(Duration::from_millis(1));
    put(&memory, "k", "1");
    assert!(!memory.compare_and_delete("k", Expected::entry(&seen)).unwrap());
    assert!(memory.compare_and_delete("k", Expected::value(b"1")).unwrap());
}

#[test]
fn lifetime_beyond_the_range_of_the_clock_never_ends() {
    let (memory, fake) = memory();
    memory.set("k", text("1"), Expiry::After(Duration::MAX), SetMode::Always).unwrap();
    assert_eq!(memory.ttl("k").unwrap(), Some(Ttl::Forever));
    fake.advance(secs(1_000_000_000));
    assert!(memory.has("k").unwrap());
}

#[test]
fn read_of_an_expired_entry_frees_it() {
    let (memory, fake) = memory();
    put(&memory, "k", "1");
    fake.advance(secs(60));
    assert_eq!(memory.len(), 1);
    assert_eq!(get(&memory, "k"), None);
    assert_eq!((memory.len(), memory.bytes()), (0, 0));
}

/// Ten keys are written per millisecond, with lifetimes of seconds, and none is ever read.
#[test]
fn expired_entries_hold_less_than_a_twentieth_of_the_capacity() {
    for life in [1, 3, 10] {
        let (memory, fake) = memory();
        let live = usize::try_from(life * 10_000).unwrap();
        for n in 0..live * 4 {
            if n % 10 == 0 {
                fake.advance(Duration::from_millis(1));
            }
            memory
                .set(&format!("k{n}"), text("1"), Expiry::After(secs(life)), SetMode::Always)
                .unwrap();
            if n > live && n % 997 == 0 {
                assert!(
                    memory.len() <= live + live / 20,
                    "{} for {live} live at {n}",
                    memory.len()
                );
            }
        }
    }
}

#[test]
fn sweep_reaches_every_shard_though_only_one_key_is_written() {
    let (memory, fake) = memory();
    for n in 0..10_000 {
        put(&memory, &format!("k{n}"), "1");
    }
    put(&memory, "kept", "1");
    memory.touch("kept", Expiry::Never).unwrap();
    fake.advance(secs(64));
    for _ in 0..32_000 {
        memory.incr("kept", 1, None).unwrap();
    }
    assert_eq!(memory.len(), 1);
}

#[test]
fn sweep_keeps_entries_that_were_written_or_touched_again() {
    let (memory, fake) = memory();
    for n in 0..1000 {
        put(&memory, &format!("set{n}"), "1");
        put(&memory, &format!("touched{n}"), "1");
        put(&memory, &format!("counted{n}"), "1");
    }
    fake.advance(secs(30));
    for n in 0..1000 {
        put(&memory, &format!("set{n}"), "2");
        memory.touch(&format!("touched{n}"), MINUTE).unwrap();
        memory.incr(&format!("counted{n}"), 1, None).unwrap();
    }
    fake.advance(secs(35));
    for _ in 0..20_000 {
        put(&memory, "busy", "1");
    }
    for n in 0..1000 {
        assert!(
            memory.has(&format!("set{n}")).unwrap() && memory.has(&format!("touched{n}")).unwrap()
        );
    }
    assert_eq!(memory.len(), 2001, "counters keep their lifetime and have expired");
}
