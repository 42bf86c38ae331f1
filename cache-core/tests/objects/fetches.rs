//! Fetches of shared values.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cache_core::{
    Bypass, ErrorKind, FetchOutcome, Keyspace, Loaded, RefreshAhead, layer::Operation,
};

use crate::{HOUR, MINUTE, User, cache, cache_without_objects, get, kept, user};

#[tokio::test]
async fn value_is_loaded_once_and_decoded_once() {
    let (cache, _) = cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let fetch = || {
        let loads = Arc::clone(&loads);
        cache.fetch("k").ttl(MINUTE).arc().load(|_| async move {
            loads.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(user("Ada"))
        })
    };
    let first = fetch().await.unwrap();
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&first, &fetch().await.unwrap()));
    }
    assert!(Arc::ptr_eq(&first, &get(&cache).await.unwrap()), "`get_arc` shares it");
    assert_eq!(loads.load(SeqCst), 1);
    let stats = cache.stats()[Operation::Fetch];
    assert_eq!((stats.hits, stats.misses), (3, 1));
}

#[tokio::test]
async fn outcome_says_how_the_value_was_found() {
    let (cache, _) = cache();
    let load = |_| async { Ok::<_, Infallible>(Loaded::Value(user("Ada"))) };
    let first = cache.fetch("k").arc().outcome(load).await.unwrap();
    assert!(matches!(first.outcome, FetchOutcome::Loaded { .. }), "{first:?}");
    let second = cache.fetch("k").arc().outcome(load).await.unwrap();
    assert!(matches!(second.outcome, FetchOutcome::Hit { .. }), "{second:?}");
    assert!(Arc::ptr_eq(&first.value.unwrap(), &second.value.unwrap()));
}

#[tokio::test]
async fn force_and_bypass_load() {
    let (cache, _) = cache();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    let ada = kept(&cache).await.unwrap();
    let bob = |_| async { Ok::<_, Infallible>(user("Bob")) };
    let fetch = || cache.fetch("k").ttl(MINUTE);
    assert_eq!(*fetch().bypass().arc().load(bob).await.unwrap(), user("Bob"));
    let scoped = Bypass::when(true).scope(fetch().arc().load(bob));
    assert_eq!(*scoped.await.unwrap(), user("Bob"));
    assert!(Arc::ptr_eq(&ada, &kept(&cache).await.unwrap()));
    assert_eq!(*fetch().force().arc().load(bob).await.unwrap(), user("Bob"));
    assert_eq!(*kept(&cache).await.unwrap(), user("Bob"));
}

#[tokio::test]
async fn value_of_another_type_is_loaded_again() {
    let (cache, _) = cache();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    kept(&cache).await.unwrap();
    let load = |_| async { Ok::<_, Infallible>(7_u8) };
    assert_eq!(*cache.fetch("k").arc().load(load).await.unwrap(), 7);
    assert_eq!((get(&cache).await, cache.get::<u8>("k").await.unwrap()), (None, Some(7)));
}

#[tokio::test]
async fn refresh_ahead_begins_a_load_of_a_shared_value() {
    let (cache, time) = cache();
    let fetch = |name: &'static str| {
        let fetch = cache.fetch("k").ttl(MINUTE).jitter(0.0);
        let fetch = fetch.refresh_ahead(RefreshAhead::Fraction(0.5));
        fetch.arc().load(move |_| async move { Ok::<_, Infallible>(user(name)) })
    };
    let ada = fetch("Ada").await.unwrap();
    time.advance(MINUTE * 3 / 4);
    assert!(Arc::ptr_eq(&ada, &fetch("Bob").await.unwrap()));
    while cache.stats().active_loads > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*fetch("Eve").await.unwrap(), user("Bob"));
}

#[tokio::test]
async fn error_of_the_loader_and_of_the_settings_is_returned() {
    let (cache, _) = cache();
    let fails = |_| async { Err::<User, _>("down") };
    let error = cache.fetch("k").arc().load(fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    let error = cache.fetch("k").grace(HOUR).arc().load(fails).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn fetch_without_objects_returns_its_own_value() {
    let cache = cache_without_objects();
    let load = |_| async { Ok::<_, Infallible>(user("Ada")) };
    let first = cache.fetch("k").ttl(MINUTE).arc().load(load).await.unwrap();
    let second = cache.fetch("k").ttl(MINUTE).arc().load(load).await.unwrap();
    assert!(first == second && !Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn fetch_of_a_keyspace_is_shared_and_counted() {
    static USERS: Keyspace<u64, User> = Keyspace::new("shared_user").ttl(cache_core::secs(60));
    let (cache, _) = cache();
    let load = |_| async { Ok::<_, Infallible>(user("Ada")) };
    let first = USERS.fetch(&cache, &1).arc().load(load).await.unwrap();
    let outcome = |_| async { Ok::<_, Infallible>(Loaded::Value(user("Bob"))) };
    let second = USERS.fetch(&cache, &1).arc().outcome(outcome).await.unwrap().value.unwrap();
    let optional = |_| async { Ok::<_, Infallible>(None) };
    let third = USERS.fetch(&cache, &1).arc().load_optional(optional).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &third));
    let counted = cache.stats().keyspaces["shared_user"];
    assert_eq!((counted.hits, counted.misses), (2, 1));
}
