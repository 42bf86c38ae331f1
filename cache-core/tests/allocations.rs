//! Hits of shared values allocate nothing.
//!
//! A program of its own, because every allocation of the process is counted.

#![allow(missing_docs)]

use std::{alloc::System, convert::Infallible, sync::Arc};

use cache_core::{
    Cache, CacheBuilder, FetchSettings, NearInvalidation, NearSettings, config::Period, secs,
    testing::Faulty,
};
use cache_memory::Memory;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns how many allocations a call makes after the first ones. The harness may allocate
/// meanwhile, so that the smallest of several counts is right.
async fn allocations(call: impl AsyncFn()) -> usize {
    let mut least = usize::MAX;
    for _ in 0..5 {
        call().await;
        call().await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..100 {
            call().await;
        }
        let change = region.change();
        least = least.min(change.allocations + change.reallocations);
    }
    least
}

/// Returns a cache over memory, and one with a near tier.
fn caches(change: impl Fn(CacheBuilder) -> CacheBuilder) -> [Cache; 2] {
    let mut near = NearSettings::default();
    near.invalidation = NearInvalidation::None;
    let builders =
        [Cache::builder(Memory::new()), Cache::builder(Faulty::new(Memory::new())).near(near)];
    builders.map(|it| change(it).build("test").unwrap())
}

#[tokio::test]
async fn hit_of_a_shared_value_allocates_nothing() {
    // The feature `metrics` allocates labels for each count.
    let mut counts = [0, 0];
    for (cache, count) in caches(|it| it).iter().zip(&mut counts) {
        cache.set("k", &1, secs(600)).await.unwrap();
        let bytes = cache.bytes();
        *count = allocations(async || drop(bytes.get("k").await.unwrap().unwrap())).await;
    }
    if cfg!(not(feature = "metrics")) {
        assert_eq!(counts, [0, 0]);
    }
    let grace = FetchSettings::with_grace(Period::from_secs(3600));
    for caches in [caches(|it| it), caches(|it| it.tags(true).fetch(grace))] {
        for (cache, counts) in caches.iter().zip(counts) {
            check(cache, counts).await;
        }
    }
}

/// Checks that hits allocate only what counting needs.
async fn check(cache: &Cache, counts: usize) {
    let value: Vec<String> = (0..100).map(|it| format!("number {it}")).collect();
    cache.fetch("k").ttl(secs(600)).prime(&value).await.unwrap();
    let get = async || {
        cache.get_arc::<Vec<String>>("k").await.unwrap().unwrap();
    };
    assert_eq!(allocations(get).await, counts, "{cache:?}");
    let fetch = async || {
        let load = async |_| Ok::<Vec<String>, Infallible>(Vec::new());
        cache.fetch("k").ttl(secs(600)).arc().load(load).await.unwrap();
    };
    assert_eq!(allocations(fetch).await, counts, "{cache:?}");
    let first = cache.get_arc::<Vec<String>>("k").await.unwrap().unwrap();
    let second = cache.get_arc::<Vec<String>>("k").await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second) && *first == value);
    let decode = async || {
        cache.get::<Vec<String>>("k").await.unwrap().unwrap();
    };
    assert!(allocations(decode).await >= 100 * value.len(), "allocations are counted");
}
