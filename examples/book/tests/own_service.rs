//! The code of the chapter "Testing your own service".

// ANCHOR: service
use cache_core::{OnOutage, Result, cache, secs};

/// Returns the price of a thing, cached for a minute.
async fn price(thing: &str) -> Result<u64> {
    cache().get_or_set(&format!("price:{thing}"), secs(60), || ask_the_database(thing)).await
}

/// Returns whether a request may pass: five a minute per user, and all of them while the store is
/// down.
async fn may_pass(user: &str) -> Result<bool> {
    let count = cache().incr_or(&format!("requests:{user}"), 1, 0, secs(60)).await;
    count.map(|count| count <= 5).or_allow()
}
// ANCHOR_END: service

use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static QUESTIONS: AtomicU64;
}

/// Counts the calls of the service under test.
async fn ask_the_database(thing: &str) -> u64 {
    tokio::task::yield_now().await;
    QUESTIONS.with(|it| it.fetch_add(1, Ordering::Relaxed));
    thing.len() as u64
}

fn questions() -> u64 {
    QUESTIONS.with(|it| it.load(Ordering::Relaxed))
}

// ANCHOR: tests
use std::time::Duration;

use cache_core::{
    CACHES, Caches, ErrorKind,
    layer::Operation,
    testing::{FakeClock, Fault, Faulty},
};
use cache_memory::Memory;

/// Returns the caches of one test, their clock, and the store that the test controls.
fn caches() -> (&'static Caches, FakeClock, Faulty) {
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    let store = Faulty::new(memory);
    let caches =
        Caches::builder().backend("default", store.clone()).clock(time.clock()).build().unwrap();
    (caches.leak(), time, store)
}

#[tokio::test]
async fn price_is_loaded_once_a_minute() {
    let (caches, time, _) = caches();
    let test = CACHES.scope(caches, async {
        assert_eq!(price("tea").await.unwrap(), 3);
        assert_eq!(price("tea").await.unwrap(), 3);
        assert_eq!(questions(), 1);
        time.advance(Duration::from_secs(60));
        assert_eq!(price("tea").await.unwrap(), 3);
        assert_eq!(questions(), 2);
    });
    QUESTIONS.scope(AtomicU64::new(0), test).await;
}

#[tokio::test]
async fn sixth_request_of_a_minute_is_refused() {
    let (caches, time, _) = caches();
    CACHES
        .scope(caches, async {
            for _ in 0..5 {
                assert!(may_pass("ada").await.unwrap());
            }
            assert!(!may_pass("ada").await.unwrap());
            time.advance(Duration::from_secs(60));
            assert!(may_pass("ada").await.unwrap());
        })
        .await;
}

#[tokio::test]
async fn service_works_while_the_store_is_down() {
    let (caches, _, store) = caches();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let test = CACHES.scope(caches, async {
        assert_eq!(price("tea").await.unwrap(), 3);
        assert!(may_pass("ada").await.unwrap());
        // The store was read, and not written to after the failure.
        assert_eq!((store.calls(Operation::Get), store.calls(Operation::Set)), (1, 0));
    });
    QUESTIONS.scope(AtomicU64::new(0), test).await;
}
// ANCHOR_END: tests
