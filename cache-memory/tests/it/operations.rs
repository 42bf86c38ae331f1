//! Operations of one caller.

use cache_core::{
    ErrorKind, Ttl,
    store::{CounterInit, Expected, Expiry, Namespace, SetMode, Stamp, SyncBackend, TtlUpdate},
};
use cache_memory::Memory;

use crate::{MINUTE, get, put, text};

#[test]
fn set_writes_only_if_its_mode_allows_it() {
    let memory = Memory::new();
    let set = |value, mode| memory.set("k", text(value), MINUTE, mode).unwrap();
    assert!(!set("1", SetMode::IfPresent));
    assert_eq!(get(&memory, "k"), None);
    assert!(set("2", SetMode::IfAbsent));
    assert!(!set("3", SetMode::IfAbsent));
    assert_eq!(get(&memory, "k"), Some(text("2")));
    assert!(set("4", SetMode::IfPresent));
    assert!(set("5", SetMode::Always));
    assert_eq!(get(&memory, "k"), Some(text("5")));
}

#[test]
fn empty_value_and_arbitrary_bytes_are_returned_unchanged() {
    let memory = Memory::new();
    for value in [&b""[..], b"\0\xff\n", &[7; 10_000]] {
        memory.set("k", value.to_vec().into(), Expiry::Never, SetMode::Always).unwrap();
        assert_eq!(memory.get("k").unwrap().unwrap(), value);
    }
}

#[test]
fn delete_and_take_report_the_removed_entry() {
    let memory = Memory::new();
    put(&memory, "a", "1");
    put(&memory, "b", "2");
    assert!(memory.delete("a").unwrap());
    assert!(!memory.delete("a").unwrap());
    assert_eq!(memory.take("b").unwrap(), Some(text("2")));
    assert_eq!(memory.take("b").unwrap(), None);
    assert!(!memory.has("b").unwrap() && memory.is_empty());
}

#[test]
fn batch_returns_a_result_per_key_in_order() {
    let memory = Memory::new();
    let items = [("a", text("1")), ("b", text("2"))];
    assert!(memory.set_many(&items, MINUTE).into_iter().all(|it| it.is_ok()));
    let got: Vec<_> = memory.get_many(&["b", "x", "a"]).into_iter().map(Result::unwrap).collect();
    assert_eq!(got, [Some(text("2")), None, Some(text("1"))]);
    let entries = memory.get_entries(&["x", "a"]);
    assert!(entries[0].as_ref().unwrap().is_none());
    assert_eq!(entries[1].as_ref().unwrap().as_ref().unwrap().value, "1");
    let deleted: Vec<_> = memory.delete_many(&["x", "b"]).into_iter().map(Result::unwrap).collect();
    assert_eq!(deleted, [false, true]);
    assert!(memory.get_many(&[]).is_empty());
}

