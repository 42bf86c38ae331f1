//! Damaged files, in every operation that reads them: a miss, which is an error in strict mode, and
//! the next write repairs it.

use std::{fs, path::Path};

use cache_core::{
    Cache, ErrorKind, secs,
    store::{Expected, Expiry, Namespace, SetMode},
};

use crate::place::{Place, cache, store};

/// A name, and a change to the file of an entry.
type Harm = (&'static str, fn(&Path));

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

const HARMS: [Harm; 11] = [
    ("empty", |it| change(it, Vec::clear)),
    ("cut in the header", |it| change(it, |it| it.truncate(20))),
    ("cut in the key", |it| change(it, |it| it.truncate(50))),
    ("cut in the value", |it| change(it, |it| it.truncate(it.len() - 1))),
    ("one bit of the header", |it| change(it, |it| it[25] ^= 4)),
    ("one bit of the value", |it| change(it, |it| *it.last_mut().unwrap() ^= 1)),
    ("wrong magic", |it| change(it, |it| it[0] = b'x')),
    ("a huge length of the value", |it| change(it, |it| it[16..24].fill(0xff))),
    ("a huge length of the key", |it| change(it, |it| it[6..8].fill(0xff))),
    ("another key's file", |it| {
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/good-small"), it).unwrap();
    }),
    ("nothing but zeros", |it| change(it, |it| it.fill(0))),
];

async fn harmed(len: usize, harm: Harm) -> (Place, Cache) {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.bytes().set("k", &vec![b'1'; len], secs(600)).await.unwrap();
    harm.1(&place.file());
    (place, cache)
}

/// A value that fits one page, and one that needs many.
const LENGTHS: [usize; 2] = [10, 50_000];

fn missed<T>(res: Result<Option<T>, cache_core::Error>) -> bool {
    match res {
        Ok(it) => it.is_none(),
        Err(error) => error.kind() == ErrorKind::Codec,
    }
}

#[tokio::test]
async fn damaged_entry_is_a_miss_and_can_be_written_again() {
    for len in LENGTHS {
        for harm in HARMS {
            let what = format!("{} of {len}", harm.0);
            let (_place, cache) = harmed(len, harm).await;
            assert!(missed(cache.bytes().get("k").await), "{what}");
            assert!(
                cache.bytes().get("k").await.unwrap().is_none(),
                "{what}: the error comes once"
            );

            let (_place, cache) = harmed(len, harm).await;
            let many = cache.get_many::<String, _>(["k"]).await;
            assert!(
                many.map_or_else(|it| it.kind() == ErrorKind::Codec, |it| it.is_empty()),
                "{what}"
            );

            let (_place, cache) = harmed(len, harm).await;
            assert!(missed(cache.pop::<String>("k").await), "{what}");
            assert!(missed(cache.pop::<String>("k").await), "{what}");

            // These do not read the value of a large entry.
            if len < 4000 || harm.0 != "one bit of the value" {
                let (_place, cache) = harmed(len, harm).await;
                assert!(!cache.has_key("k").await.unwrap(), "{what}");
                let (_place, cache) = harmed(len, harm).await;
                assert_eq!(cache.ttl("k").await.unwrap(), None, "{what}");
                let (_place, cache) = harmed(len, harm).await;
                assert!(!cache.touch("k", secs(5)).await.unwrap(), "{what}");
                let (_place, cache) = harmed(len, harm).await;
                assert!(!cache.delete("k").await.unwrap(), "{what}");
                let (_place, cache) = harmed(len, harm).await;
                assert!(!cache.replace("k", &2, secs(5)).await.unwrap(), "{what}");
                let (_place, cache) = harmed(len, harm).await;
                assert!(cache.add("k", &2, secs(5)).await.unwrap(), "{what}");
                assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2), "{what}");
            }

            let (_place, cache) = harmed(len, harm).await;
            let error = cache.incr("k", 1).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{what}");
            assert_eq!(cache.incr_or("k", 1, 5, secs(5)).await.unwrap(), 6, "{what}");

            let (_place, cache) = harmed(len, harm).await;
            cache.set("k", &3, secs(5)).await.unwrap();
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(3), "{what}");
        }
    }
}

