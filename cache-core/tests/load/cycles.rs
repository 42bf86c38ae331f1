//! Loads that need other loads, and loads that wait for themselves.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cache_core::{Cache, ErrorKind, Timeout};
use tokio::sync::Barrier;

use crate::world;

#[tokio::test]
async fn load_that_waits_for_itself_fails_and_names_the_keys() {
    let (_, cache, _) = world();
    let inner = cache.clone();
    let error = cache
        .get_or_try_set::<u32, _, _>("a", Timeout::Default, || async move {
            let again = inner.clone();
            inner
                .get_or_try_set("b", Timeout::Default, || async move {
                    again.get_or_set("a", Timeout::Default, pending).await
                })
                .await
        })
        .await
        .unwrap_err();
    let cycle = error.loader::<cache_core::Error>().unwrap().loader::<cache_core::Error>().unwrap();
    assert_eq!(cycle.kind(), ErrorKind::Loader);
    assert!(cycle.to_string().contains(":1:a → :1:b → :1:a"), "{cycle}");
}

#[tokio::test]
async fn loads_of_two_caches_that_wait_for_each_other_fail() {
    let ((_, left, _), (_, right, _)) = (world(), world());
    let barrier = Arc::new(Barrier::new(2));
    let task = |outer: &Cache, inner: &Cache| {
        let (outer, inner, barrier) = (outer.clone(), inner.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            outer
                .get_or_try_set("k", Timeout::Default, || async move {
                    barrier.wait().await;
                    inner.get_or_set("k", Timeout::Default, pending::<u32>).await
                })
                .await
        })
    };
    let (a, b) = (task(&left, &right), task(&right, &left));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    assert!(a.is_err() && b.is_err());
    assert!(format!("{a:?} {b:?}").contains("in a circle"), "{a:?} {b:?}");
}

#[tokio::test]
async fn loader_may_load_other_keys() {
    let (_, cache, _) = world();
    let inner = cache.clone();
    let sum = cache
        .get_or_try_set("sum", Timeout::Default, || async move {
            let one = inner.get_or_set("one", Timeout::Default, || async { 1 }).await?;
            let two = inner.get_or_set("two", Timeout::Default, || async { 2 }).await?;
            Ok::<_, cache_core::Error>(one + two)
        })
        .await
        .unwrap();
    assert_eq!(sum, 3);
    assert_eq!(cache.stats().loads, 3);
}

#[test]
fn blocking_callers_share_one_load_and_a_cycle_fails() {
    let (_, cache, _) = world();
    let cache = cache.blocking();
    let loads = AtomicUsize::new(0);
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let load = || {
                    loads.fetch_add(1, SeqCst);
                    7
                };
                assert_eq!(cache.get_or_set("k", Timeout::Never, load).unwrap(), 7);
            });
        }
    });
    assert_eq!(loads.load(SeqCst), 1);
    let error = cache
        .get_or_try_set::<u32, _>("a", Timeout::Default, || {
            cache.get_or_set("a", Timeout::Default, || 1)
        })
        .unwrap_err();
    assert!(format!("{error:?}").contains("in a circle"), "{error:?}");
}
