//! `expire_tags`: values may still be served stale.

use std::io;

use cache_core::{
    ErrorKind, FetchOutcome, FetchSettings, Loaded, layer::Operation, store::Backend,
    testing::Fault,
};

use crate::{HOUR, MINUTE, SECOND, World, marker};

fn graced() -> World {
    let mut settings = FetchSettings::with_grace(HOUR);
    settings.backoff = Some(std::time::Duration::ZERO.into());
    World::with(settings)
}

#[tokio::test]
async fn expired_value_is_served_when_the_loader_fails_and_missing_otherwise() {
    let World { here, there, time, .. } = graced();
    let tagged = here.with_tags(["t"]);
    tagged.fetch("k").ttl(MINUTE).prime(&1).await.unwrap();
    tagged.set("j", &1, MINUTE).await.unwrap();
    here.expire_tags(["t"]).await.unwrap();
    time.advance(SECOND);
    for cache in [&here, &there] {
        assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
        assert_eq!(cache.get::<u32>("j").await.unwrap(), None);
        assert!(!cache.has_key("k").await.unwrap());
        let fails = |_| async { Err::<Loaded<u32>, _>(io::Error::other("down")) };
        let fetched = cache.fetch("k").outcome(fails).await.unwrap();
        assert_eq!(fetched.value, Some(1));
        assert!(matches!(fetched.outcome, FetchOutcome::Stale { .. }), "{fetched:?}");
        assert!(cache.fetch("j").outcome(fails).await.is_err(), "it has no grace");
        let load = || async { Err::<u32, _>(io::Error::other("down")) };
        assert_eq!(cache.get_or_try_set("k", MINUTE, load).await.unwrap(), 1);
    }
    let wait = MINUTE / 2;
    let fetch = tagged.fetch("k").soft_timeout(wait);
    assert_eq!(fetch.load(|_| async { Ok::<_, io::Error>(2) }).await.unwrap(), 2);
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2), "fresh again");
}

#[tokio::test]
async fn invalidation_after_and_before_an_expiry_wins() {
    for invalidates_first in [true, false] {
        let World { here, there, time, .. } = graced();
        here.fetch("k").tags(["t"]).ttl(MINUTE).prime(&1).await.unwrap();
        // This process remembers the version, which is not the current one at the expiry.
        assert_eq!(there.get::<u32>("k").await.unwrap(), Some(1));
        if invalidates_first {
            here.invalidate_tags(["t"]).await.unwrap();
            there.expire_tags(["t"]).await.unwrap();
        } else {
            there.expire_tags(["t"]).await.unwrap();
            here.invalidate_tags(["t"]).await.unwrap();
        }
        time.advance(SECOND);
        for cache in [&here, &there] {
            let fails = |_| async { Err::<u32, _>(io::Error::other("down")) };
            assert!(cache.fetch("k").load(fails).await.is_err(), "{invalidates_first}");
        }
    }
}

#[tokio::test]
async fn expiry_that_an_invalidation_overtakes_does_not_undo_it() {
    let World { here, there, store, time } = graced();
    here.fetch("k").tags(["t"]).ttl(MINUTE).prime(&1).await.unwrap();
    let held = store.hold(Operation::Update);
    let expiry = tokio::spawn(async move {
        there.expire_tags(["t"]).await.unwrap();
        there
    });
    // It has read the marker, and is about to write it.
    store.arrived(Operation::Update, 1).await;
    here.invalidate_tags(["t"]).await.unwrap();
    held.release();
    let there = expiry.await.unwrap();
    time.advance(SECOND);
    for cache in [&here, &there] {
        let fails = |_| async { Err::<u32, _>(io::Error::other("down")) };
        assert!(cache.fetch("k").load(fails).await.is_err());
    }
}

#[tokio::test]
async fn value_may_be_expired_several_times() {
    let World { here, there, time, .. } = graced();
    here.fetch("k").tags(["t", "u"]).ttl(MINUTE).prime(&1).await.unwrap();
    for _ in 0..3 {
        here.expire_tags(["t", "u"]).await.unwrap();
        time.advance(SECOND);
        there.expire_tags(["t"]).await.unwrap();
    }
    time.advance(SECOND);
    let fails = |_| async { Err::<u32, _>(io::Error::other("down")) };
    assert_eq!(there.fetch("k").load(fails).await.unwrap(), 1);
    assert_eq!(here.fetch("k").load(fails).await.unwrap(), 1);
}

#[tokio::test]
async fn expiry_without_an_answer_is_an_error_and_ends_as_an_invalidation() {
    for operation in [Operation::Get, Operation::Update] {
        let World { here, there, store, time } = graced();
        here.fetch("k").tags(["t"]).ttl(MINUTE).prime(&1).await.unwrap();
        let key = marker("t");
        store.inject(move |call| {
            if call.operation == operation && call.key == Some(key.as_str()) {
                Fault::Error(ErrorKind::Unavailable)
            } else {
                Fault::None
            }
        });
        let error = here.expire_tags(["t"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        store.heal();
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{operation}");
        time.advance(SECOND);
        assert_eq!(there.get::<u32>("k").await.unwrap(), None, "{operation}");
        let fails = |_| async { Err::<u32, _>(io::Error::other("down")) };
        assert!(there.fetch("k").load(fails).await.is_err(), "{operation}");
        assert!(store.get(&marker("t")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn expiry_of_a_tag_that_nothing_carries_succeeds() {
    let World { here, .. } = World::new();
    here.expire_tags(["t", "u"]).await.unwrap();
    here.expire_tags(["t"]).await.unwrap();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(1));
}
