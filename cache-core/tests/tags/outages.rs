//! Stores that fail.

use cache_core::{ErrorKind, layer::Operation, store::Backend, testing::Fault};

use crate::{MINUTE, SECOND, World, marker, run_tasks};

#[tokio::test]
async fn failed_invalidation_is_an_error_makes_misses_here_and_is_repeated() {
    for effect in [Fault::Error(ErrorKind::Unavailable), Fault::ErrorAfter(ErrorKind::TimedOut)] {
        let World { here, there, store, time } = World::new();
        here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
        assert_eq!(there.get::<u32>("k").await.unwrap(), Some(1));
        store.inject(move |call| match call.operation {
            Operation::SetMany => effect,
            _ => Fault::None,
        });
        let error = here.invalidate_tags(["t"]).await.unwrap_err();
        assert!(error.kind().fails_open());
        assert!(error.to_string().contains("tried again in the background"), "{error}");
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{effect:?}");
        assert!(here.strict().get::<u32>("k").await.is_err(), "{effect:?}");
        store.heal();
        // The wait of the task that repeats it.
        for _ in 0..100 {
            time.advance(SECOND);
            run_tasks().await;
            std::thread::yield_now();
        }
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{effect:?}");
        assert_eq!(there.get::<u32>("k").await.unwrap(), None, "{effect:?}");
        here.with_tags(["t"]).set("k", &2, MINUTE).await.unwrap();
        assert_eq!(there.get::<u32>("k").await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn marker_that_cannot_be_read_makes_a_miss_and_an_error_in_strict_mode() {
    let World { there, here, store, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    here.set("plain", &1, MINUTE).await.unwrap();
    let key = marker("t");
    store.fail_keys(move |it| it == key, ErrorKind::Unavailable);
    assert_eq!(there.get::<u32>("k").await.unwrap(), None);
    assert!(!there.has_key("k").await.unwrap());
    assert_eq!(there.ttl("k").await.unwrap(), None);
    assert_eq!(there.get_many::<u32, _>(["k", "plain"]).await.unwrap(), [("plain", 1)].into());
    let strict = there.strict();
    for error in [
        strict.get::<u32>("k").await.unwrap_err(),
        strict.get_many::<u32, _>(["k"]).await.unwrap_err(),
        strict.ttl("k").await.unwrap_err(),
        there.add("k", &2, MINUTE).await.unwrap_err(),
        there.replace("k", &2, MINUTE).await.unwrap_err(),
        there.pop::<u32>("k").await.unwrap_err(),
        there.update("k", MINUTE, |it: u32| it + 1).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(there.stats().errors(ErrorKind::Unavailable) > 0);
    store.heal();
    assert_eq!(there.get::<u32>("k").await.unwrap(), Some(1), "nothing was removed");
}

#[tokio::test]
async fn value_whose_versions_cannot_be_read_is_loaded_and_not_stored() {
    let World { here, store, .. } = World::new();
    let tagged = here.with_tags(["t"]);
    here.set("k", &0, MINUTE).await.unwrap();
    let key = marker("t");
    store.fail_keys(move |it| it == key, ErrorKind::Unavailable);
    let load = |_| async { Ok::<_, std::io::Error>(2) };
    assert_eq!(tagged.get_or_set("a", MINUTE, || async { 1 }).await.unwrap(), 1);
    assert_eq!(tagged.fetch("b").load(load).await.unwrap(), 2);
    let loaded = tagged.get_or_set_many(["c"], MINUTE, |_| async { [("c", 3)] }).await.unwrap();
    assert_eq!(loaded, [("c", 3)].into());
    assert_eq!(here.stats().load_writes_failed, 3);
    for key in [":1:a", ":1:b", ":1:c"] {
        assert_eq!(store.get(key).await.unwrap(), None, "{key}");
    }
    // A failed write leaves no old value behind.
    tagged.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
    let failed = tagged.set_many([("k", 1)], MINUTE).await.unwrap();
    assert_eq!(failed[0].error.kind(), ErrorKind::Unavailable);
    assert!(tagged.strict().set("k", &1, MINUTE).await.is_err());
    assert!(tagged.add("d", &1, MINUTE).await.is_err());
    store.heal();
    tagged.set("k", &5, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(5));
}

/// As a store without room for them.
#[tokio::test]
async fn store_that_keeps_no_markers_makes_misses() {
    let World { here, there, store, time } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    for cache in [&here, &there] {
        store.delete(&marker("t")).await.unwrap();
        time.advance(SECOND);
        assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
    }
}

#[tokio::test]
async fn dropped_invalidation_is_repeated() {
    let World { here, there, store, time } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    let held = store.hold(Operation::SetMany);
    let call = tokio::spawn({
        let here = here.clone();
        async move { here.invalidate_tags(["t"]).await }
    });
    store.arrived(Operation::SetMany, 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    held.release();
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
    time.advance(SECOND);
    assert_eq!(there.get::<u32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn dropped_expiry_is_repeated_as_an_invalidation() {
    for operation in [Operation::Get, Operation::Update] {
        let World { here, there, store, time } = World::new();
        here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
        let held = store.hold(operation);
        let arrived = store.calls(operation) + 1;
        let call = tokio::spawn({
            let here = here.clone();
            async move { here.expire_tags(["t"]).await }
        });
        store.arrived(operation, arrived).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        held.release();
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{operation:?}");
        time.advance(SECOND);
        assert_eq!(there.get::<u32>("k").await.unwrap(), None, "{operation:?}");
    }
}