#[tokio::test]
async fn store_treats_a_damaged_entry_as_absent() {
    for len in LENGTHS {
        for (what, harm) in HARMS {
            let place = Place::new();
            let store = store(&place.path, "");
            let value = vec![b'1'; len];
            let harmed = async || {
                let set = store.set(":1:k", value.clone().into(), Expiry::Never, SetMode::Always);
                set.await.unwrap();
                harm(&place.file());
            };
            harmed().await;
            assert!(
                !store.compare_and_delete(":1:k", Expected::value(&value)).await.unwrap(),
                "{what}"
            );
            harmed().await;
            let set = store.compare_and_set(
                ":1:k",
                Expected::value(&value),
                "2".into(),
                cache_core::store::TtlUpdate::Keep,
            );
            assert!(!set.await.unwrap(), "{what}");
            harmed().await;
            assert!(!store.rename(":1:k", ":2:k").await.unwrap(), "{what}");
            assert!(!store.has(":2:k").await.unwrap(), "{what}");
            harmed().await;
            assert!(missed(store.get_entry(":1:k").await), "{what}");
            harmed().await;
            assert!(missed(store.get_entries(&[":1:k"]).await.remove(0)), "{what}");
            store.clear(&Namespace::new("").unwrap()).await.unwrap();
            store.clear_store().await.unwrap();
            assert!(place.files().is_empty(), "{what}");
        }
    }
}

/// A damaged entry is `Codec` in strict mode. A cache that fails open loads the value.
#[tokio::test]
async fn damaged_entry_is_an_error_in_strict_mode_and_is_loaded_otherwise() {
    let harm = HARMS[5];
    let (place, strict) = harmed(10, harm).await;
    let error = strict.bytes().get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(
        error.to_string().contains("damaged") && error.to_string().contains("file: "),
        "{error}"
    );

    strict.bytes().set("k", &[b'1'; 10], secs(600)).await.unwrap();
    harm.1(&place.file());
    let open = crate::place::cache_by(cache_core::Clock::system(), &place.path, "");
    assert_eq!(open.get_or_set("k", secs(600), async || 7).await.unwrap(), 7);
    assert_eq!(open.get::<i32>("k").await.unwrap(), Some(7), "the loaded value has replaced it");
}

/// Without reads, the sweeper finds them.
#[tokio::test]
async fn damaged_and_incomplete_files_are_swept() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    for n in 0..20 {
        cache.bytes().set(&n.to_string(), &[b'1'; 5000], secs(600)).await.unwrap();
    }
    for (n, file) in place.files().iter().enumerate() {
        match n % 4 {
            0 => fs::write(file, "").unwrap(),
            1 => change(file, |it| it[0] = 0),
            2 => change(file, |it| it.truncate(100)),
            _ => {}
        }
    }
    for _ in 0..6000 {
        if place.files().len() == 5 {
            return;
        }
        // sleeps: the sweeper runs once a second, by the clock of the machine
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} files instead of 5", place.files().len());
}

/// An entry of a newer release is not damage: reads, `take` and `compare_and_delete` keep it.
#[tokio::test]
async fn entry_of_a_newer_release_stays_until_it_is_deleted() {
    let place = Place::new();
    let store = store(&place.path, "");
    store.set(":1:k", "1".into(), Expiry::Never, SetMode::Always).await.unwrap();
    change(&place.file(), |it| it[4] = 2);
    let newer = fs::read(place.file()).unwrap();
    for error in [store.get(":1:k").await.unwrap_err(), store.take(":1:k").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.to_string().contains("newer release"), "{error}");
    }
    assert!(!store.compare_and_delete(":1:k", Expected::value(b"1")).await.unwrap());
    assert_eq!(fs::read(place.file()).unwrap(), newer);
    store.delete(":1:k").await.unwrap();
    assert!(place.files().is_empty());
}
