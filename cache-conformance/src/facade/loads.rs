use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use cache_core::{ErrorKind, Timeout, Ttl, secs};
use tokio::sync::{Barrier, Notify};

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_or_set_loads_a_missing_key_once,
    sixteen_callers_share_one_load,
    callers_of_fast_loads_share_one_load_per_round,
    load_error_stores_nothing_and_reaches_every_waiter,
    dropped_load_is_taken_over_by_a_waiter,
    delete_during_a_load_is_not_overwritten,
    write_during_a_load_is_not_overwritten,
    clear_during_a_load_is_not_overwritten,
    load_that_waits_for_itself_is_an_error,
    finished_loads_leave_nothing_behind,
];

/// `get_or_set` returns the stored value, or loads one and stores it.
async fn get_or_set_loads_a_missing_key_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    assert_eq!(cache.get_or_set("k", secs(600), || async { 1 }).await?, 1);
    ctx.assert_ttl(
        cache.ttl("k").await?,
        std::time::Duration::from_secs(600),
        start,
        "ttl of a loaded value",
    );
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 2 }).await?, 1);
    let load = || async { Ok::<_, io::Error>(3) };
    assert_eq!(cache.get_or_try_set("k", Timeout::Default, load).await?, 1);
    cache.delete("k").await?;
    assert_eq!(cache.get_or_try_set("k", Timeout::Default, load).await?, 3);
    assert_eq!(cache.get::<i32>("k").await?, Some(3));
    assert_eq!(cache.stats().loads, 2);
    Ok(())
}

/// 16 concurrent callers of a key share one load and get the same value. Django loads 16 times.
async fn sixteen_callers_share_one_load(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let answers = ctx
        .race(16, |_, _| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move {
                let load = || async {
                    // Longer than the reads of the other callers.
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    loads.fetch_add(1, SeqCst) + 1
                };
                cache.get_or_set("k", secs(600), load).await
            }
        })
        .await;
    let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
    assert_eq!(answers, [1; 16], "the values that the callers got");
    assert_eq!(loads.load(SeqCst), 1, "loads for 16 callers");
    assert_eq!(cache.get::<usize>("k").await?, Some(1));
    Ok(())
}

/// A caller that comes after the end of a fast load finds the stored value and does not load again.
async fn callers_of_fast_loads_share_one_load_per_round(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let loads = Arc::new(AtomicUsize::new(0));
        let answers = ctx
            .race(16, |n, _| {
                let (cache, loads) = (cache.clone(), Arc::clone(&loads));
                async move {
                    let load = || async {
                        loads.fetch_add(1, SeqCst);
                        n
                    };
                    cache.get_or_set(&format!("k{round}"), secs(600), load).await
                }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        assert_eq!(loads.load(SeqCst), 1, "loads in round {round}");
        assert_eq!(
            answers,
            vec![answers[0]; 16],
            "the values that the callers got in round {round}"
        );
    }
    Ok(())
}

/// A failed load stores nothing, and every waiter gets the loader's own error.
async fn load_error_stores_nothing_and_reaches_every_waiter(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let (loads, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
    let leader = tokio::spawn({
        let (cache, loads, all) = (cache.clone(), Arc::clone(&loads), Arc::clone(&all));
        async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                all.wait().await; // the load has begun
                all.wait().await; // the load may end
                Err::<i32, _>(io::Error::other("db down"))
            };
            cache.get_or_try_set("k", secs(600), load).await
        }
    });
    all.wait().await;
    let load = || async {
        loads.fetch_add(1, SeqCst);
        Err::<i32, _>(io::Error::other("another load"))
    };
    let mut waiters: Vec<_> =
        (0..8).map(|_| Box::pin(cache.get_or_try_set("k", secs(600), load))).collect();
    // A waiter joins the load in the poll in which its read ends, so this test polls the waiters
    // itself.
    poll_fn(|cx| {
        for waiter in &mut waiters {
            assert!(
                waiter.as_mut().poll(cx).is_pending(),
                "a waiter returned before the load ended"
            );
        }
        let all_wait = misses(&cache) >= 9;
        if all_wait { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.wait().await;
    let mut answers = vec![leader.await.expect("the task ended without a panic")];
    for waiter in waiters {
        answers.push(waiter.await);
    }
    for answer in answers {
        let error = answer.expect_err("the loader failed");
        assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
        let loaders = error.loader::<io::Error>().map(ToString::to_string);
        assert_eq!(loaders.as_deref(), Some("db down"));
    }
    assert_eq!(loads.load(SeqCst), 1, "loads for one failed load");
    returned!(cache.has_key("k").await?, false, "has_key after a failed load");
    assert_eq!(
        cache.get_or_set("k", Timeout::Default, || async { 7 }).await?,
        7,
        "the load after a failed one"
    );
    Ok(())
}

fn misses(cache: &cache_core::Cache) -> u64 {
    cache.stats()[cache_core::layer::Operation::GetOrSet].misses
}

/// If the caller that loads is dropped, or its loader panics, a waiter loads.
async fn dropped_load_is_taken_over_by_a_waiter(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let began = Arc::new(Notify::new());
    for panics in [false, true] {
        let may_end = Arc::new(Notify::new());
        let leader = tokio::spawn({
            let (cache, began, may_end) = (cache.clone(), Arc::clone(&began), Arc::clone(&may_end));
            async move {
                let load = || async {
                    began.notify_one();
                    may_end.notified().await;
                    std::panic::resume_unwind(Box::new("the loader panics"))
                };
                cache.get_or_set::<i32, _>("k", secs(600), load).await
            }
        });
        began.notified().await;
        let before = misses(&cache);
        let waiter = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_set("k", secs(600), || async { 7 }).await }
        });
        while misses(&cache) == before {
            tokio::task::yield_now().await;
        }
        if panics {
            may_end.notify_one();
        } else {
            leader.abort();
        }
        assert!(leader.await.is_err(), "the caller that loads was aborted or panicked");
        assert_eq!(waiter.await.expect("the task ended without a panic")?, 7);
        assert!(cache.delete("k").await?);
    }
    Ok(())
}

