//! A key holds a value that is not a string, such as a Redis list. A read is a miss, as for bytes
//! that do not decode, and the value stays.

#![allow(missing_docs)]

use std::sync::Arc;

use cache_core::{
    Cache, Error, ErrorKind, OperationStats, Timeout,
    layer::Operation,
    store::{Backend, Expiry, Inline, SetMode},
    testing::{Fault, Faulty, Model},
};

const KEY: &str = ":1:k";

/// Returns a store that may wait and a store that never waits. The key has a value, and every read
/// fails with `WrongType`.
async fn both() -> [(Faulty, Cache); 2] {
    let model = || Arc::new(Inline::new(Model::default()));
    let res = [Faulty::new(model()), Faulty::inline(model())].map(|store| {
        let cache = Cache::builder(Arc::new(store.clone())).build("test").unwrap();
        (store, cache)
    });
    for (store, _) in &res {
        store.set(KEY, "1".into(), Expiry::Never, SetMode::Always).await.unwrap();
        store.inject(|call| match call.operation {
            Operation::Get | Operation::GetMany | Operation::Pop => {
                Fault::Error(ErrorKind::WrongType)
            }
            _ => Fault::None,
        });
    }
    res
}

fn one_miss() -> OperationStats {
    let mut res = OperationStats::default();
    res.misses = 1;
    res
}

/// Checks an undecodable miss was counted, and no failure, and that the value is unchanged.
async fn assert_miss_without_change(store: &Faulty, cache: &Cache, operation: Operation) {
    let stats = cache.stats();
    let counted = stats[operation];
    assert_eq!((counted, stats.undecodable), (one_miss(), 1), "{operation:?}");
    assert_eq!(store.calls(Operation::CompareAndDelete), 0, "the value was purged");
    store.heal();
    assert_eq!(store.get(KEY).await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[track_caller]
fn assert_wrong_type(error: &Error, operation: &str) {
    assert_eq!(error.kind(), ErrorKind::WrongType);
    for word in ["injected by the test", operation, KEY] {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

#[tokio::test]
async fn get_of_a_wrong_type_is_a_miss() {
    for (store, cache) in both().await {
        assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
        assert_miss_without_change(&store, &cache, Operation::Get).await;
    }
    for (store, cache) in both().await {
        assert_wrong_type(&cache.strict().get::<u32>("k").await.unwrap_err(), "get");
        assert_miss_without_change(&store, &cache, Operation::Get).await;
    }
}

#[tokio::test]
async fn wrong_type_is_a_miss_of_a_handle_of_bytes() {
    for (store, cache) in both().await {
        assert_eq!(cache.bytes().get("k").await.unwrap(), None);
        assert_miss_without_change(&store, &cache, Operation::Get).await;
    }
    for (store, cache) in both().await {
        assert_wrong_type(&cache.strict().bytes().get("k").await.unwrap_err(), "get");
        assert_miss_without_change(&store, &cache, Operation::Get).await;
    }
}

#[tokio::test]
async fn get_many_returns_the_other_keys() {
    for (store, cache) in both().await {
        store.heal();
        cache.set("other", &2, Timeout::Default).await.unwrap();
        store.fail_keys(|key| key == KEY, ErrorKind::WrongType);
        assert_eq!(cache.get_many::<u32, _>(["k", "other"]).await.unwrap(), [("other", 2)].into());
        let stats = cache.stats();
        let counted = stats[Operation::GetMany];
        assert_eq!((counted.hits, counted.misses, counted.failures), (1, 1, 0));
        assert_eq!((stats.undecodable, counted.refused), (1, 0));
        let error = cache.strict().get_many::<u32, _>(["k", "other"]).await.unwrap_err();
        assert_wrong_type(&error, "get_many");
        assert_eq!(store.calls(Operation::CompareAndDelete), 0, "the value was purged");
    }
}

#[tokio::test]
async fn pop_of_a_wrong_type_is_a_miss() {
    for (store, cache) in both().await {
        assert_eq!(cache.pop::<u32>("k").await.unwrap(), None);
        assert_miss_without_change(&store, &cache, Operation::Pop).await;
    }
    for (store, cache) in both().await {
        assert_wrong_type(&cache.strict().pop::<u32>("k").await.unwrap_err(), "pop");
        assert_miss_without_change(&store, &cache, Operation::Pop).await;
    }
}

#[tokio::test]
async fn update_of_a_wrong_type_changes_nothing() {
    for (store, cache) in both().await {
        assert_eq!(
            cache.update::<u32>("k", Timeout::Default, |_| unreachable!()).await.unwrap(),
            None
        );
        assert_miss_without_change(&store, &cache, Operation::Update).await;
    }
    for (store, cache) in both().await {
        let error = cache
            .strict()
            .update::<u32>("k", Timeout::Default, |_| unreachable!())
            .await
            .unwrap_err();
        assert_wrong_type(&error, "update");
        assert_miss_without_change(&store, &cache, Operation::Update).await;
    }
}

/// The value cannot be compared, so an upsert never replaces it. An upsert that stores nothing
/// returns a miss.
#[tokio::test]
async fn upsert_of_a_wrong_type_replaces_nothing() {
    for (store, cache) in both().await {
        let error = cache.upsert("k", Timeout::Default, |it| it.or(Some(1))).await.unwrap_err();
        assert_wrong_type(&error, "update");
        assert_miss_without_change(&store, &cache, Operation::Update).await;
    }
    for (store, cache) in both().await {
        assert_eq!(cache.upsert::<u32>("k", Timeout::Default, |it| it).await.unwrap(), None);
        assert_miss_without_change(&store, &cache, Operation::Update).await;
    }
}

#[tokio::test]
async fn get_or_set_of_a_wrong_type_loads_and_overwrites_also_when_strict() {
    for strict in [false, true] {
        for (store, cache) in both().await {
            let cache = if strict { cache.strict() } else { cache };
            assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await.unwrap(), 7);
            let stats = cache.stats();
            assert_eq!((stats.undecodable, stats.loads, stats.load_writes_failed), (1, 1, 0));
            assert_eq!(stats[Operation::GetOrSet], one_miss());
            store.heal();
            assert_eq!(
                cache.get::<u32>("k").await.unwrap(),
                Some(7),
                "one bad entry keeps failing"
            );
        }
    }
}

/// Only reads count such a value as a miss: a write with this error has failed for another reason.
#[tokio::test]
async fn writes_with_a_wrong_type_return_the_error() {
    for (store, cache) in both().await {
        store.inject(|_| Fault::Error(ErrorKind::WrongType));
        assert_eq!(
            cache.set("k", &1, Timeout::Default).await.unwrap_err().kind(),
            ErrorKind::WrongType
        );
        assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::WrongType);
        assert_eq!(cache.stats().undecodable, 0);
    }
}
