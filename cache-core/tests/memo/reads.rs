//! How often a scope calls the store.

use std::convert::Infallible;

use bytes::Bytes;
use cache_core::{
    ErrorKind, Keyspace, RequestMemo, Timeout, secs,
    testing::{Fault, Faulty, Model},
};

use crate::{World, on_each, unreachable_load};

static USERS: Keyspace<u32, String> = Keyspace::new("user").ttl(Timeout::Never);

#[tokio::test]
async fn hit_is_read_once_by_all_kinds_of_reads() {
    on_each(async |it: World| {
        it.here.set("k", "v", secs(60)).await.unwrap();
        RequestMemo::new()
            .scope(async {
                assert_eq!(it.here.get::<String>("k").await.unwrap().as_deref(), Some("v"));
                let calls = it.calls(async {
                    assert_eq!(it.here.get::<String>("k").await.unwrap().as_deref(), Some("v"));
                    assert!(it.here.has_key("k").await.unwrap());
                    let found = it.here.get_many::<String, _>(["k", "k"]).await.unwrap();
                    assert_eq!(found["k"], "v");
                    let bytes: Bytes = it.here.bytes().get("k").await.unwrap().unwrap();
                    assert_eq!(bytes, "\"v\"");
                    let strict = it.here.strict();
                    let loaded = strict.get_or_try_set("k", secs(60), unreachable_load).await;
                    assert_eq!(loaded.unwrap(), "v");
                    let loaded = it.here.fetch("k").load(|_| unreachable_load()).await;
                    assert_eq!(loaded.unwrap(), "v");
                    let none = async |_: Vec<&str>| -> Vec<(&str, String)> { panic!() };
                    let loaded = it.here.get_or_set_many(["k"], secs(60), none).await.unwrap();
                    assert_eq!(loaded["k"], "v");
                });
                assert_eq!(calls.await, 0);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn miss_is_read_once() {
    on_each(async |it: World| {
        RequestMemo::new()
            .scope(async {
                assert_eq!(it.here.get::<u8>("k").await.unwrap(), None);
                let calls = it.calls(async {
                    assert_eq!(it.here.get::<u8>("k").await.unwrap(), None);
                    assert!(!it.here.has_key("k").await.unwrap());
                    assert!(it.here.get_many::<u8, _>(["k"]).await.unwrap().is_empty());
                });
                assert_eq!(calls.await, 0);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn first_read_by_fetch_is_the_only_one() {
    on_each(async |it: World| {
        it.there.fetch("k").prime("v").await.unwrap();
        RequestMemo::new()
            .scope(async {
                for expected in [1, 0, 0] {
                    let calls = it.calls(async {
                        let loaded = it.here.fetch("k").load(|_| unreachable_load()).await;
                        assert_eq!(loaded.unwrap(), "v");
                    });
                    assert_eq!(calls.await, expected);
                }
                let calls = it.calls(async { drop(it.here.get::<String>("k").await.unwrap()) });
                assert_eq!(calls.await, 0);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn loaded_value_is_read_once_more() {
    on_each(async |it: World| {
        RequestMemo::new()
            .scope(async {
                let load = || async { 7 };
                assert_eq!(it.here.get_or_set("k", secs(60), load).await.unwrap(), 7);
                for expected in [1, 0, 0] {
                    let calls = it.calls(async {
                        assert_eq!(it.here.get_or_set("k", secs(60), load).await.unwrap(), 7);
                    });
                    assert_eq!(calls.await, expected);
                }
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn batch_asks_only_for_what_is_not_known() {
    on_each(async |it: World| {
        it.here.set_many([("a", 1), ("b", 2)], secs(60)).await.unwrap().into_result().unwrap();
        RequestMemo::new()
            .scope(async {
                assert_eq!(it.here.get::<u8>("a").await.unwrap(), Some(1));
                for expected in [1, 0] {
                    let calls = it.calls(async {
                        let found = it.here.get_many::<u8, _>(["a", "b", "c"]).await.unwrap();
                        assert_eq!(found, [("a", 1), ("b", 2)].into());
                    });
                    assert_eq!(calls.await, expected);
                }
                let calls = it.calls(async {
                    assert_eq!(it.here.get::<u8>("b").await.unwrap(), Some(2));
                    assert_eq!(it.here.get::<u8>("c").await.unwrap(), None);
                });
                assert_eq!(calls.await, 0);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn keyspaces_versions_and_namespaces_have_entries_of_their_own() {
    on_each(async |it: World| {
        USERS.set(&it.here, &7, &"Ada".to_owned()).await.unwrap();
        let shop = it.here.namespace("shop").unwrap();
        shop.set("k", "in the namespace", secs(60)).await.unwrap();
        RequestMemo::new()
            .scope(async {
                for _ in 0..2 {
                    assert_eq!(USERS.get(&it.here, &7).await.unwrap().as_deref(), Some("Ada"));
                    assert_eq!(it.here.get::<String>("k").await.unwrap(), None);
                    assert_eq!(it.here.at_version(2).get::<String>("k").await.unwrap(), None);
                    assert!(shop.get::<String>("k").await.unwrap().is_some());
                }
                let calls = it.calls(async {
                    USERS.get(&it.here, &7).await.unwrap();
                    shop.get::<String>("k").await.unwrap();
                    let loaded = USERS.get_or_set(&it.here, &7, async || panic!()).await;
                    assert_eq!(loaded.unwrap(), "Ada");
                });
                assert_eq!(calls.await, 0);
                shop.clear().await.unwrap();
                assert_eq!(shop.get::<String>("k").await.unwrap(), None);
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn remembered_absence_of_the_cache_is_none_of_the_memo() {
    let it = World::with_entries();
    let absent = |_| async { Ok::<_, Infallible>(None::<u8>) };
    assert_eq!(it.here.fetch("k").load_optional(absent).await.unwrap(), None);
    RequestMemo::new()
        .scope(async {
            for _ in 0..2 {
                assert_eq!(it.here.get::<u8>("k").await.unwrap(), None);
                let load = |_| async { Ok::<_, Infallible>(Some(1_u8)) };
                assert_eq!(it.here.fetch("k").load_optional(load).await.unwrap(), None);
                let loaded = it.here.get_or_set_many(["k"], secs(60), async |_| [("k", 1_u8)]);
                assert!(loaded.await.unwrap().is_empty());
            }
        })
        .await;
}

#[tokio::test]
async fn stale_value_is_served_to_a_fetch_after_a_get_that_missed() {
    let it = World::with_entries();
    it.here.fetch("k").ttl(secs(60)).prime("old").await.unwrap();
    it.time.advance(crate::MINUTE);
    let fails = |_| async { Err::<String, _>("the source is down".to_owned()) };
    RequestMemo::new()
        .scope(async {
            assert_eq!(it.here.get::<String>("k").await.unwrap(), None);
            assert_eq!(it.here.fetch("k").load(fails).await.unwrap(), "old");
        })
        .await;
}

#[tokio::test]
async fn errors_are_not_remembered() {
    on_each(async |it: World| {
        it.here.set("k", "v", secs(60)).await.unwrap();
        RequestMemo::new()
            .scope(async {
                it.store.inject(|_| Fault::Error(ErrorKind::Unavailable));
                let strict = it.here.strict();
                assert!(strict.get::<String>("k").await.is_err());
                assert_eq!(it.here.get::<String>("k").await.unwrap(), None);
                assert!(it.here.get_many::<String, _>(["k"]).await.unwrap().is_empty());
                it.store.heal();
                assert_eq!(it.here.get::<String>("k").await.unwrap().as_deref(), Some("v"));
                it.store.inject(|_| Fault::Error(ErrorKind::Unavailable));
                assert_eq!(strict.get::<String>("k").await.unwrap().as_deref(), Some("v"));
                it.store.heal();
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn store_that_never_waits_is_always_asked() {
    let store = Faulty::inline(Model::default());
    let cache = cache_core::Cache::new("test", std::sync::Arc::new(store.clone()));
    RequestMemo::new()
        .scope(async {
            for _ in 0..3 {
                cache.get::<u8>("k").await.unwrap();
            }
        })
        .await;
    assert_eq!(store.all_calls(), 3);
}

#[tokio::test]
async fn type_of_a_later_read_may_differ() {
    on_each(async |it: World| {
        it.here.set("k", &7, secs(60)).await.unwrap();
        RequestMemo::new()
            .scope(async {
                assert_eq!(it.here.get::<u8>("k").await.unwrap(), Some(7));
                assert_eq!(it.here.get::<String>("k").await.unwrap(), None);
                assert_eq!(it.here.strict().get::<i64>("k").await.unwrap(), Some(7));
            })
            .await;
    })
    .await;
}
