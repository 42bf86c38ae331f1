//! Decoded values beside the bytes of entries.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Ttl,
    store::{
        Expected, Expiry, IntoBackend, Kept, Namespace, Object, Objects, SetMode, SyncBackend,
        TtlUpdate,
    },
    testing::FakeClock,
};
use cache_memory::Memory;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));

fn put(memory: &Memory, value: &'static str) {
    assert!(memory.set("k", value.into(), MINUTE, SetMode::Always).unwrap());
}

/// Keeps an object beside the bytes of the key, and returns what tells whether it is alive.
fn keep(memory: &Memory, object: &'static str) -> Weak<&'static str> {
    let object = Arc::new(object);
    let weak = Arc::downgrade(&object);
    let mut object = Some(object);
    memory.keep("k", &mut |_| object.take().map(|it| Box::new(it) as Object));
    weak
}

/// Returns the object and the bytes of the key.
fn found(memory: &Memory) -> Option<(&'static str, Bytes)> {
    let mut found = None;
    memory.read("k", &mut |kept: &Kept<'_>| {
        let object = kept.object.downcast_ref::<Arc<&str>>().unwrap();
        found = Some((**object, Bytes::copy_from_slice(kept.value)));
    });
    found
}

#[test]
fn object_is_found_with_its_bytes_and_their_lifetime() {
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    assert!(Arc::clone(&Memory::new().into_backend()).views().objects.is_some());
    keep(&memory, "of no entry");
    put(&memory, "1");
    assert_eq!(found(&memory), None);
    let before = memory.bytes();
    memory.keep("k", &mut |bytes| {
        assert_eq!(bytes, "1");
        None
    });
    assert_eq!(found(&memory), None);
    let object = keep(&memory, "one");
    let second = keep(&memory, "another");
    assert_eq!(found(&memory), Some(("one", "1".into())));
    assert_eq!((object.strong_count(), second.strong_count()), (1, 0));
    assert_eq!((memory.bytes(), memory.len()), (before, 1));

    time.advance(SECOND);
    let mut left = None;
    memory.read("k", &mut |kept| left = Some(kept.ttl()));
    assert_eq!(left, Some(Ttl::Remaining(59 * SECOND)));
    assert_eq!(memory.get("k").unwrap(), Some("1".into()));
    let entry = memory.get_entry("k").unwrap().unwrap();
    assert!(
        memory.compare_and_set("k", Expected::entry(&entry), "2".into(), TtlUpdate::Keep).unwrap()
    );
    assert_eq!((found(&memory), object.strong_count()), (None, 0));
}

#[test]
fn object_goes_with_its_bytes() {
    let clear = Namespace::new("").unwrap();
    let changes: [&dyn Fn(&Memory); 9] = [
        &|it| put(it, "1"),
        &|it| assert!(it.set("k", "2".into(), MINUTE, SetMode::IfPresent).unwrap()),
        &|it| assert!(it.delete("k").unwrap()),
        &|it| assert_eq!(it.take("k").unwrap(), Some("1".into())),
        &|it| assert_eq!(it.incr("k", 1, None).unwrap(), Some(2)),
        &|it| assert!(it.rename("k", "l").unwrap()),
        &|it| assert!(it.compare_and_delete("k", Expected::value(b"1")).unwrap()),
        &|it| it.clear(&clear).unwrap(),
        &|it| it.clear_store().unwrap(),
    ];
    for (place, change) in changes.iter().enumerate() {
        let memory = Memory::new();
        put(&memory, "1");
        let object = keep(&memory, "one");
        assert_eq!(object.strong_count(), 1, "{place}");
        change(&memory);
        // `:1:k` would be a key of the namespace without a prefix, and `k` is not one.
        let stays = place == 7;
        assert_eq!(
            (object.strong_count() == 1, found(&memory).is_some()),
            (stays, stays),
            "{place}"
        );
    }
}

#[test]
fn expired_object_is_not_found() {
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    put(&memory, "1");
    let object = keep(&memory, "one");
    time.advance(60 * SECOND);
    assert_eq!((found(&memory), object.strong_count()), (None, 0));
}

/// The entry changes while the object is made, which holds no lock.
#[test]
fn object_of_an_entry_that_changes_meanwhile_is_not_kept() {
    let make_during = |memory: &Memory, change: &dyn Fn()| {
        memory.keep("k", &mut |_| {
            change();
            Some(Box::new(Arc::new("one")) as Object)
        });
    };
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    put(&memory, "1");
    make_during(&memory, &|| put(&memory, "2"));
    assert_eq!((found(&memory), memory.get("k").unwrap()), (None, Some("2".into())));
    make_during(&memory, &|| put(&memory, "2"));
    assert_eq!(found(&memory), None, "the same bytes of another write");
    make_during(&memory, &|| assert!(memory.delete("k").unwrap()));
    assert_eq!((found(&memory), memory.get("k").unwrap()), (None, None));

    put(&memory, "1");
    make_during(&memory, &|| time.advance(60 * SECOND));
    assert_eq!((found(&memory), memory.get("k").unwrap()), (None, None));

    put(&memory, "1");
    make_during(&memory, &|| assert!(memory.touch("k", Expiry::After(SECOND)).unwrap()));
    assert!(found(&memory).is_some(), "the bytes are the same");
    time.advance(SECOND);
    assert_eq!((found(&memory), memory.get("k").unwrap()), (None, None));

    put(&memory, "1");
    make_during(&memory, &|| drop(keep(&memory, "first")));
    assert_eq!(found(&memory), Some(("first", "1".into())));
}
