//! How long a decoded value is kept.

use std::sync::{Arc, Weak};

use cache_core::{
    Cache, Ttl,
    layer::Operation,
    secs,
    store::{Expiry, SetMode, SyncBackend},
};
use cache_memory::Memory;

use crate::{HOUR, MINUTE, SECOND, User, cache, cache_without_objects, get, kept, user};

#[tokio::test]
async fn value_is_decoded_once() {
    let (cache, _) = cache();
    assert_eq!(get(&cache).await, None);
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    let first = kept(&cache).await.unwrap();
    assert_eq!(*first, user("Ada"));
    assert_eq!(cache.get::<User>("k").await.unwrap(), Some(user("Ada")));
    assert!(Arc::ptr_eq(&first, &get(&cache).await.unwrap()), "another read leaves it");
    let blocking = cache.blocking();
    let read = tokio::task::spawn_blocking(move || blocking.get_arc::<User>("k").unwrap());
    assert!(Arc::ptr_eq(&first, &read.await.unwrap().unwrap()));
}

#[tokio::test]
async fn store_without_objects_decodes_each_time() {
    let cache = cache_without_objects();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    assert_eq!(get(&cache).await.as_deref(), Some(&user("Ada")));
    assert_eq!(kept(&cache).await, None, "two reads return two values");
}

/// Each change removes the decoded value with the bytes, also if the new bytes are the same.
#[tokio::test]
async fn change_of_the_entry_drops_the_value() {
    type Change = fn(&Cache) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let changes: [(&str, Change); 9] = [
        ("set", |it| Box::pin(async { it.set("k", &user("Bob"), HOUR).await.unwrap() })),
        ("set of the same", |it| {
            Box::pin(async { it.set("k", &user("Ada"), HOUR).await.unwrap() })
        }),
        ("replace", |it| {
            Box::pin(async { assert!(it.replace("k", &user("Bob"), HOUR).await.unwrap()) })
        }),
        ("set_many", |it| {
            Box::pin(async {
                let items = [("k", user("Bob"))];
                it.set_many(items, HOUR).await.unwrap().into_result().unwrap();
            })
        }),
        ("update", |it| {
            Box::pin(async {
                it.update("k", HOUR, |_: User| user("Bob")).await.unwrap();
            })
        }),
        ("delete", |it| Box::pin(async { assert!(it.delete("k").await.unwrap()) })),
        ("pop", |it| Box::pin(async { assert!(it.pop::<User>("k").await.unwrap().is_some()) })),
        ("clear", |it| Box::pin(async { it.clear().await.unwrap() })),
        ("incr_version", |it| {
            Box::pin(async { assert_eq!(it.incr_version("k", 1).await.unwrap(), 2) })
        }),
    ];
    for (name, change) in changes {
        let (cache, _) = cache();
        cache.set("k", &user("Ada"), HOUR).await.unwrap();
        let old = kept(&cache).await.unwrap();
        change(&cache).await;
        assert_eq!(Arc::strong_count(&old), 1, "{name}: the store keeps the value");
        let expected = cache.get::<User>("k").await.unwrap();
        let new = get(&cache).await;
        assert_eq!(new.as_deref(), expected.as_ref(), "{name}");
        assert!(new.is_none_or(|it| !Arc::ptr_eq(&it, &old)), "{name}");
    }
}

#[tokio::test]
async fn versions_and_namespaces_have_their_own_values() {
    let (cache, _) = cache();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    kept(&cache).await.unwrap();
    let second = cache.at_version(2);
    assert_eq!(get(&second).await, None);
    second.set("k", &user("Bob"), HOUR).await.unwrap();
    assert_eq!(*kept(&second).await.unwrap(), user("Bob"));

    let users = cache.namespace("users").unwrap();
    assert_eq!(get(&users).await, None);
    users.set("k", &user("Eve"), HOUR).await.unwrap();
    assert_eq!(*kept(&users).await.unwrap(), user("Eve"));
    users.clear().await.unwrap();
    assert_eq!(get(&users).await, None);
    assert_eq!(*kept(&cache).await.unwrap(), user("Ada"));
}

#[tokio::test]
async fn expired_value_is_not_returned() {
    let (cache, time) = cache();
    cache.set("k", &user("Ada"), MINUTE).await.unwrap();
    let value = kept(&cache).await.unwrap();
    time.advance(59 * SECOND);
    assert!(kept(&cache).await.is_some());
    time.advance(SECOND);
    assert_eq!(get(&cache).await, None);
    assert_eq!(Arc::strong_count(&value), 1, "the read has freed the entry");
}

#[tokio::test]
async fn touch_keeps_the_value_with_the_new_lifetime() {
    let (cache, time) = cache();
    cache.set("k", &user("Ada"), MINUTE).await.unwrap();
    let value = kept(&cache).await.unwrap();
    assert!(cache.touch("k", HOUR).await.unwrap());
    time.advance(2 * MINUTE);
    assert!(Arc::ptr_eq(&value, &kept(&cache).await.unwrap()));
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(58 * MINUTE)));
    assert!(cache.touch("k", SECOND).await.unwrap());
    time.advance(SECOND);
    assert_eq!(get(&cache).await, None);
}

#[tokio::test]
async fn eviction_drops_the_value() {
    let memory = Memory::builder().max_entries(1000).build().unwrap();
    let cache = Cache::builder(memory).build("test").unwrap();
    let mut values: Vec<Weak<User>> = Vec::new();
    for n in 0..20_000 {
        let key = format!("k{n}");
        cache.set(&key, &user(&key), HOUR).await.unwrap();
        // An entry may be evicted at once.
        if let Some(value) = cache.get_arc::<User>(&key).await.unwrap() {
            values.push(Arc::downgrade(&value));
        }
    }
    let alive = values.iter().filter(|it| it.strong_count() > 0).count();
    assert!(values.len() > 10_000 && (1..=1000).contains(&alive), "{alive} of {}", values.len());
    drop(cache);
    assert_eq!(values.iter().filter(|it| it.strong_count() > 0).count(), 0);
}

/// The bounds count the stored bytes, and reads of shared values count as reads.
#[tokio::test]
async fn object_does_not_count_for_the_bounds() {
    let memory = Arc::new(Memory::new());
    let store = cache_core::store::Inline::from_arc(Arc::clone(&memory)).with_objects();
    let cache = Cache::builder(Arc::new(store)).build("test").unwrap();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    let before = memory.bytes();
    kept(&cache).await.unwrap();
    assert_eq!((memory.bytes(), memory.len()), (before, 1));
    let get = cache.stats()[Operation::Get];
    assert_eq!((get.hits, get.misses), (2, 0));

    // A write of another handle of the store.
    let bob = serde_json::to_vec(&user("Bob")).unwrap();
    memory.set(":1:k", bob.into(), Expiry::Never, SetMode::Always).unwrap();
    assert_eq!(*kept(&cache).await.unwrap(), user("Bob"));
    let add = cache.add("k", &user("Eve"), secs(1)).await.unwrap();
    assert!(!add && *kept(&cache).await.unwrap() == user("Bob"));
}
