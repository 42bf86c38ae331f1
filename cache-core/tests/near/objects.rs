//! Decoded values beside near entries.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, FetchSettings, RequestMemo,
    config::{ByteSize, Period},
    secs,
    store::Expiry,
    testing::{Fault, Faulty},
};
use cache_memory::Memory;

use crate::support::{LONG, TIMEOUT, World, near, world, world_with};

const SECOND: Duration = Duration::from_secs(1);

async fn get(world: &World) -> Option<Arc<i32>> {
    world.cache.get_arc("k").await.unwrap()
}

/// Reads the key twice, and returns the value if both reads return the same object.
async fn kept(world: &World) -> Option<Arc<i32>> {
    let (first, second) = (get(world).await?, get(world).await?);
    Arc::ptr_eq(&first, &second).then_some(second)
}

#[tokio::test]
async fn value_is_decoded_once_and_counted_as_a_near_hit() {
    let world = world();
    world.put("1", LONG).await;
    let first = get(&world).await.unwrap();
    for _ in 0..9 {
        assert!(Arc::ptr_eq(&first, &get(&world).await.unwrap()));
    }
    let never = async |_| Ok::<i32, std::fmt::Error>(9);
    let fetched = world.cache.fetch("k").arc().load(never).await.unwrap();
    assert!(Arc::ptr_eq(&first, &fetched));
    let near = world.cache.stats().near.unwrap();
    assert_eq!((near.hits, near.misses, world.far_reads()), (10, 1, 1));

    world.far.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let strict = world.cache.strict();
    assert_eq!(strict.get_arc::<i32>("k").await.unwrap(), Some(first));
    assert_eq!(strict.get_arc::<i32>("other").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn write_of_this_process_replaces_the_value() {
    let world = world();
    world.put("1", LONG).await;
    let old = kept(&world).await.unwrap();
    world.cache.set("k", &2, secs(600)).await.unwrap();
    assert_eq!(Arc::strong_count(&old), 1, "the tier keeps the value");
    assert_eq!(*kept(&world).await.unwrap(), 2);
    assert_eq!(world.cache.incr("k", 1).await.unwrap(), 3);
    assert_eq!(*kept(&world).await.unwrap(), 3);
    assert!(world.cache.delete("k").await.unwrap());
    assert_eq!(get(&world).await, None);
    world.cache.set("k", &4, secs(600)).await.unwrap();
    kept(&world).await.unwrap();
    world.cache.clear().await.unwrap();
    assert_eq!(get(&world).await, None);
}

#[tokio::test]
async fn value_is_near_no_longer_than_its_entry() {
    let world = world();
    world.put("1", LONG).await;
    kept(&world).await.unwrap();
    world.put("2", LONG).await;
    world.time.advance(29 * SECOND);
    assert_eq!(*kept(&world).await.unwrap(), 1, "the entry is near until the timeout");
    world.time.advance(SECOND);
    assert_eq!(*kept(&world).await.unwrap(), 2);

    world.time.advance(TIMEOUT);
    world.put("3", Expiry::After(5 * SECOND)).await;
    assert_eq!(*kept(&world).await.unwrap(), 3);
    world.time.advance(4 * SECOND);
    assert_eq!(*kept(&world).await.unwrap(), 3);
    world.time.advance(SECOND);
    assert_eq!(get(&world).await, None);
}

#[tokio::test]
async fn stale_and_invalid_values_are_missing() {
    let world = world_with(|it| {
        it.fetch = FetchSettings::with_grace(Period::from_secs(3600));
        it.fetch.jitter = Some(0.0);
        it.tags = true;
    });
    world.cache.fetch("k").ttl(20 * SECOND).prime(&1).await.unwrap();
    let value = kept(&world).await.unwrap();
    world.time.advance(19 * SECOND);
    assert!(Arc::ptr_eq(&value, &get(&world).await.unwrap()));
    world.time.advance(SECOND);
    assert_eq!(get(&world).await, None, "the value is stale");

    let tagged = world.cache.with_tags(["t"]);
    tagged.set("k", &2, secs(600)).await.unwrap();
    assert_eq!(*kept(&world).await.unwrap(), 2);
    world.cache.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(get(&world).await, None);
}

/// The tier is emptied by a new generation, which leaves the entries in the near store.
#[tokio::test]
async fn value_of_an_earlier_generation_is_not_returned() {
    let world = world();
    world.put("1", LONG).await;
    let old = kept(&world).await.unwrap();
    world.put("2", LONG).await;
    world.cache.close().await.unwrap();
    let new = kept(&world).await.unwrap();
    assert_eq!((*old, *new), (1, 2));
}

#[tokio::test]
async fn value_that_is_too_large_for_the_tier_is_decoded_each_time() {
    let world = world_with(|it| {
        it.near.as_mut().unwrap().max_bytes = ByteSize::new(64 << 10);
    });
    let text = "x".repeat(100_000);
    world.cache.set("k", &text, secs(60)).await.unwrap();
    let read = async || world.cache.get_arc::<String>("k").await.unwrap().unwrap();
    let (first, second) = (read().await, read().await);
    assert!(*first == text && first == second && !Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn eviction_from_the_tier_drops_the_value() {
    let world = world_with(|it| it.near.as_mut().unwrap().max_entries = 100);
    let mut values = Vec::new();
    for n in 0..5_000 {
        let key = format!("k{n}");
        world.cache.set(&key, &n, secs(600)).await.unwrap();
        let value = world.cache.get_arc::<i32>(&key).await.unwrap().unwrap();
        values.push(Arc::downgrade(&value));
    }
    let alive = values.iter().filter(|it| it.strong_count() > 0).count();
    assert!((1..=100).contains(&alive), "{alive}");
}

/// The memo decides which bytes a request sees, and their value is still shared.
#[tokio::test]
async fn memo_of_a_request_repeats_its_answer() {
    let world = world();
    world.put("1", LONG).await;
    let outside = kept(&world).await.unwrap();
    let moment = Duration::from_millis(500);
    world.time.advance(59 * moment);
    RequestMemo::new()
        .scope(async {
            let first = get(&world).await.unwrap();
            assert!(Arc::ptr_eq(&first, &outside));
            world.put("2", LONG).await;
            world.time.advance(moment);
            assert_eq!(*get(&world).await.unwrap(), 1, "the memo has the answer");
        })
        .await;
    assert_eq!(*get(&world).await.unwrap(), 2);
}

/// A read that begins after a write was acknowledged returns its value or a later one.
#[test]
fn older_value_is_never_returned_after_a_write_of_this_process() {
    const ROUNDS: u64 = 3_000;
    let far = Faulty::new(Memory::new());
    // A call that stands still for a moment must not fail open.
    let cache = Cache::builder(far).near(near()).deadline(60 * SECOND);
    let cache = cache.build("test").unwrap().blocking();
    cache.set("k", &0, secs(600)).unwrap();
    let (acknowledged, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !is_done.load(SeqCst) {
                    let before = acknowledged.load(SeqCst);
                    let found = cache.get_arc::<u64>("k").unwrap().unwrap();
                    assert!(*found >= before, "{found} after {before}");
                }
            });
        }
        start.wait();
        for round in 1..=ROUNDS {
            cache.set("k", &round, secs(600)).unwrap();
            acknowledged.store(round, SeqCst);
            // A time in which a value is shared.
            for _ in 0..round % 8 {
                assert!(*cache.get_arc::<u64>("k").unwrap().unwrap() >= round);
            }
        }
        is_done.store(true, SeqCst);
    });
    let hits = cache.stats().near.unwrap().hits;
    assert!(hits > ROUNDS, "{hits} hits");
}
