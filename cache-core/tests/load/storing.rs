//! The entries that a load reads and stores.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use cache_core::{
    ErrorKind, Timeout, Ttl,
    layer::Operation,
    secs,
    store::{Backend, Expiry, SetMode},
    testing::Fault,
};

use crate::world;

#[tokio::test]
async fn value_of_another_type_is_loaded_again_and_overwritten() {
    for strict in [false, true] {
        let (_, cache, _) = world();
        let cache = if strict { cache.strict() } else { cache };
        cache.set("k", "text", Timeout::Default).await.unwrap();
        assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await.unwrap(), 7);
        assert_eq!(
            cache.get::<u32>("k").await.unwrap(),
            Some(7),
            "the undecodable entry was not overwritten"
        );
        assert_eq!(cache.stats().undecodable, 1);
    }
}

#[tokio::test]
async fn load_with_a_lifetime_of_zero_stores_nothing() {
    let (_, cache, _) = world();
    assert_eq!(cache.get_or_set("k", secs(0), || async { 7 }).await.unwrap(), 7);
    assert!(!cache.has_key("k").await.unwrap());
}

#[tokio::test]
async fn load_over_a_failed_store_returns_the_value_without_a_write() {
    let (store, cache, _) = world();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await.unwrap(), 7);
    assert_eq!(store.calls(Operation::Set), 0);
    let loads = AtomicUsize::new(0);
    let strict = cache.strict();
    let load = || async {
        loads.fetch_add(1, SeqCst);
        7
    };
    let error = strict.get_or_set("k", Timeout::Default, load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(loads.load(SeqCst), 0, "strict mode loads nothing");
}

#[tokio::test]
async fn bytes_that_do_not_decode_count_as_a_miss() {
    let (store, cache, _) = world();
    cache.set("k", "text", Timeout::Default).await.unwrap();
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 1 }).await.unwrap(), 1);
    let stats = cache.stats();
    let counted = stats[Operation::GetOrSet];
    assert_eq!((counted.hits, counted.misses, stats.undecodable), (0, 1, 1));

    let damaged = (&b"\xc1\xca damaged"[..]).into();
    store.set(":1:k", damaged, Expiry::Never, SetMode::Always).await.unwrap();
    assert_eq!(cache.bytes().get("k").await.unwrap(), None);
    let counted = cache.stats()[Operation::Get];
    assert_eq!((counted.hits, counted.misses), (0, 1));
}

#[tokio::test]
async fn slow_load_does_not_postpone_an_expiry_date() {
    let (_, cache, time) = world();
    let secs = Duration::from_secs;
    let load = |took| {
        let time = &time;
        move || async move {
            time.advance(secs(took));
            1
        }
    };
    let at = time.clock().wall() + secs(10);
    cache.get_or_set("k", at, load(6)).await.unwrap();
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(secs(4))));
    cache.get_or_set("late", at, load(4)).await.unwrap();
    assert!(!cache.has_key("late").await.unwrap(), "a value was stored after its expiry");
}
