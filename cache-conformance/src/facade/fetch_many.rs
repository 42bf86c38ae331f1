use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cache_core::{ErrorKind, Timeout, secs};
use tokio::sync::Notify;

use super::fetch::until_idle;
use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    batch_loads_what_is_missing_with_one_call,
    batches_and_single_callers_share_loads,
    write_during_a_batch_is_not_overwritten,
    failed_batch_stores_nothing_and_leaves_nothing,
];

/// One load gets all missing keys, and its values are stored.
async fn batch_loads_what_is_missing_with_one_call(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("a", &0, secs(600)).await?;
    let mut loads = Vec::new();
    let found = cache
        .get_or_set_many(["a", "b", "c", "b", "none"], secs(600), |missing| {
            loads.push(missing);
            async { HashMap::from([("b", 1), ("c", 2), ("extra", 3)]) }
        })
        .await?;
    assert_eq!(found, [("a", 0), ("b", 1), ("c", 2)].into());
    assert_eq!(loads, [["b", "c", "none"]], "the calls of the loader");
    assert_eq!(
        cache.get_many::<i32, _>(["b", "c", "none", "extra"]).await?,
        [("b", 1), ("c", 2)].into()
    );
    let again = cache
        .get_or_set_many(["a", "b"], secs(600), |_| async {
            panic!("nothing is missing") as [(&str, i32); 0]
        })
        .await?;
    assert_eq!(again, [("a", 0), ("b", 1)].into());
    let none = cache.get_or_set_many([] as [&str; 0], secs(600), |_| async { [("a", 1)] }).await?;
    assert!(none.is_empty());
    assert_eq!(cache.stats().active_loads, 0);
    Ok(())
}

/// A batch waits for the loads that other callers run, and they wait for the batch.
async fn batches_and_single_callers_share_loads(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let answers = ctx
        .race(8, |n, _| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move {
                // Each in another order: no two batches wait for each other.
                let mut keys: Vec<String> = (0..10).map(|it| format!("k{it}")).collect();
                keys.rotate_left(n);
                if n % 2 == 0 {
                    let load = |missing: Vec<String>| {
                        loads.fetch_add(missing.len(), SeqCst);
                        async {
                            for _ in 0..100 {
                                tokio::task::yield_now().await;
                            }
                            missing.into_iter().map(|it| (it.clone(), it))
                        }
                    };
                    return cache.get_or_set_many(keys, secs(600), load).await;
                }
                let mut found = HashMap::new();
                for key in keys {
                    let load = || async {
                        loads.fetch_add(1, SeqCst);
                        tokio::task::yield_now().await;
                        key.clone()
                    };
                    let value = cache.get_or_set(&key, secs(600), load).await?;
                    found.insert(key, value);
                }
                Ok(found)
            }
        })
        .await;
    for answer in answers {
        let answer = answer?;
        assert_eq!(answer.len(), 10);
        assert!(answer.iter().all(|(key, value)| key == value), "{answer:?}");
    }
    assert_eq!(loads.load(SeqCst), 10, "loads of 10 keys");
    assert_eq!(cache.stats().active_loads, 0);
    Ok(())
}

/// A key that is written or deleted during the load of a batch keeps what was written.
async fn write_during_a_batch_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let batch = tokio::spawn({
        let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
        async move {
            let load = |missing: Vec<&'static str>| {
                let (began, go_on) = (&began, &go_on);
                async move {
                    began.notify_one();
                    go_on.notified().await;
                    missing.into_iter().map(|it| (it, 1))
                }
            };
            cache.get_or_set_many(["deleted", "other", "set"], secs(600), load).await
        }
    });
    began.notified().await;
    cache.set("set", &2, secs(600)).await?;
    returned!(cache.delete("deleted").await?, false, "delete");
    go_on.notify_one();
    let found = batch.await.expect("the task ended without a panic")?;
    assert_eq!(found, [("deleted", 1), ("other", 1), ("set", 1)].into(), "for the caller");
    let stored = cache.get_many::<i32, _>(["deleted", "other", "set"]).await?;
    assert_eq!(stored, [("other", 1), ("set", 2)].into());
    Ok(())
}

/// An error of the loader reaches the callers that wait for one of its keys.
async fn failed_batch_stores_nothing_and_leaves_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let load = |_| async { Err::<[(&str, i32); 1], _>(io::Error::other("db down")) };
    let res = cache.get_or_try_set_many(["a", "b"], Timeout::Default, load).await;
    let error = res.expect_err("the loader failed");
    assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
    assert!(error.loader::<io::Error>().is_some());
    returned!(cache.has_key("a").await?, false, "has_key after a failed load");
    until_idle(&cache).await;
    Ok(())
}