/// Starts a load, runs `change`, then lets the load end. Returns the cache and the value that the
/// caller of the load got.
async fn during_a_load<F: Future<Output = cache_core::Result<()>>>(
    ctx: &Ctx,
    change: impl FnOnce(cache_core::Cache) -> F,
) -> cache_core::Result<(cache_core::Cache, String)> {
    let cache = ctx.cache();
    let (began, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (cache, began, may_end) = (cache.clone(), Arc::clone(&began), Arc::clone(&may_end));
        async move {
            let load = || async {
                began.notify_one();
                may_end.notified().await;
                "loaded before".to_owned()
            };
            cache.get_or_set("k", secs(600), load).await
        }
    });
    began.notified().await;
    change(cache.clone()).await?;
    may_end.notify_one();
    let value = leader.await.expect("the task ended without a panic")?;
    Ok((cache, value))
}

/// A load does not store its value over a delete that came after it began; the caller of the load
/// still gets the value.
async fn delete_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, value) =
        during_a_load(ctx, |it| async move { it.delete("k").await.map(drop) }).await?;
    assert_eq!(value, "loaded before", "the value for the caller of the load");
    assert_eq!(cache.get::<String>("k").await?, None, "get after delete during a load");
    let (cache, _) =
        during_a_load(ctx, |it| async move { it.delete_many(["k"]).await.map(drop) }).await?;
    assert_eq!(cache.get::<String>("k").await?, None, "get after delete during a load");
    Ok(())
}

/// A load does not store its value over a write that came after it began.
async fn write_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, value) =
        during_a_load(ctx, |it| async move { it.set("k", "set", Timeout::Default).await }).await?;
    assert_eq!(value, "loaded before");
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("set"));
    let (cache, _) = during_a_load(ctx, |it| async move {
        it.set_many([("k", "batch")], Timeout::Default).await.map(drop)
    })
    .await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("batch"));
    let (cache, _) =
        during_a_load(
            ctx,
            |it| async move { it.add("k", "added", Timeout::Default).await.map(drop) },
        )
        .await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("added"));
    let (cache, _) = during_a_load(ctx, |it| async move {
        it.delete("k").await?;
        assert_eq!(
            it.get_or_set("k", Timeout::Default, || async { "loaded after".to_owned() }).await?,
            "loaded after"
        );
        Ok(())
    })
    .await?;
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("loaded after"));
    Ok(())
}

/// A load does not store its value after a `clear` that came after it began.
async fn clear_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, _) = during_a_load(ctx, |it| async move { it.clear().await }).await?;
    assert_eq!(cache.get::<String>("k").await?, None, "get after clear during a load");
    Ok(())
}

/// A loader that waits for its own load, directly or through others, gets an error that names the
/// keys.
async fn load_that_waits_for_itself_is_an_error(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let error = cache
        .get_or_try_set("a", Timeout::Default, || async {
            cache
                .get_or_try_set("b", Timeout::Default, || async {
                    cache.get_or_set("a", Timeout::Default, || async { 1 }).await
                })
                .await
        })
        .await
        .expect_err("a load that waits for itself");
    assert_eq!(error.kind(), ErrorKind::Loader);
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(it) = source {
        text += &it.to_string();
        source = it.source();
    }
    assert!(text.contains(&ctx.key("a")) && text.contains(&ctx.key("b")), "{text}");
    assert!(!cache.has_key("a").await? && !cache.has_key("b").await?);
    Ok(())
}

/// No load is active when all are done, and a loaded value is an ordinary value.
async fn finished_loads_leave_nothing_behind(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for n in 0..50 {
        cache.get_or_set(&format!("k{n}"), secs(600), || async { n }).await?;
    }
    let failed = cache
        .get_or_try_set::<i32, _, _>("bad", Timeout::Default, || async {
            Err(io::Error::other("no"))
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(cache.stats().active_loads, 0);
    assert_eq!(cache.incr("k1", 1).await?, 2);
    assert!(matches!(cache.ttl("k1").await?, Some(Ttl::Remaining(_))));
    Ok(())
}
