//! The entries that are near, and for how long.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    ErrorKind, FetchSettings, Ttl,
    config::Period,
    layer::Operation,
    secs,
    store::{Backend as _, Expiry, SetMode},
    testing::Fault,
};

use crate::support::{KEY, LONG, TIMEOUT, world, world_with};

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test]
async fn value_is_read_from_the_far_store_once() {
    let world = world();
    world.put("1", LONG).await;
    for _ in 0..10 {
        assert_eq!(world.get().await, Some(1));
    }
    let value: i32 = world.cache.get_or_set("k", secs(60), async || 9).await.unwrap();
    let fetched = world.cache.fetch("k").load(async |_| Ok::<_, std::fmt::Error>(9));
    assert_eq!((value, fetched.await.unwrap()), (1, 1));
    assert!(world.cache.has_key("k").await.unwrap());
    let many = world.cache.get_many::<i32, _>(["k"]).await.unwrap();
    assert_eq!(many["k"], 1);
    let loaded = async |_: Vec<&'static str>| [("k", 9)];
    let many = world.cache.get_or_set_many(["k"], secs(60), loaded).await.unwrap();
    assert_eq!((many["k"], world.far_reads()), (1, 1));
    let near = world.cache.stats().near.unwrap();
    assert_eq!((near.hits, near.misses, near.bypassed), (14, 1, 0));
}

#[tokio::test]
async fn hit_needs_no_far_store() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.far.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(world.cache.strict().get::<i32>("k").await.unwrap(), Some(1));
    let error = world.cache.strict().get::<i32>("other").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn write_of_another_process_is_visible_after_the_timeout() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.put("2", LONG).await;
    world.time.advance(Duration::from_secs(29));
    assert_eq!(world.get().await, Some(1), "the entry is near until the timeout");
    world.time.advance(Duration::from_secs(1));
    assert_eq!(world.get().await, Some(2));
}

/// The far store has answered a read with damaged bytes, and the answer arrives after another
/// process has replaced them.
#[tokio::test]
async fn damaged_bytes_do_not_stay_near() {
    let world = world();
    let damaged = Bytes::from_static(&[0xc1, 0xca, 1, 1, 9, 9, 9]);
    world.far.set(KEY, damaged, LONG, SetMode::Always).await.unwrap();
    let read = world.read_late().await;
    world.put("7", LONG).await;
    world.late.release();
    assert_eq!(read.await.unwrap(), None);
    assert_eq!(world.get().await, Some(7));
}

#[tokio::test]
async fn timeout_counts_from_the_beginning_of_the_read() {
    let world = world();
    world.put("1", LONG).await;
    let read = world.read_late().await;
    world.put("2", LONG).await;
    world.time.advance(Duration::from_secs(10));
    world.late.release();
    assert_eq!(read.await.unwrap(), Some(1));
    world.time.advance(Duration::from_secs(15));
    assert!(!world.is_far().await, "the entry is near");
    world.time.advance(Duration::from_secs(5));
    assert_eq!(world.get().await, Some(2));
}

#[tokio::test]
async fn entry_is_near_no_longer_than_far() {
    let world = world();
    world.put("1", Expiry::After(Duration::from_secs(5))).await;
    assert_eq!(world.get().await, Some(1));
    world.time.advance(Duration::from_secs(4));
    assert_eq!(world.cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(Duration::from_secs(1))));
    assert!(!world.is_far().await, "the entry is near");
    world.time.advance(Duration::from_secs(1));
    assert_eq!(world.get().await, None);
    assert!(!world.cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn ttl_of_a_near_entry_is_that_of_the_far_entry() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    world.time.advance(Duration::from_secs(10));
    let left = Duration::from_secs(3590);
    assert_eq!(world.cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(left)));
    assert_eq!(world.far.calls(Operation::Ttl), 0);
}

