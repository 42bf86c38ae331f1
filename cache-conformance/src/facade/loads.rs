use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use cache_core::{ErrorKind, Ttl, secs};
use tokio::sync::{Barrier, Notify};

use crate::{
    ctx::Ctx,
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_or_set_loads_what_is_missing_once,
    d19_sixteen_callers_make_one_load,
    d19_rounds_of_callers_make_one_load_each,
    a_load_error_stores_nothing_and_reaches_every_waiter,
    a_dropped_load_is_taken_over,
    a_delete_during_a_load_is_not_overwritten,
    a_write_during_a_load_is_not_overwritten,
    a_clear_during_a_load_is_not_overwritten,
    a_load_that_waits_for_itself_is_an_error,
    nothing_of_a_load_remains,
];

/// `get_or_set`: the value that is there, or the loaded one, which then is there.
async fn get_or_set_loads_what_is_missing_once(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let start = ctx.now();
    assert_eq!(cache.get_or_set("k", secs(600), || async { 1 }).await?, 1);
    ctx.assert_remains(
        cache.ttl("k").await?,
        std::time::Duration::from_secs(600),
        start,
        "what was loaded",
    );
    assert_eq!(cache.get_or_set("k", None, || async { 2 }).await?, 1);
    let load = || async { Ok::<_, io::Error>(3) };
    assert_eq!(cache.get_or_try_set("k", None, load).await?, 1);
    cache.delete("k").await?;
    assert_eq!(cache.get_or_try_set("k", None, load).await?, 3);
    assert_eq!(cache.get::<i32>("k").await?, Some(3));
    assert_eq!(cache.stats().loads, 2);
    Ok(())
}

