//! Tags and namespaces: each process has markers of its own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    FetchOutcome, Loaded, Result, secs,
    store::{Expiry, Inline, IntoBackend as _, SetMode, SyncBackend, forward},
};
use cache_memory::Memory;

use crate::{
    hub::Hub,
    support::{builder, get, process, put, two},
};

/// With this staleness, only the message makes the other process forget a version.
const LONG: &str = "tag_staleness = '1h'\nfetch.grace = '1h'";

#[tokio::test]
async fn invalidated_tag_reaches_the_other_process_at_once() {
    let (_hub, one, other) = two(LONG).await;
    for round in 0..3 {
        for cache in [&one, &other] {
            cache.with_tags(["org:3"]).set("k", &round, secs(600)).await.unwrap();
            cache.with_tags(["org:4"]).set("other", &round, secs(600)).await.unwrap();
            assert_eq!(get(cache, "k").await, Some(round));
        }
        one.invalidate_tags(["org:3"]).await.unwrap();
        for cache in [&one, &other] {
            assert_eq!(get(cache, "k").await, None);
            assert_eq!(get(cache, "other").await, Some(round));
            let fails = |_| async { Err::<i32, _>(io::Error::other("down")) };
            assert!(cache.fetch("k").load(fails).await.is_err(), "it is not served stale");
        }
    }
}

#[tokio::test]
async fn expired_tag_is_served_stale_in_the_other_process() {
    let (_hub, one, other) = two(LONG).await;
    for cache in [&one, &other] {
        cache.with_tags(["org:3"]).fetch("k").prime(&1).await.unwrap();
        assert_eq!(get(cache, "k").await, Some(1));
    }
    for _ in 0..3 {
        one.expire_tags(["org:3"]).await.unwrap();
        assert_eq!(get(&other, "k").await, None);
        let fails = |_| async { Err::<Loaded<i32>, _>(io::Error::other("down")) };
        let fetched = other.fetch("k").outcome(fails).await.unwrap();
        assert!(matches!(fetched.outcome, FetchOutcome::Stale { .. }), "{:?}", fetched.outcome);
        assert_eq!(fetched.value, Some(1));
    }
    one.invalidate_tags(["org:3"]).await.unwrap();
    let fails = |_| async { Err::<i32, _>(io::Error::other("down")) };
    assert!(other.fetch("k").load(fails).await.is_err());
}

/// Memory in which a marker is replaced when it was read.
#[derive(Debug)]
struct Replacing(Arc<dyn SyncBackend>, Arc<AtomicBool>);

impl SyncBackend for Replacing {
    forward!(SyncBackend, self.0, except get);

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let found = self.0.get(key);
        if key.contains(":tag:") && self.1.swap(false, SeqCst) {
            let version = Bytes::from_static(b"0000000100000");
            self.0.set(key, version, Expiry::Never, SetMode::Always)?;
        }
        found
    }
}

#[tokio::test]
async fn expiry_of_another_process_does_not_undo_an_invalidation_of_this_one() {
    let hub = Hub::new();
    let one = process(&hub, LONG).await;
    let is_armed = Arc::new(AtomicBool::new(false));
    let memory = Memory::new().into_backend().views().sync.unwrap();
    let memory = Inline::new(Replacing(memory, Arc::clone(&is_armed)));
    let other = builder(&hub, LONG).backend("default", memory).build().unwrap();
    let other = other.get("default").unwrap().clone();
    other.check().await.unwrap();
    for cache in [&one, &other] {
        cache.with_tags(["org:3"]).fetch("k").prime(&1).await.unwrap();
        assert_eq!(get(cache, "k").await, Some(1));
    }
    is_armed.store(true, SeqCst);
    one.expire_tags(["org:3"]).await.unwrap();
    assert!(!is_armed.load(SeqCst), "the marker was replaced during the message");
    assert_eq!(get(&other, "k").await, None);
    let fails = |_| async { Err::<i32, _>(io::Error::other("down")) };
    assert!(other.fetch("k").load(fails).await.is_err(), "the value is invalid, and not stale");
}

#[tokio::test]
async fn cleared_namespace_is_empty_in_the_other_process_at_once() {
    let (_hub, one, other) = two(LONG).await;
    let (ours, theirs) = (one.namespace("users").unwrap(), other.namespace("users").unwrap());
    let inner = theirs.namespace("eu").unwrap();
    for _ in 0..3 {
        put(&[&ours, &theirs, &inner, &other], "7", 1).await;
        ours.clear().await.unwrap();
        assert_eq!(get(&theirs, "7").await, None);
        assert_eq!(get(&inner, "7").await, None);
        assert_eq!(get(&other, "7").await, Some(1));
        put(&[&theirs], "7", 2).await;
        assert!(!ours.delete("7").await.unwrap(), "its generation is another one");
    }
}

/// A load reads the versions of its tags before it begins.
#[tokio::test]
async fn load_that_began_before_an_invalidation_of_another_process_is_not_served() {
    let (_hub, one, other) = two(LONG).await;
    let (begun, release) = (tokio::sync::Semaphore::new(0), tokio::sync::Semaphore::new(0));
    let tagged = other.with_tags(["org:3"]);
    let load = tagged.get_or_set("k", secs(600), || async {
        begun.add_permits(1);
        release.acquire().await.unwrap().forget();
        1
    });
    let invalidate = async {
        begun.acquire().await.unwrap().forget();
        one.invalidate_tags(["org:3"]).await.unwrap();
        // A later caller does not wait for the old load.
        let later = tagged.get_or_set("k", secs(600), || async { 2 });
        let later = tokio::time::timeout(Duration::from_secs(60), later).await.unwrap();
        assert_eq!(later.unwrap(), 2);
        release.add_permits(1);
    };
    let (loaded, ()) = tokio::join!(load, invalidate);
    assert_eq!(loaded.unwrap(), 1);
    assert_eq!(get(&other, "k").await, Some(2));
}