#[test]
fn incr_changes_integers_and_leaves_other_values_unchanged() {
    let memory = Memory::new();
    assert_eq!(memory.incr("n", 1, None).unwrap(), None);
    let create = Some(CounterInit::new(10, Expiry::Never));
    assert_eq!(memory.incr("n", -15, create).unwrap(), Some(-5));
    assert_eq!(memory.incr("n", 6, create).unwrap(), Some(1));
    assert_eq!(get(&memory, "n"), Some(text("1")));
    for odd in ["", "+5", "007", "-0", "12abc", "\"41\"", "1.5", " 1", "9223372036854775808"] {
        put(&memory, "odd", odd);
        let error = memory.incr("odd", 1, create).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{odd:?}");
        assert_eq!(get(&memory, "odd"), Some(text(odd)));
    }
    for (value, delta) in [(i64::MAX, 1), (i64::MIN, -1)] {
        put(&memory, "n", &value.to_string());
        assert_eq!(memory.incr("n", delta, None).unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(get(&memory, "n"), Some(text(&value.to_string())));
    }
    let create = Some(CounterInit::new(i64::MAX, Expiry::Never));
    assert_eq!(memory.incr("new", 1, create).unwrap_err().kind(), ErrorKind::Overflow);
    assert!(!memory.has("new").unwrap());
}

#[test]
fn error_does_not_show_the_value() {
    let memory = Memory::new();
    put(&memory, "k", "marked-value");
    let error = memory.incr("k", 1, None).unwrap_err();
    assert!(!format!("{error} {error:?} {memory:?}").contains("marked"));
}

#[test]
fn compare_writes_only_if_the_entry_is_unchanged() {
    let memory = Memory::new();
    put(&memory, "k", "1");
    let seen = memory.get_entry("k").unwrap().unwrap();
    assert!(
        !memory.compare_and_set("k", Expected::value(b"2"), text("3"), TtlUpdate::Keep).unwrap()
    );
    assert!(!memory.compare_and_delete("k", Expected::value(b"2")).unwrap());
    assert!(
        memory.compare_and_set("k", Expected::entry(&seen), text("2"), TtlUpdate::Keep).unwrap()
    );
    assert!(
        !memory.compare_and_set("k", Expected::entry(&seen), text("3"), TtlUpdate::Keep).unwrap()
    );
    let stamp = Some(Stamp(seen.stamp.0 + 1));
    assert!(!memory.compare_and_delete("k", Expected::new(b"2", stamp)).unwrap());
    assert_eq!(get(&memory, "k"), Some(text("2")));
    let new = TtlUpdate::New(Expiry::Never);
    assert!(memory.compare_and_set("k", Expected::value(b"2"), text("3"), new).unwrap());
    assert_eq!(memory.ttl("k").unwrap(), Some(Ttl::Forever));
    assert!(memory.compare_and_delete("k", Expected::value(b"3")).unwrap());
    assert!(!memory.compare_and_set("k", Expected::value(b"3"), text("4"), new).unwrap());
}

#[test]
fn rename_moves_value_and_lifetime() {
    let memory = Memory::new();
    assert!(!memory.rename("a", "b").unwrap());
    // Many pairs: the keys of some are in one shard, those of others are not.
    for n in 0..200 {
        let (from, to) = (format!("from{n}"), format!("to{n}"));
        memory.set(&from, text("v"), Expiry::Never, SetMode::Always).unwrap();
        put(&memory, &to, "old");
        assert!(memory.rename(&from, &to).unwrap());
        assert_eq!((get(&memory, &from), get(&memory, &to)), (None, Some(text("v"))));
        assert_eq!(memory.ttl(&to).unwrap(), Some(Ttl::Forever));
    }
    assert!(!memory.rename("from0", "to0").unwrap(), "nothing changes without a source");
    assert_eq!(get(&memory, "to0"), Some(text("v")));
}

#[test]
fn clear_removes_only_its_namespace() {
    let memory = Memory::new();
    let shop = Namespace::new("shop").unwrap();
    let others = ["shop:eu:1:a", "shopping:1:a", "foreign", ":1:a", "shop", "shop:1", "shop:x:1"];
    for key in others {
        put(&memory, key, "1");
    }
    for n in 0..5000 {
        put(&memory, &format!("shop:{}:{n}", n % 7 - 3), "1");
    }
    put(&memory, "shop:tag:a", "1");
    memory.clear(&shop).unwrap();
    assert_eq!(memory.len(), others.len());
    assert!(others.iter().all(|key| memory.has(key).unwrap()));
    memory.clear_store().unwrap();
    assert!(memory.is_empty());
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn stored_value_does_not_keep_a_larger_buffer_alive() {
    let memory = Memory::new();
    let buffer = bytes::Bytes::from(vec![1; 1_000_000]);
    memory.set("k", buffer.slice(10..20), Expiry::Never, SetMode::Always).unwrap();
    assert!(buffer.is_unique(), "the store keeps the caller's buffer");
}