/// "one load per key, process and generation however many callers (D19: Django ran 16 loads for 16 callers on every
/// backend); all of them see the same value". The load ends when all have come.
async fn d19_sixteen_callers_make_one_load(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let answers = ctx
        .race(16, |_, _| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move {
                let load = || async {
                    // Long enough for the others to come, and longer than any of their reads.
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
    assert_eq!(answers, [1; 16], "all see the value of the one load");
    assert_eq!(loads.load(SeqCst), 1);
    assert_eq!(cache.get::<usize>("k").await?, Some(1));
    Ok(())
}

/// The same with loads that end at once: who comes late finds the stored value, not a reason to load.
async fn d19_rounds_of_callers_make_one_load_each(ctx: &Ctx) -> TestResult {
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
        assert_eq!(answers, vec![answers[0]; 16], "all of them see the same value");
    }
    Ok(())
}

/// "a load error stores nothing and reaches every waiter": as the loader's own error.
async fn a_load_error_stores_nothing_and_reaches_every_waiter(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let (loads, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
    let leader = tokio::spawn({
        let (cache, loads, all) = (cache.clone(), Arc::clone(&loads), Arc::clone(&all));
        async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                all.wait().await; // the load has begun
                all.wait().await; // it may end
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
    // A waiter that has found nothing has joined the load when its poll ends; so it is polled here, not in a task.
    poll_fn(|cx| {
        for waiter in &mut waiters {
            assert!(waiter.as_mut().poll(cx).is_pending(), "the load has not ended");
        }
        let all_wait = misses(&cache) >= 9;
        if all_wait { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.wait().await;
    let mut answers = vec![leader.await.expect("it does not panic")];
    for waiter in waiters {
        answers.push(waiter.await);
    }
    for answer in answers {
        let error = answer.expect_err("the loader failed");
        assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
        let loaders = error.loader::<io::Error>().map(ToString::to_string);
        assert_eq!(loaders.as_deref(), Some("db down"));
    }
    assert_eq!(loads.load(SeqCst), 1, "not one failing load after another");
    assert!(!cache.has_key("k").await?, "nothing is stored");
    assert_eq!(
        cache.get_or_set("k", None, || async { 7 }).await?,
        7,
        "the next caller loads again"
    );
    Ok(())
}

fn misses(cache: &cache_core::Cache) -> u64 {
    cache.stats()[cache_core::layers::Operation::GetOrSet].misses
}

/// "when the leader is dropped or panics, the next waiter leads."
async fn a_dropped_load_is_taken_over(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let began = Arc::new(Notify::new());
    for panics in [false, true] {
        let go_on = Arc::new(Notify::new());
        let leader = tokio::spawn({
            let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = || async {
                    began.notify_one();
                    go_on.notified().await;
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
            go_on.notify_one();
        } else {
            leader.abort();
        }
        assert!(leader.await.is_err(), "it did not end well");
        assert_eq!(waiter.await.expect("it does not panic")?, 7);
        assert!(cache.delete("k").await?);
    }
    Ok(())
}

/// Starts a load that ends when it is let; `change` happens while it runs. What the leader got.
async fn during_a_load<F: Future<Output = cache_core::Result<()>>>(
    ctx: &Ctx,
    change: impl FnOnce(cache_core::Cache) -> F,
) -> cache_core::Result<(cache_core::Cache, String)> {
    let cache = ctx.cache();
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
        async move {
            let load = || async {
                began.notify_one();
                go_on.notified().await;
                "loaded before".to_owned()
            };
            cache.get_or_set("k", secs(600), load).await
        }
    });
    began.notified().await;
    change(cache.clone()).await?;
    go_on.notify_one();
    let value = leader.await.expect("it does not panic")?;
    Ok((cache, value))
}

/// "a delete during a load that the load overwrites": not here. "earlier callers keep it, ... the old load does not store".
async fn a_delete_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, value) =
        during_a_load(ctx, |it| async move { it.delete("k").await.map(drop) }).await?;
    assert_eq!(value, "loaded before", "who had asked before gets it");
    assert_eq!(cache.get::<String>("k").await?, None, "it was deleted");
    let (cache, _) =
        during_a_load(ctx, |it| async move { it.delete_many(["k"]).await.map(drop) }).await?;
    assert_eq!(cache.get::<String>("k").await?, None, "it was deleted");
    Ok(())
}

/// "`set`, `delete`, `clear` ... bump the key's generation and detach its flight: ... later callers start a new one".
async fn a_write_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, value) =
        during_a_load(ctx, |it| async move { it.set("k", "set", None).await }).await?;
    assert_eq!(value, "loaded before");
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("set"));
    let (cache, _) =
        during_a_load(ctx, |it| async move { it.set_many([("k", "batch")], None).await.map(drop) })
            .await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("batch"));
    let (cache, _) =
        during_a_load(ctx, |it| async move { it.add("k", "added", None).await.map(drop) }).await?;
    assert_eq!(cache.pop::<String>("k").await?.as_deref(), Some("added"));
    let (cache, _) = during_a_load(ctx, |it| async move {
        it.delete("k").await?;
        assert_eq!(
            it.get_or_set("k", None, || async { "loaded after".to_owned() }).await?,
            "loaded after"
        );
        Ok(())
    })
    .await?;
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("loaded after"));
    Ok(())
}

/// `clear` detaches every flight.
async fn a_clear_during_a_load_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let (cache, _) = during_a_load(ctx, |it| async move { it.clear().await }).await?;
    assert_eq!(cache.get::<String>("k").await?, None, "it was cleared");
    Ok(())
}

/// "A loader that waits for its own flight, directly or around a circle of flights, gets an error that names the keys."
async fn a_load_that_waits_for_itself_is_an_error(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let error = cache
        .get_or_try_set("a", None, || async {
            cache
                .get_or_try_set("b", None, || async {
                    cache.get_or_set("a", None, || async { 1 }).await
                })
                .await
        })
        .await
        .expect_err("it would wait for ever");
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

/// "the map is empty when idle" (I4), and a loaded value is as any other.
async fn nothing_of_a_load_remains(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for n in 0..50 {
        cache.get_or_set(&format!("k{n}"), secs(600), || async { n }).await?;
    }
    let failed = cache
        .get_or_try_set::<i32, _, _>("bad", None, || async { Err(io::Error::other("no")) })
        .await;
    assert!(failed.is_err());
    assert_eq!(cache.stats().active_loads, 0);
    assert_eq!(cache.incr("k1", 1).await?, 2);
    assert!(matches!(cache.ttl("k1").await?, Some(Ttl::Remaining(_))));
    Ok(())
}