#[tokio::test]
async fn batch_reads_what_is_not_near_with_one_call() {
    let world = world();
    for key in ["a", "b", "c"] {
        world.cache.set(key, key, secs(60)).await.unwrap();
    }
    world.cache.get::<String>("b").await.unwrap();
    let before = world.far_reads();
    for _ in 0..2 {
        let found = world.cache.get_many::<String, _>(["a", "b", "c", "d"]).await.unwrap();
        assert_eq!(found, ["a", "b", "c"].map(|it| (it, it.to_owned())).into());
    }
    // The second call asks for `d` alone.
    assert_eq!(world.far_reads() - before, 2);
    let near = world.cache.stats().near.unwrap();
    assert_eq!((near.hits, near.misses), (1 + 3, 1 + 3 + 1));
}

#[tokio::test]
async fn missing_key_is_not_near() {
    let world = world();
    assert_eq!(world.get().await, None);
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
}

#[tokio::test]
async fn stale_value_is_not_near() {
    let hour = Period::from_secs(3600);
    let world = world_with(|it| it.fetch = FetchSettings::with_grace(hour));
    let fetch = |value: i32| {
        let fetch = world.cache.fetch("k").ttl(secs(20)).jitter(0.0);
        fetch
            .soft_timeout(Duration::from_secs(9))
            .load(async move |_| Ok::<_, std::fmt::Error>(value))
    };
    assert_eq!(fetch(1).await.unwrap(), 1);
    assert_eq!(world.get().await, Some(1));
    world.time.advance(Duration::from_secs(19));
    assert!(!world.is_far().await, "a fresh value is near");
    world.time.advance(Duration::from_secs(1));
    assert_eq!(world.get().await, None, "the value is stale");
    assert_eq!(fetch(2).await.unwrap(), 2);
    assert_eq!(world.get().await, Some(2));
}

#[tokio::test]
async fn lease_of_a_fenced_load_is_not_near() {
    let world = world_with(|it| {
        it.fetch = FetchSettings::default();
        it.fetch.fenced = Some(true);
    });
    let loaded = world.cache.get_or_set("k", secs(60), async || {
        assert!(world.far.has(KEY).await.unwrap(), "the lease is stored");
        assert_eq!(world.get().await, None);
        assert_eq!(world.get().await, None);
        1
    });
    assert_eq!(loaded.await.unwrap(), 1);
    assert_eq!(world.get().await, Some(1));
}

#[tokio::test]
async fn value_that_is_too_large_for_the_tier_is_read_from_the_far_store() {
    let world = world_with(|it| {
        it.near.as_mut().unwrap().max_bytes = cache_core::config::ByteSize::new(64 << 10);
    });
    let value = "x".repeat(100_000);
    world.cache.set("k", &value, secs(60)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.cache.get::<String>("k").await.unwrap().as_ref(), Some(&value));
    }
    assert_eq!(world.far_reads(), 2);
}

#[tokio::test]
async fn invalidated_tag_is_invalid_near_at_once() {
    let world = world_with(|it| it.tags = true);
    let cache = world.cache.with_tags(["t"]);
    cache.set("k", &1, secs(600)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.get().await, Some(1));
    }
    world.cache.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(world.get().await, None);
}

#[tokio::test]
async fn namespace_is_empty_near_after_a_clear() {
    let world = world();
    let users = world.cache.namespace("users").unwrap();
    users.set("k", &1, secs(600)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(users.get::<i32>("k").await.unwrap(), Some(1));
    }
    users.clear().await.unwrap();
    assert_eq!(users.get::<i32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn blocking_handle_reads_near() {
    let world = world();
    world.put("1", LONG).await;
    assert_eq!(world.get().await, Some(1));
    let (cache, before) = (world.cache.blocking(), world.far_reads());
    let read = tokio::task::spawn_blocking(move || cache.get::<i32>("k").unwrap());
    assert_eq!(read.await.unwrap(), Some(1));
    assert_eq!(world.far_reads(), before);
    world.time.advance(TIMEOUT + MILLI);
    assert!(world.is_far().await);
}
